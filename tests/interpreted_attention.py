"""Attention kernels in Triton's interpreter; test_triton_attention.py runs them in a process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests import interpreted
from tests.interpreted import _both, _kernels, _names, _written

CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


TARGETS = ("torch", "triton")

PAIRS = """
layer First(c = 6):
    input  Q[b, n, c], K1[b, m, c], K2[b, p, c], V[b, m, c]
    A[b, n, m, p] = softmax[m, p where p <= m](Q[b, n, c] * K1[b, m, c] * K2[b, p, c])
    output Y[b, n, c] = sum[m, p](A[b, n, m, p] * V[b, m, c])

layer Second(c = 6, e = 5):
    input  Q[b, n, c], K1[b, m, c], K2[b, p, c], V[b, p, e]
    A[b, n, m, p] = softmax[m, p](Q[b, n, c] * K1[b, m, c] * K2[b, p, c] * -0.3)
    output Y[b, n, e] = sum[m, p](A[b, n, m, p] * V[b, p, e])

layer Weighted(c = 6, e = 3):
    \"\"\"Weights on the keys, others on the values.\"\"\"
    input  Q[b, n, c], K1[b, m, c], K2[b, p, c], V1[b, m, e], V2[b, p, e], w[c], u[e]
    A[b, n, m, p] = softmax[m, p](Q[b, n, c] * K1[b, m, c] * w[c] * K2[b, p, c] / 2)
    output Y[b, n, e] = A[b, n, m, p] * V1[b, m, e] * V2[b, p, e] * u[e]

layer Masked(c = 6):
    input  Q[b, n, c], K1[b, m, c], K2[b, p, c], V1[b, m, c], V2[b, p, c]
    input  keep[b, m]: bool, also[n, p]: bool
    A[b, n, m, p] = softmax[m, p where keep[b, m] and also[n, p]](
        Q[b, n, c] * K1[b, m, c] * K2[b, p, c])
    output Y[b, n, c] = A[b, n, m, p] * V1[b, m, c] * V2[b, p, c]

layer Grouped(c = 6, g = 2, q = 2):
    \"\"\"Heads that share their keys, windows of two widths.\"\"\"
    input  Q[b, g, q, n, c], K1[b, g, n, c], K2[b, g, n, c], V1[b, g, n, c], V2[b, g, n, c]
    A[b, g, q, n, n', n''] = softmax[n', n'' where n - 5 < n' <= n and n - 2 < n'' <= n](
        Q[b, g, q, n, c] * K1[b, g, n', c] * K2[b, g, n'', c] / sqrt(|c|))
    output Y[b, g, q, n, c] = A[b, g, q, n, n', n''] * V1[b, g, n', c] * V2[b, g, n'', c]

layer Shared(c = 6):
    \"\"\"One tensor for queries, both keys and both values.\"\"\"
    input  X[b, n, c]
    A[b, n, n', n''] = softmax[n', n'' where n' <= n or n'' == n](
        X[b, n, c] * X[b, n', c] * X[b, n'', c])
    output Y[b, n, c] = A[b, n, n', n''] * X[b, n', c] * X[b, n'', c]

layer Volume():
    \"\"\"Logits are determinants.\"\"\"
    dim    c = 3, a = 3, d = 3, e = 4
    const  eps[c, a, d] = levi_civita(c, a, d)
    input  Q[b, n, c], K1[b, m, a], K2[b, p, d], V1[b, m, e], V2[b, p, e]
    A[b, n, m, p] = softmax[m, p](eps[c, a, d] * Q[b, n, c] * K1[b, m, a] * K2[b, p, d])
    output Y[b, n, e] = A[b, n, m, p] * V1[b, m, e] * V2[b, p, e]

layer Form(c = 5):
    \"\"\"Logits are a trilinear form.\"\"\"
    input  Q[b, n, c], K1[b, m, c], K2[b, p, c], V1[b, m, c], V2[b, p, c], T[c, c', c'']
    A[b, n, m, p] = softmax[m, p](
        T[c, c', c''] * Q[b, n, c] * K1[b, m, c'] * K2[b, p, c''])
    output Y[b, n, c] = A[b, n, m, p] * V1[b, m, c] * V2[b, p, c]

layer Axis(c = 6):
    \"\"\"Along the first axis of a grid; two value indices.\"\"\"
    input  Q[x, y, c], K1[x, y, c], K2[x, y, c], V1[x, y, c, r], V2[x, y, c, r]
    dim    r = 2
    A[x, y, x', x''] = softmax[x', x'' where x' <= x and x'' <= x](
        Q[x, y, c] * K1[x', y, c] * K2[x'', y, c])
    output Y[x, r, y, c] = A[x, y, x', x''] * V1[x', y, c, r] * V2[x'', y, c, r]
"""


def _compare(
    text: str, layer: str, *shapes: tuple[int, ...], masks: tuple[Tensor, ...] = (), kernels: int
) -> None:
    """Values and gradients of both targets in float64."""
    plain, fused = (getattr(_written(text, target), layer)().double() for target in TARGETS)
    assert _kernels(fused) >= kernels, "nothing was fused"
    leaves = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    inputs = (*leaves, *masks)
    _both(lambda: fused(*inputs), lambda: plain(*inputs), leaves, 1e-9, 1e-10)


def _pairs(layer: str, *shapes: tuple[int, ...], masks: tuple[Tensor, ...] = ()) -> None:
    _compare(PAIRS, layer, *shapes, masks=masks, kernels=5)


@check
def one_value_only() -> None:
    for n, m, p in ((3, 4, 18), (1, 17, 2)):
        _pairs("First", (2, n, 6), (2, m, 6), (2, p, 6), (2, m, 6))
        _pairs("Second", (2, n, 6), (2, m, 6), (2, p, 6), (2, p, 5))


@check
def weights_between_keys_and_on_values() -> None:
    _pairs("Weighted", (2, 3, 6), (2, 4, 6), (2, 5, 6), (2, 4, 3), (2, 5, 3), (6,), (3,))


@check
def masks_read_per_cell() -> None:
    keep, also = torch.rand(2, 4) < 0.6, torch.rand(3, 5) < 0.6
    keep[0], also[1] = False, False
    shapes = ((2, 3, 6), (2, 4, 6), (2, 5, 6), (2, 4, 6), (2, 5, 6))
    _pairs("Masked", *shapes, masks=(keep, also))


@check
def heads_that_share_pairs_of_keys() -> None:
    _pairs("Grouped", (1, 2, 2, 19, 6), *[(1, 2, 19, 6)] * 4)


@check
def one_tensor_for_all() -> None:
    _pairs("Shared", (2, 7, 6))


@check
def trilinear_forms() -> None:
    _pairs("Volume", (2, 5, 3), (2, 4, 3), (2, 17, 3), (2, 4, 4), (2, 17, 4))
    _pairs("Form", (1, 3, 5), (1, 4, 5), (1, 5, 5), (1, 4, 5), (1, 5, 5), (5, 5, 5))


@check
def pairs_along_an_axis_with_two_value_indices() -> None:
    _pairs("Axis", *[(5, 2, 6)] * 3, *[(5, 2, 6, 2)] * 2)


def _grouped() -> tuple[torch.nn.Module, list[Tensor]]:
    module = _written(PAIRS).Grouped()
    shapes = [(1, 2, 2, 5, 6), *[(1, 2, 5, 6)] * 4]
    return module, [torch.randn(shape, dtype=torch.float64) for shape in shapes]


@check
def pairs_of_any_strides_and_gradients_of_stride_0() -> None:
    module, given = _grouped()
    want = module(*given)
    moved = [x.transpose(1, -1).contiguous().transpose(1, -1) for x in given]
    torch.testing.assert_close(module(*moved), want, rtol=1e-12, atol=1e-12)
    leaves = [x.requires_grad_() for x in moved]
    plain = _written(PAIRS, "torch").Grouped()
    for got, expected in zip(
        torch.autograd.grad(module(*leaves).sum(), leaves),
        torch.autograd.grad(plain(*leaves).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@check
def no_pairs() -> None:
    module = _written(PAIRS).First()
    for b, n, m, p in ((0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)):
        shapes = ((b, n, 6), (b, m, 6), (b, p, 6), (b, m, 6))
        leaves = [torch.randn(shape, requires_grad=True) for shape in shapes]
        made = module(*leaves)
        assert torch.equal(made, torch.zeros(b, n, 6))
        for grad, leaf in zip(torch.autograd.grad(made.sum(), leaves), leaves, strict=True):
            assert torch.equal(grad, torch.zeros_like(leaf))


@check
def pairs_in_every_precision() -> None:
    plain, module = (_written(PAIRS, target).Grouped() for target in ("torch", "triton"))
    shapes = [(1, 2, 2, 9, 6), *[(1, 2, 9, 6)] * 4]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        low = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
        exact = [x.detach().double().requires_grad_() for x in low]
        weight = torch.randn(1, 2, 2, 9, 6, dtype=torch.float64)
        runs = []
        for function, given in ((plain, exact), (module, low), (plain, low)):
            y = function(*given)
            grads = torch.autograd.grad((y * weight.to(y.dtype)).sum(), given)
            runs.append([x.detach().double() for x in (y, *grads)])
        eps = torch.finfo(dtype).eps
        for want, got, peer in zip(*runs, strict=True):
            scale = float(want.abs().max())
            error = float((got - want).abs().max()) / scale
            other = float((peer - want).abs().max()) / scale
            assert error <= 3 * other + 16 * eps, (dtype, error, other)


@check
def autocast_of_pairs() -> None:
    module, given = _grouped()
    leaves = [x.float().requires_grad_() for x in given]
    exact = module(*leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = module(*leaves)
    assert made.dtype is torch.bfloat16
    grads = torch.autograd.grad(made.float().sum(), leaves)
    assert all(grad.dtype is torch.float32 for grad in grads)
    torch.testing.assert_close(made.float(), exact, rtol=0.1, atol=0.1)


@check
def second_derivatives_and_transforms_of_pairs() -> None:
    module, given = _grouped()
    leaves = [x.requires_grad_() for x in given]
    assert torch.autograd.gradcheck(module, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(module, leaves, fast_mode=True)
    many = [torch.stack([x.detach(), -x.detach()]) for x in given]
    each = torch.stack([module(*(x[k] for x in many)) for k in range(2)])
    torch.testing.assert_close(torch.vmap(module)(*many), each, rtol=1e-10, atol=1e-10)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    _both(lambda: compiled(*leaves), lambda: module(*leaves), leaves)


@check
def operators_of_pairs_are_well_formed() -> None:
    module = _written(PAIRS).Masked()
    names = _names(module)
    forward, backward = (names[f"_pairs_0_{what}_op"] for what in ("forward", "backward"))
    q, k1, k2, v1, v2 = (torch.randn(1, n, 6, dtype=torch.float64) for n in (3, 4, 5, 4, 5))
    keep, also = torch.rand(1, 4) < 0.5, torch.rand(3, 5) < 0.5
    given = (q, k1, k2, v1, v2, keep, also)
    torch.library.opcheck(forward, given)
    made, lse = forward(*given)
    torch.library.opcheck(backward, (*given, made, lse, torch.randn_like(made)))


if __name__ == "__main__":
    interpreted.main(CHECKS)
