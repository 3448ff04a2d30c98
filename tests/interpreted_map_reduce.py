"""Maps over pairs of samples in Triton's interpreter; test_triton_map_reduce.py runs it in its own
process."""

from __future__ import annotations

import itertools

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


PAIRS = """
layer Gauss(d = 3, e = 4):
    \"\"\"Weighted Gaussians; the bandwidth is a scalar input.\"\"\"
    input X[n, d], Y[m, d], B[m, e], sigma
    D[n, m] = sum[d]((X[n, d] - Y[m, d])^2)
    K[n, m] = exp(-D / (2 * sigma^2))
    output Z[n, e] = K[n, m] * B[m, e]

layer Soft(d = 3):
    \"\"\"A log-sum-exp beside a batch, samples weighed.\"\"\"
    input X[b, n, d], Y[b, m, d], w[b, m], s[b]
    D[b, n, m] = sum[d]((X[b, n, d] - Y[b, m, d])^2)
    output L[b, n] = logsumexp[m](w[b, m] - s[b] * D)

layer Points():
    \"\"\"The length of a point is known at the call only; queries have two indices.\"\"\"
    input X[b, n, d], Y[m, d], w[m]
    D[b, n, m] = sum[d]((X[b, n, d] - Y[m, d])^2)
    output Z[b, n] = sum[m](rsqrt(1 + D) * w[m])

layer Inner(d = 20, e = 6):
    \"\"\"Both sums are matrix products.\"\"\"
    input X[n, d], Y[m, d], V[m, e]
    S[n, m] = sum[d](X[n, d] * Y[m, d])
    output Z[n, e] = sum[m](relu(S[n, m]) ^ 2 * V[m, e])

layer Regression(d = 2, e = 2):
    \"\"\"Two reductions of one value per pair.\"\"\"
    input X[n, d], Y[m, d], V[m, e]
    K[n, m] = exp(-0.5 * sum[d](abs(X[n, d] - Y[m, d])))
    A[n, e] = K[n, m] * V[m, e]
    W[n] = sum[m](K[n, m])
    output Z[n, e] = A[n, e] / (W[n] + 0.1)

layer Masked(d = 2):
    \"\"\"Positions, a mask and a weight of each pair.\"\"\"
    input X[n, d], Y[m, d], W[n, m], keep[n, m]: bool
    K[n, m] = exp(-sum[d]((X[n, d] - Y[m, d])^2)) * W[n, m]
    output Z[n] = sum[m](K if keep[n, m] and m != n else 0)

layer Itself(d = 3):
    \"\"\"One tensor on both sides, forces of a Coulomb sum.\"\"\"
    input X[n, d], q[n]
    R[n, n'] = sum[d]((X[n, d] - X[n', d])^2)
    U[n] = sum[n'](q[n'] * rsqrt(R + 0.1) if n != n' else 0)
    output E[n] = q[n] * U[n]

layer Nearest(d = 3):
    input X[n, d], Y[m, d]
    D[n, m] = sum[d]((X[n, d] - Y[m, d])^2)
    output Z[n] = min[m](D)
    output F[n] = max[m](D)

layer Heads(h = 2, d = 8, e = 8):
    \"\"\"Heads beside each other in one axis.\"\"\"
    input X[n, (h d)], Y[m, (h d)], V[m, (h e)]
    S[h, n, m] = sum[d](X[n, (h d)] * Y[m, (h d)])
    output Z[n, (h e)] = sum[m](relu(S[h, n, m]) ^ 2 * V[m, (h e)])

layer Additive(d = 8, e = 8):
    \"\"\"Gradients that are the same for all samples, products with what is nothing at 0.\"\"\"
    input X[n], Y[m], V[m, e]
    D[n, m] = X[n] - 0.3 * Y[m]
    output Z[n] = sum[m](D[n, m] + 1)
    output W[n, e] = sum[m](V[m, e] * log(D[n, m]^2) / D[n, m])

layer Weights(d = 3):
    \"\"\"A length scale for each coordinate, samples with two indices.\"\"\"
    input X[n, d], Y[g, m, d], a[d], v[g, m]
    D[n, g, m] = sum[d](a[d] * (X[n, d] - Y[g, m, d])^2)
    output Z[n] = sum[g, m](exp(-D) * v[g, m])
"""


def _layer(name: str, target: str = "triton") -> torch.nn.Module:
    made: torch.nn.Module = getattr(layers_of(PAIRS, target), name)()
    return made


def _drawn(shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [
        (torch.randn(shape, dtype=torch.float64) * 0.7).abs().to(dtype).requires_grad_()
        for shape in shapes
    ]


def _agrees(name: str, *shapes: tuple[int, ...], mask: tuple[int, ...] | None = None) -> None:
    plain, fused = _layer(name, "torch"), _layer(name)
    kernels = names_of(fused)["KERNELS"]
    assert any("map_reduce" in kernel for kernel in kernels), list(kernels)
    leaves = _drawn(shapes)
    inputs = list(leaves) if mask is None else [*leaves, torch.rand(mask) < 0.5]
    assert_agree(lambda: fused(*inputs), lambda: plain(*inputs), leaves, 1e-9, 1e-10)


SIZES = ((1, 1), (5, 37), (37, 3), (17, 16), (32, 32), (2, 49))


@check
def weighted_gaussians() -> None:
    for n, m in SIZES:
        _agrees("Gauss", (n, 3), (m, 3), (m, 4), ())


@check
def log_sum_exp() -> None:
    for n, m in SIZES:
        _agrees("Soft", (2, n, 3), (2, m, 3), (2, m), (2,))


@check
def points_of_any_length() -> None:
    for (n, m), d in zip(SIZES, (1, 2, 3, 7, 16, 20), strict=True):
        _agrees("Points", (2, n, d), (m, d), (m,))
    _agrees("Points", (2, 3, 40), (5, 40), (5,))  # too long: torch


@check
def products_of_points_and_of_values() -> None:
    for n, m in SIZES:
        _agrees("Inner", (n, 20), (m, 20), (m, 6))


@check
def two_reductions_of_one_value() -> None:
    for n, m in SIZES:
        _agrees("Regression", (n, 2), (m, 2), (m, 2))


@check
def masks_positions_and_weights_of_pairs() -> None:
    for n, m in SIZES:
        _agrees("Masked", (n, 2), (m, 2), (n, m), mask=(n, m))


@check
def one_tensor_on_both_sides() -> None:
    for n in (1, 5, 37, 32):
        _agrees("Itself", (n, 3), (n,))


@check
def extremes() -> None:
    for n, m in SIZES:
        _agrees("Nearest", (n, 3), (m, 3))


@check
def samples_of_two_indices() -> None:
    for n, m in SIZES:
        _agrees("Weights", (n, 3), (3, m, 3), (3,), (3, m))


@check
def heads_side_by_side() -> None:
    for n, m in SIZES:
        _agrees("Heads", (n, 16), (m, 16), (m, 16))


@check
def sums_of_terms_and_of_what_is_nothing_past_the_end() -> None:
    for n, m in SIZES:
        _agrees("Additive", (n,), (m,), (m, 8))


@check
def no_samples() -> None:
    for n, m in itertools.product((0, 3), (0, 3)):
        _agrees("Gauss", (n, 3), (m, 3), (m, 4), ())
        _agrees("Soft", (2, n, 3), (2, m, 3), (2, m), (2,))
        _agrees("Inner", (n, 20), (m, 20), (m, 6))
    fused = _layer("Soft")
    made = fused(*_drawn(((2, 3, 3), (2, 0, 3), (2, 0), (2,))))
    assert torch.equal(made, torch.full_like(made, -torch.inf))


@check
def any_strides() -> None:
    fused = _layer("Gauss")
    x, y, b, s = _drawn(((5, 3), (19, 3), (19, 4), ()))
    want = fused(x, y, b, s)
    moved = (
        x.t().contiguous().t(),
        y.flip(0).contiguous().flip(0),
        b.repeat_interleave(2, 1)[:, ::2],
    )
    torch.testing.assert_close(fused(*moved, s), want, rtol=1e-12, atol=1e-12)
    (got,) = torch.autograd.grad(want.sum(), x)  # a gradient of stride 0
    (plain,) = torch.autograd.grad(_layer("Gauss", "torch")(x, y, b, s).sum(), x)
    torch.testing.assert_close(got, plain, rtol=1e-9, atol=1e-9)


@check
def derivatives_of_any_order() -> None:
    for name, shapes in (
        ("Gauss", ((3, 3), (18, 3), (18, 4), ())),
        ("Soft", ((1, 2, 3), (1, 18, 3), (1, 18), (1,))),
        ("Inner", ((3, 20), (4, 20), (4, 6))),
    ):
        leaves = _drawn(shapes)
        fused = _layer(name)
        assert torch.autograd.gradcheck(fused, leaves, fast_mode=True)
        assert torch.autograd.gradgradcheck(fused, leaves, fast_mode=True)


@check
def low_precision() -> None:
    """At most 3 times the error of plain torch in the same precision, plus a few roundings."""
    for name, shapes in (
        ("Gauss", ((7, 3), (40, 3), (40, 4), ())),
        ("Soft", ((2, 7, 3), (2, 40, 3), (2, 40), (2,))),
        ("Inner", ((7, 20), (40, 20), (40, 6))),
    ):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            low = _drawn(shapes, dtype)
            exact = [x.detach().double().requires_grad_() for x in low]
            runs = []
            for layer, given in (
                (_layer(name), exact),
                (_layer(name), low),
                (_layer(name, "torch"), low),
            ):
                y = layer(*given)
                torch.manual_seed(2)
                weight = torch.rand(y.shape, dtype=torch.float64).to(y.dtype)
                runs.append([y.detach(), *torch.autograd.grad((y * weight).sum(), given)])
            assert all(g.dtype is dtype for g in runs[1])
            assert_precise(dtype, *runs)


@check
def transforms() -> None:
    fused = _layer("Gauss")
    given = _drawn(((2, 5, 3), (2, 19, 3), (2, 19, 4), (2,)))
    each = torch.stack([fused(*(x[k] for x in given)) for k in range(2)])
    torch.testing.assert_close(torch.vmap(fused)(*given), each, rtol=1e-10, atol=1e-10)
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager", dynamic=True)
    for n, m in ((5, 19), (7, 3)):
        leaves = _drawn(((n, 3), (m, 3), (m, 4), ()))
        assert_agree(lambda: compiled(*leaves), lambda: fused(*leaves), leaves)  # noqa: B023


@check
def operators_are_well_formed() -> None:
    names = names_of(_layer("Gauss"))
    given = tuple(x.detach() for x in _drawn(((5, 3), (19, 3), (), (19, 4))))
    forward = next(v for k, v in names.items() if k.endswith("map_reduce_0_forward_op"))
    torch.library.opcheck(forward, (*given, 5, 19))
    made = forward(*given, 5, 19)
    backward = next(v for k, v in names.items() if k.endswith("map_reduce_0_backward_op"))
    torch.library.opcheck(backward, (*given, torch.randn_like(made), 5, 19))


@check
def the_pairs_are_never_stored() -> None:
    """No tensor as large as all pairs is made."""
    fused = _layer("Gauss")
    assert kernel_count(fused) == 3
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            made = func(*args, **(kwargs or {}))
            for x in torch.utils._pytree.tree_leaves(made):
                if isinstance(x, Tensor):
                    largest[0] = max(largest[0], x.numel())
            return made

    leaves = _drawn(((64, 3), (70, 3), (70, 4), ()))
    with Watch():
        torch.autograd.grad(fused(*leaves).sum(), leaves)
    assert largest[0] < 64 * 70, largest


if __name__ == "__main__":
    main(CHECKS)
