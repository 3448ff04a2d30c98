"""Attention kernels in Triton's interpreter; test_triton_attention.py runs them in a process."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.interpreting import (
    Check,
    assert_agree,
    assert_precise,
    into,
    kernel_count,
    layers_of,
    main,
    names_of,
)

CHECKS: dict[str, Check] = {}
check = into(CHECKS)


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
    plain, fused = (getattr(layers_of(text, target), layer)().double() for target in TARGETS)
    assert kernel_count(fused) >= kernels, "nothing was fused"
    leaves = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    inputs = (*leaves, *masks)
    assert_agree(lambda: fused(*inputs), lambda: plain(*inputs), leaves, 1e-9, 1e-10)


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
    module = layers_of(PAIRS).Grouped()
    shapes = [(1, 2, 2, 5, 6), *[(1, 2, 5, 6)] * 4]
    return module, [torch.randn(shape, dtype=torch.float64) for shape in shapes]


@check
def pairs_of_any_strides_and_gradients_of_stride_0() -> None:
    module, given = _grouped()
    want = module(*given)
    moved = [x.transpose(1, -1).contiguous().transpose(1, -1) for x in given]
    torch.testing.assert_close(module(*moved), want, rtol=1e-12, atol=1e-12)
    leaves = [x.requires_grad_() for x in moved]
    plain = layers_of(PAIRS, "torch").Grouped()
    for got, expected in zip(
        torch.autograd.grad(module(*leaves).sum(), leaves),
        torch.autograd.grad(plain(*leaves).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@check
def no_pairs() -> None:
    module = layers_of(PAIRS).First()
    for b, n, m, p in ((0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)):
        shapes = ((b, n, 6), (b, m, 6), (b, p, 6), (b, m, 6))
        leaves = [torch.randn(shape, requires_grad=True) for shape in shapes]
        made = module(*leaves)
        assert torch.equal(made, torch.zeros(b, n, 6))
        for grad, leaf in zip(torch.autograd.grad(made.sum(), leaves), leaves, strict=True):
            assert torch.equal(grad, torch.zeros_like(leaf))


@check
def pairs_in_every_precision() -> None:
    plain, module = (layers_of(PAIRS, target).Grouped() for target in ("torch", "triton"))
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
        assert_precise(dtype, *runs)


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
    assert_agree(lambda: compiled(*leaves), lambda: module(*leaves), leaves)


@check
def operators_of_pairs_are_well_formed() -> None:
    module = layers_of(PAIRS).Masked()
    names = names_of(module)
    forward, backward = (names[f"_pairs_0_{what}_op"] for what in ("forward", "backward"))
    q, k1, k2, v1, v2 = (torch.randn(1, n, 6, dtype=torch.float64) for n in (3, 4, 5, 4, 5))
    keep, also = torch.rand(1, 4) < 0.5, torch.rand(3, 5) < 0.5
    given = (q, k1, k2, v1, v2, keep, also)
    torch.library.opcheck(forward, given)
    made, lse = forward(*given)
    torch.library.opcheck(backward, (*given, made, lse, torch.randn_like(made)))


BIASES = """
layer Alibi(d = 12, heads = 2):
    \"\"\"A bias of positions, its slope by head.\"\"\"
    dim    h = heads, c = d / heads
    input  Q[..., h, n, c], K[..., h, n, c], V[..., h, n, c]
    A[..., h, n, n'] = softmax[n' where n' <= n](
        Q[..., h, n, c] * K[..., h, n', c] / sqrt(|c|) - 2^(-8 * (h + 1) / |h|) * (n - n'))
    output Y[..., h, n, c] = A[..., h, n, n'] * V[..., h, n', c]

layer Slopes(c = 5):
    \"\"\"The slopes are learnt.\"\"\"
    input  Q[b, h, n, c], K[b, h, n, c], V[b, h, n, c], s[h]
    A[b, h, n, n'] = softmax[n'](Q[b, h, n, c] * K[b, h, n', c] - s[h] * abs(n - n'))
    output Y[b, h, n, c] = A[b, h, n, n'] * V[b, h, n', c]

layer Relative(c = 5, w = 3):
    \"\"\"A table of relative positions.\"\"\"
    dim    r = 2 * w + 1
    input  Q[b, h, n, c], K[b, h, n, c], V[b, h, n, c], R[h, r]
    A[b, h, n, n'] = softmax[n' where n' <= n + 2](
        Q[b, h, n, c] * K[b, h, n', c] + R[h, max(0, min(2 * w, n' - n + w))])
    output Y[b, h, n, c] = A[b, h, n, n'] * V[b, h, n', c]

layer Whole(c = 5):
    input  Q[b, h, n, c], K[b, h, m, c], V[b, h, m, c], T[n, b, m, h]
    A[b, h, n, m] = softmax[m](T[n, b, m, h] - Q[b, h, n, c] * K[b, h, m, c])
    output Y[b, h, n, c] = A[b, h, n, m] * V[b, h, m, c]

layer Tied(c = 5):
    input  Q[b, h, n, c], K[b, h, m, c], V[b, h, m, c], T[n, m]
    A[b, h, n, m] = softmax[m](Q[b, h, n, c] * K[b, h, m, c] + T[n, m])
    output Y[b, n, h, c] = A[b, h, n, m] * V[b, h, m, c]

layer OfKeys(c = 5):
    input  Q[b, h, n, c], K[b, h, m, c], V[b, h, m, c], T[b, m], keep[n, m]: bool
    A[b, h, n, m] = softmax[m where keep[n, m]](Q[b, h, n, c] * K[b, h, m, c] + T[b, m])
    output Y[b, n, h, c] = A[b, h, n, m] * V[b, h, m, c]

layer Shared(c = 5, g = 2, q = 3):
    \"\"\"Heads that share keys, each with its bias.\"\"\"
    input  Q[b, n, g, q, c], K[b, n, g, c], V[b, n, g, c], T[q, n, n']
    A[b, g, q, n, n'] = softmax[n' where n' <= n](
        Q[b, n, g, q, c] * K[b, n', g, c] + T[q, n, n'])
    output Y[b, n, g, q, c] = A[b, g, q, n, n'] * V[b, n', g, c]

layer Wide(a = 3, e = 2, r = 4):
    \"\"\"Two feature and two value indices.\"\"\"
    input  Q[b, n, a, e], K[b, m, a, e], V[b, m, r, a], T[n, m]
    A[b, n, m] = softmax[m](Q[b, n, a, e] * K[b, m, a, e] + T[n, m])
    output Y[b, a, n, r] = A[b, n, m] * V[b, m, r, a]
"""


def _biased(
    layer: str, kernels: int, *shapes: tuple[int, ...], masks: tuple[Tensor, ...] = ()
) -> None:
    _compare(BIASES, layer, *shapes, masks=masks, kernels=kernels)


@check
def a_bias_of_positions_is_computed_in_the_kernel() -> None:
    _biased("Alibi", 4, *[(2, 2, 19, 6)] * 3)
    fused = layers_of(BIASES).Alibi(d=12)
    assert "_attention_0_bias" not in names_of(fused)


@check
def a_bias_that_is_learnt() -> None:
    for n in (5, 18):
        _biased("Slopes", 5, *[(2, 2, n, 5)] * 3, (2,))
        _biased("Relative", 5, *[(2, 2, n, 5)] * 3, (2, 7))


@check
def a_bias_that_is_a_tensor() -> None:
    for n, m in ((3, 19), (17, 4), (1, 1)):
        rest = ((2, 3, n, 5), (2, 3, m, 5), (2, 3, m, 5))
        _biased("Whole", 5, *rest, (n, 2, m, 3))
        _biased("Tied", 5, *rest, (n, m))
        keep = torch.rand(n, m) < 0.6
        _biased("OfKeys", 5, *rest, (2, m), masks=(keep,))


@check
def heads_that_share_keys_and_several_features() -> None:
    _biased("Shared", 5, (2, 7, 2, 3, 5), (2, 7, 2, 5), (2, 7, 2, 5), (3, 7, 7))
    _biased("Wide", 5, (2, 5, 3, 2), (2, 17, 3, 2), (2, 17, 4, 3), (5, 17))


@check
def second_derivatives_and_transforms_with_a_bias() -> None:
    module = layers_of(BIASES).Tied()
    shapes = ((1, 2, 3, 5), (1, 2, 4, 5), (1, 2, 4, 5), (3, 4))
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(module, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(module, leaves, fast_mode=True)
    many = [torch.stack([x.detach(), -x.detach()]) for x in leaves]
    each = torch.stack([module(*(x[k] for x in many)) for k in range(2)])
    torch.testing.assert_close(torch.vmap(module)(*many), each, rtol=1e-10, atol=1e-10)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    assert_agree(lambda: compiled(*leaves), lambda: module(*leaves), leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = [x.detach().float().requires_grad_() for x in leaves]
        made = module(*low)
    grads = torch.autograd.grad(made.float().sum(), low)
    assert all(grad.dtype is torch.float32 for grad in grads)


@check
def a_bias_may_be_minus_infinity() -> None:
    module = layers_of(BIASES).Tied()
    q, k, v = (torch.randn(2, 2, n, 5, dtype=torch.float64) for n in (3, 20, 20))
    keep = torch.arange(20) < torch.tensor([[0], [7], [20]])
    bias = torch.zeros(3, 20, dtype=torch.float64).masked_fill(~keep, -torch.inf)
    made = module(q, k, v, bias)
    want = torch.softmax((q @ k.mT + bias)[:, :, 1:], -1) @ v
    torch.testing.assert_close(made[:, 1:].transpose(1, 2), want, rtol=1e-9, atol=1e-9)
    assert torch.equal(made[:, 0], torch.zeros(2, 2, 5, dtype=torch.float64))


if __name__ == "__main__":
    main(CHECKS)
