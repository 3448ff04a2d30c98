"""K3 in Triton's interpreter; test_triton_sparse.py runs it in a process of its own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.interpreting import Check, assert_agree, into, layers_of, main

CHECKS: dict[str, Check] = {}
check = into(CHECKS)

PRODUCT = """
layer Product(u = 3):
    dim    i = irreps(1), j = irreps(1)
    input  X[b, u, i], Y[b, j], W[b, p, u]
    const  C[p, i, j, i'] = cg_paths(p, i, j, i')
    output Z[b, u, i'] = C[p, i, j, i'] * W[b, p, u] * X[b, u, i] * Y[b, j]
"""
COMPONENTS_FIRST = """
layer Product(u = 3):
    dim    i = irreps(1), j = irreps(1)
    input  X[b, i, u], Y[b, j], W[b, p, u]
    const  C[p, i, j, i'] = cg_paths(p, i, j, i')
    output Z[b, i', u] = C[p, i, j, i'] * W[b, p, u] * X[b, i, u] * Y[b, j]
"""
SHARED = """
layer Product(u = 3):
    dim    i = irreps(1)
    input  X[b, u, i], Y[b, u, i]
    const  C[p, i, i', i''] = cg_paths(p, i, i', i'')
    param  w[p, u] ~ ones
    output Z[b, u, i''] = w[p, u] * C[p, i, i', i''] * X[b, u, i] * Y[b, u, i']
"""
SQUARE = """
layer Product(u = 3):
    dim    i = irreps(2)
    input  X[b, u, i]
    const  G[i, i', i''] = gaunt(i, i', i'')
    output Z[b, u, i''] = G[i, i', i''] * X[b, u, i] * X[b, u, i']
"""
CROSS = """
layer Product(x = 3):
    input  A[n, x], B[n, x]
    const  e[x, x', x''] = levi_civita(x, x', x'')
    output Z[n, x''] = e[x, x', x''] * A[n, x] * B[n, x']
"""
EDGES = """
layer Product(u = 3):
    dim    i = irreps(1), j = irreps(1)
    input  X[n, u, i], Y[e, j], W[e, p, u], src[e]: int, dst[e]: int
    const  C[p, i, j, i'] = cg_paths(p, i, j, i')
    output Z[n = dst[e], u, i'] += C[p, i, j, i'] * W[e, p, u] * X[src[e], u, i] * Y[e, j]
"""


def _layers(text: str, **hypers: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The layer by kernels and by torch."""
    made = [layers_of(text, target).Product(**hypers).double() for target in ("triton", "torch")]
    assert "_form_0" in vars(sys.modules[type(made[0]).__module__])
    made[1].load_state_dict(made[0].state_dict())
    return made[0], made[1]


def _given(text: str, size: int, nodes: int, u: int, seed: int = 0) -> list[Tensor]:
    """Inputs of a layer above."""
    g = torch.Generator().manual_seed(seed)

    def real(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).requires_grad_()

    if text is EDGES:
        at = [torch.randint(0, max(nodes, 1), (size,), generator=g) for _ in range(2)]
        return [real(nodes, u, 4), real(size, 4), real(size, 4, u), *at]
    if text is PRODUCT:
        return [real(size, u, 4), real(size, 4), real(size, 4, u)]
    if text is COMPONENTS_FIRST:
        return [real(size, 4, u), real(size, 4), real(size, 4, u)]
    if text is SHARED:
        return [real(size, u, 4), real(size, u, 4)]
    if text is SQUARE:
        return [real(size, u, 9)]
    return [real(size, 3), real(size, 3)]


def _leaves(module: torch.nn.Module, given: Sequence[Tensor]) -> list[Tensor]:
    return [x for x in (*given, *module.parameters()) if x.requires_grad]


ALL = {
    "product": PRODUCT, "components first": COMPONENTS_FIRST, "shared": SHARED, "square": SQUARE,
    "cross": CROSS, "edges": EDGES,
}  # fmt: skip


def _agrees(text: str, size: int, nodes: int, u: int) -> None:
    hypers = {} if text is CROSS else {"u": u}
    kernel, plain = _layers(text, **hypers)
    given = _given(text, size, nodes, u)
    leaves = _leaves(kernel, given)

    def by_torch() -> Any:
        named = dict(kernel.named_parameters())
        return torch.func.functional_call(plain, named, tuple(given))

    assert_agree(lambda: kernel(*given), by_torch, leaves)


for _name, _text in ALL.items():
    for _size, _nodes, _u in ((5, 3, 3), (1, 1, 1), (0, 2, 8), (2, 7, 37)):
        CHECKS[f"{_name} {_size} {_nodes} {_u}"] = (
            lambda t=_text, s=_size, n=_nodes, u=_u: _agrees(t, s, n, u)  # type: ignore[misc]
        )
CHECKS["edges in blocks"] = lambda: _agrees(EDGES, 2, 2, 300)


def _differentiable(text: str) -> None:
    hypers = {} if text is CROSS else {"u": 2}
    kernel, _ = _layers(text, **hypers)
    given = _given(text, 2, 2, 2)

    def of(*inputs: Tensor) -> Any:
        return kernel(*inputs)

    torch.autograd.gradcheck(of, given, fast_mode=True)
    torch.autograd.gradgradcheck(of, given, fast_mode=True)


for _name, _text in ALL.items():
    CHECKS[f"{_name} has derivatives"] = lambda t=_text: _differentiable(t)  # type: ignore[misc]


@check
def third_derivatives_agree() -> None:
    kernel, plain = _layers(PRODUCT, u=2)
    given = _given(PRODUCT, 2, 2, 2)

    def third(layer: torch.nn.Module) -> Tensor:
        value = (layer(*given) ** 2).sum()
        for _ in range(3):
            grads = torch.autograd.grad(value, given, create_graph=True)
            value = sum(((g**2).sum() for g in grads), torch.zeros((), dtype=torch.float64))
        return value

    torch.testing.assert_close(third(kernel), third(plain), rtol=1e-9, atol=0)


@check
def indices_out_of_range_are_told() -> None:
    kernel, _ = _layers(EDGES, u=3)
    x, y, w, src, dst = _given(EDGES, 5, 4, 3)
    for bad in (4, -1):
        for given in ((src.clone().fill_(bad), dst), (src, dst.clone().fill_(bad))):
            try:
                kernel(x, y, w, *given)
            except IndexError as error:
                assert f"the index {bad}" in str(error), error
            else:
                raise AssertionError(given)


@check
def gradients_may_be_expanded_and_strided() -> None:
    kernel, plain = _layers(PRODUCT, u=3)
    given = _given(PRODUCT, 4, 4, 3)
    strided = [x.detach().transpose(0, -1).contiguous().transpose(0, -1) for x in given]
    strided = [x.requires_grad_() for x in strided]
    for leaves in (given, strided):
        for reduce in (lambda z: z.sum(), lambda z: z.mean((0, 2)).sum()):
            grads = [
                torch.autograd.grad(reduce(layer(*leaves)), leaves) for layer in (kernel, plain)
            ]
            for got, want in zip(*grads, strict=True):
                torch.testing.assert_close(got, want)


def _low(text: str, dtype: torch.dtype) -> None:
    """Within a few roundings of what float64 gives for the same numbers."""
    kernel, plain = _layers(text, u=5)
    given = [x.detach().to(dtype) if x.is_floating_point() else x for x in _given(text, 6, 4, 5)]
    exact = [x.double() if x.is_floating_point() else x for x in given]
    runs = []
    for layer, inputs in ((kernel.to(dtype), given), (plain, exact)):
        leaves = [x.requires_grad_() for x in inputs if x.is_floating_point()]
        made = layer(*inputs)
        runs.append([made, *torch.autograd.grad(made.double().sum(), leaves)])
    for got, want in zip(*runs, strict=True):
        assert got.dtype is dtype
        error = (got.double() - want).abs().max() / (want.abs().max() + 1e-3)
        assert error <= 8 * torch.finfo(dtype).eps, (dtype, float(error))


for _dtype in (torch.float32, torch.float16, torch.bfloat16):
    for _name in ("product", "edges"):
        CHECKS[f"{_name} in {str(_dtype).removeprefix('torch.')}"] = (
            lambda t=ALL[_name], d=_dtype: _low(t, d)  # type: ignore[misc]
        )


@check
def operators_pass_opcheck() -> None:
    kernel, _ = _layers(EDGES, u=2)
    names = vars(sys.modules[type(kernel).__module__])
    given = [x.detach() for x in _given(EDGES, 3, 2, 2)]
    y = kernel(*given)
    forward, backward = names["_form_0_forward_op"], names["_form_0_backward_op"]
    seen: list[tuple[Any, ...]] = []
    real = names["_form_0"]
    names["_form_0"] = lambda *args: (seen.append(args), real(*args))[1]
    kernel(*given)
    names["_form_0"] = real
    (args,) = seen
    tensors = [x for x in args if isinstance(x, Tensor)]
    sizes = args[len(tensors) :]
    torch.library.opcheck(forward, args)
    torch.library.opcheck(backward, (*tensors, y, *sizes))


@check
def transforms_of_functions() -> None:
    kernel, plain = _layers(PRODUCT, u=2)
    x, y, w = (t.detach() for t in _given(PRODUCT, 2, 2, 2))

    def of(layer: torch.nn.Module) -> Callable[[Tensor], Tensor]:
        return lambda y: (layer(x, y, w) ** 2).sum()

    for take in (
        torch.func.grad,
        torch.func.jacrev,
        lambda f: torch.func.jacrev(torch.func.grad(f)),
    ):
        torch.testing.assert_close(take(of(kernel))(y), take(of(plain))(y))
    batch = torch.stack([y, 2 * y, -y])
    mapped = [torch.vmap(torch.func.grad(of(layer)))(batch) for layer in (kernel, plain)]
    torch.testing.assert_close(*mapped)


def _in_order(size: int, nodes: int, u: int) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        _agrees(EDGES, size, nodes, u)
    finally:
        torch.use_deterministic_algorithms(False)


for _size, _nodes, _u in ((5, 3, 3), (1, 1, 1), (0, 2, 8), (2, 7, 300)):
    CHECKS[f"sums in order {_size} {_nodes} {_u}"] = (
        lambda s=_size, n=_nodes, u=_u: _in_order(s, n, u)  # type: ignore[misc]
    )


@check
def under_compile_the_operator_stays_whole() -> None:
    kernel, plain = _layers(EDGES, u=2)
    compiled = torch.compile(kernel, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in (3, 4):
        given = _given(EDGES, size, 2, 2)
        calls = [functools.partial(layer, *given) for layer in (compiled, plain)]
        assert_agree(*calls, given[:3])


if __name__ == "__main__":
    main(CHECKS)
