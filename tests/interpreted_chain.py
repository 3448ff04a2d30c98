"""Chains of small rank in Triton's interpreter; test_triton_chain.py runs it in its own process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.interpreting import Check, assert_agree, assert_precise, into, layers_of, main, names_of

CHECKS: dict[str, Check] = {}
check = into(CHECKS)


CHAINS = """
layer Lora(i = 100, o = 97, r = 3):
    \"\"\"A dense product beside a chain.\"\"\"
    input X[b, n, i], W[o, i], A[r, i], B[o, r]
    output Y[b, n, o] = X[b, n, i] * W[o, i] + 2 * sum[r, i](B[o, r] * A[r, i] * X[b, n, i])

layer Low(i = 260, o = 250, r = 16, s = 12):
    \"\"\"Two ranks, factors that lie either way, a bias.\"\"\"
    input X[n, i], A[i, r], G[r, s], B[s, o], c[o]
    T[n, r] = X[n, i] * A[i, r]
    U[n, s] = T[n, r] * G[r, s]
    V[n, o] = U[n, s] * B[s, o]
    output Y[n, o] = V[n, o] + c[o]

layer Residual(i = 97, r = 4):
    \"\"\"An adapter beside its input.\"\"\"
    input X[b, n, i], A[r, i], B[i, r], c[i]
    T[b, n, r] = X[b, n, i] * A[r, i]
    V[b, n, i'] = T[b, n, r] * B[i', r]
    output Y[b, n, i] = X[b, n, i] + V[b, n, i] + c[i]
"""
SHAPES: dict[str, Callable[[int], tuple[tuple[int, ...], ...]]] = {
    "Lora": lambda n: ((2, n, 100), (97, 100), (3, 100), (97, 3)),
    "Low": lambda n: ((n, 260), (260, 16), (16, 12), (12, 250), (250,)),
    "Residual": lambda n: ((2, n, 97), (4, 97), (97, 4), (97,)),
}


def _layer(name: str, target: str = "triton") -> torch.nn.Module:
    made: torch.nn.Module = getattr(layers_of(CHAINS, target), name)()
    return made


def _drawn(name: str, n: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    shapes = SHAPES[name](n)
    return [torch.randn(s, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


@check
def values_and_gradients() -> None:
    for name in SHAPES:
        plain, fused = _layer(name, "torch"), _layer(name)
        assert any("chain" in kernel for kernel in names_of(fused)["KERNELS"]), name
        for n in (1, 7, 16, 41, 0):
            leaves = _drawn(name, n)
            assert_agree(lambda: fused(*leaves), lambda: plain(*leaves), leaves)  # noqa: B023


@check
def strides() -> None:
    for name in SHAPES:
        fused, plain = _layer(name), _layer(name, "torch")
        leaves = _drawn(name, 5)
        moved = [x.flip(0).contiguous().flip(0).repeat_interleave(2, -1)[..., ::2] for x in leaves]
        torch.testing.assert_close(fused(*moved), plain(*leaves), rtol=1e-10, atol=1e-10)
        got, want = (torch.autograd.grad(f(*leaves).sum(), leaves) for f in (fused, plain))
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)  # gradients of stride 0


@check
def derivatives_of_any_order() -> None:
    for name in SHAPES:
        assert torch.autograd.gradcheck(_layer(name), _drawn(name, 2), fast_mode=True)
        assert torch.autograd.gradgradcheck(_layer(name), _drawn(name, 2), fast_mode=True)


@check
def low_precision() -> None:
    """At most 3 times the error of plain torch in the same precision, plus a few roundings."""
    for name in SHAPES:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            low = _drawn(name, 9, dtype)
            exact = [x.detach().double().requires_grad_() for x in low]
            runs = []
            pairs = ((_layer(name), exact), (_layer(name), low), (_layer(name, "torch"), low))
            for layer, given in pairs:
                y = layer(*given)
                torch.manual_seed(2)
                weight = torch.rand(y.shape, dtype=torch.float64).to(y.dtype)
                runs.append([y.detach(), *torch.autograd.grad((y * weight).sum(), given)])
            assert all(g.dtype is dtype for g in runs[1])
            assert_precise(dtype, *runs)


@check
def transforms() -> None:
    fused = _layer("Low")
    given = _drawn("Low", 5)
    many = [torch.stack([x, 2 * x]) for x in given]
    each = torch.stack([fused(*(x[k] for x in many)) for k in range(2)])
    torch.testing.assert_close(torch.vmap(fused)(*many), each, rtol=1e-10, atol=1e-10)
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager", dynamic=True)
    for n in (5, 9):
        leaves = _drawn("Low", n)
        assert_agree(lambda: compiled(*leaves), lambda: fused(*leaves), leaves)  # noqa: B023


@check
def operators_are_well_formed() -> None:
    names = names_of(_layer("Low"))
    x, a, g, b, c = (t.detach() for t in _drawn("Low", 5))
    forward = next(v for k, v in names.items() if k.endswith("chain_0_forward_op"))
    torch.library.opcheck(forward, (x, a, g, b, c))
    y, *kept = forward(x, a, g, b, c)
    backward = next(v for k, v in names.items() if k.endswith("chain_0_backward_op"))
    torch.library.opcheck(backward, (x, a, g, b, *kept, torch.randn_like(y)))


if __name__ == "__main__":
    main(CHECKS)
