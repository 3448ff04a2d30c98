"""The reference evaluator on sources, one feature of the language each, against plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tensorlang import reference
from tensorlang.check.check import check_layer
from tensorlang.check.spec import spec_of_text

RNG = np.random.default_rng(0)
X, A, B = RNG.standard_normal((4, 6)), RNG.standard_normal((3, 4)), RNG.standard_normal((4, 5))
M = RNG.standard_normal((2, 4, 4)) + 4 * np.eye(4)
DEEP = RNG.standard_normal((2, 3, 4, 5, 3))
AT = np.array([3, 0, 9, -2])
IN = (AT >= 0) & (AT < 4)
TARGETS = np.array([4, 4, 0, 1])


@dataclass(frozen=True)
class Case:
    name: str
    inputs: str
    body: str
    arrays: tuple[Any, ...]
    want: Callable[[], Any]


def run(source: str, *arrays: Any, params: dict[str, Any] | None = None, **bind: int) -> Any:
    program = check_layer(spec_of_text(source), "L", bind)
    return reference.evaluate(program, arrays, params or {})


def _lse(v: Any) -> Any:
    return np.log(np.exp(v).sum(1))


CASES = (
    Case(
        "max-plus",
        "A[i, j], B[j, k]",
        "output Y[i, k] = max[j](A[i, j] + B[j, k])",
        (A, B),
        lambda: (A[:, :, None] + B).max(1),
    ),
    Case(
        "log-sum-exp semiring",
        "A[i, j], B[j, k]",
        "output Y[i, k] = logsumexp[j](A[i, j] + B[j, k])",
        (A, B),
        lambda: _lse(A[:, :, None] + B),
    ),
    Case(
        "floor division and remainder of ints and reals",
        "i[n]: int, X[n]",
        "output Y[n] = i // 2 + i % 3 + X // 0.7 + X % -0.3",
        (AT, X[:, 0]),
        lambda: AT // 2 + AT % 3 + X[:, 0] // 0.7 + X[:, 0] % -0.3,
    ),
    Case(
        "a gather under an if",
        "X[n, d], i[m]: int",
        "output Y[m, d] = X[i[m], d] if 0 <= i[m] < |n| else -1",
        (X, AT),
        lambda: np.where(IN[:, None], X[AT.clip(0, 3)], -1),
    ),
    Case(
        "a gather that wraps",
        "X[n, d], i[m]: int",
        "output Y[m, d] = X[wrap(i[m]), d]",
        (X, AT),
        lambda: X[AT % 4],
    ),
    Case(
        "a gather with else",
        "X[n, d], i[m]: int",
        "output Y[m, d] = X[i[m] else 2, d]",
        (X, AT),
        lambda: np.where(IN[:, None], X[AT.clip(0, 3)], 2),
    ),
    Case(
        "groups",
        "X[n, (h c)]",
        "dim h = 2, c = 3\noutput Y[n, (c h)] = X[n, (h c)]",
        (X,),
        lambda: X.reshape(4, 2, 3).transpose(0, 2, 1).reshape(4, 6),
    ),
    Case(
        "count and size",
        "X[n, d]",
        "output Y[n] = count[d where X[n, d] > 0] / |d|",
        (X,),
        lambda: (X > 0).mean(1),
    ),
    Case(
        "a sum of bools",
        "X[n, d]",
        "output Y[n] = sum[d](X > 0)",
        (X,),
        lambda: (X > 0).sum(1),
    ),
    Case(
        "any in a choice",
        "X[n, d]",
        "output Y[n] = 1 if any[d](X > 1) else 0",
        (X,),
        lambda: (X > 1).any(1),
    ),
    Case(
        "var and std",
        "X[n, d]",
        "output Y[d] = std[n](X) + var[n](X)",
        (X,),
        lambda: X.std(0) + X.var(0),
    ),
    Case(
        "a reversed axis",
        "X[n, d]",
        "output Y[n, d] = X[|n| - 1 - n, d]",
        (X,),
        lambda: X[::-1],
    ),
    Case(
        "an index and a size as numbers",
        "X[n, d]",
        "output Y[n, d] = n * X + |d|",
        (X,),
        lambda: np.arange(4)[:, None] * X + 6,
    ),
    Case(
        "a diagonal",
        "X[b, n, n']",
        "output Y[n, b] = X[b, n, n]",
        (M,),
        lambda: np.diagonal(M, axis1=1, axis2=2).T,
    ),
    Case(
        "modes of a real transform",
        "X[x, y]",
        "dim k = 3\nS[x, k] = rfft[y -> k](X)\noutput Y[x, k] = real(S) + imag(S)",
        (X,),
        lambda: np.fft.rfft(X)[:, :3].real + np.fft.rfft(X)[:, :3].imag,
    ),
    Case(
        "a real transform of two axes, and back",
        "X[b, x, y]",
        "dim kx = 4, ky = 3\n"
        'S[b, kx, ky] = rfft[x -> kx, y -> ky](X, norm = "forward")\n'
        'output Y[b, x, y] = irfft[kx -> x, ky -> y](S, norm = "forward")',
        (M,),
        lambda: M,
    ),
    Case(
        "complex numbers",
        "Z[n]: complex",
        "output Y[n] = abs(Z * complex(0, 1) + 2)",
        (X[:, 0] + 1j * X[:, 1],),
        lambda: abs((X[:, 0] + 1j * X[:, 1]) * 1j + 2),
    ),
    Case("dropout", "X[n, d]", "output Y[n, d] = dropout(X, 0.5)", (X,), lambda: X),
    Case(
        "a sum of scatters",
        "X[n, d], t[n]: int",
        "dim m = 5\nS[m = t[n], d] += X[n, d]\nS[m = n + 3 else drop, d] += X[n, d]\n"
        "output Y[d, m] = S[m, d]",
        (X, TARGETS),
        lambda: (np.eye(5)[:, TARGETS] @ X + np.vstack([np.zeros((3, 6)), X[:2]])).T,
    ),
    Case(
        "a linear system with a batch axis in between",
        "M[b, n, n'], X[n, d]",
        "output Y[b, n', d] = solve[n, n'](M[b, n, n'], X[n, d])",
        (M, X),
        lambda: np.linalg.solve(M, X),
    ),
    Case(
        "concat of a piece that lacks an index",
        "X[n, a], Z[b]",
        "dim f = a + b\noutput Y[n, f] = concat[a, b -> f](X, Z)",
        (X, A[0]),
        lambda: np.hstack([X, np.tile(A[0], (4, 1))]),
    ),
    Case(
        "eigenvalues",
        "M[b, n, n']",
        "index k in n\noutput Y[b, k] = eigvals[n, n' -> k](M)",
        (M + M.swapaxes(1, 2),),
        lambda: np.linalg.eigvalsh(M + M.swapaxes(1, 2)),
    ),
    Case(
        "a prefix written out",
        "X[n, d]",
        "output Y[n, d] = prod[n' where n' <= n](X[n', d])",
        (X,),
        lambda: X.cumprod(0),
    ),
    Case(
        "masked cells may be infinite",
        "X[n, d]",
        "output Y[n] = sum[d where X[n, d] > 0](log(X[n, d]))",
        (X,),
        lambda: np.log(np.where(X > 0, X, 1)).sum(1),
    ),
    Case(
        "powers",
        "X[n, d], i[n]: int",
        "output Y[n, d] = X^-2 + 2^n + X^2^0.5 + (i + 5)^-1 + i^2 / 2",
        (X, AT),
        lambda: X**-2.0 + X ** (2**0.5) + (2.0 ** np.arange(4) + 1 / (AT + 5) + AT**2 / 2)[:, None],
    ),
    Case(
        "a maximum over no cell",
        "X[n, d]",
        "output Y[d] = max[n](X)",
        (X[:0],),
        lambda: np.full(6, -np.inf),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_feature(case: Case) -> None:
    lines = [f"input {case.inputs}", *case.body.splitlines()]
    if lines[1].startswith("dim h"):  # sizes that the input's axis is split by come first
        lines = [lines[1], lines[0], *lines[2:]]
    source = "layer L():\n" + "".join(f"    {line}\n" for line in lines)
    (got,) = run(source, *case.arrays)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, case.want(), rtol=1e-12, atol=1e-13)


CALLER = """
layer F(d = 3):
    input X[..., n, d], k[n]
    param W[d] ~ ones
    output Y[..., n, d] = X * W + k[n]
    output Z[..., d] = mean[n](X)
layer L(d = 3):
    input X[..., a, b, d], k[a]
    sub f = F(d)
    P[..., b, a, d], Q[..., b, d] = f[n = a](X, k)
    output Y[..., a, b, d] = P + Q[..., b, d]
"""


def test_a_layer_along_another_axis_of_any_batch() -> None:
    k, w = RNG.standard_normal(4), RNG.standard_normal(3)
    for given in (DEEP, DEEP[0], DEEP[0, 0], DEEP[:0]):
        (got,) = run(CALLER, given, k, params={"f.W": w})
        want = given * w + k[:, None, None] + given.mean(-3, keepdims=True)
        np.testing.assert_allclose(got, want)


STACK = """
layer F(d = 3):
    input X[..., d], s[d]
    param W[d] ~ ones
    output Y[..., d] = X * W + s[d]
layer L(d = 3, depth = 3):
    input X[..., d], s[d]
    sub f[depth] = F(d)
    output Y[..., d] = f(X, s)
"""


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_stack(depth: int) -> None:
    w, s = RNG.standard_normal((3, 3)), RNG.standard_normal(3)
    params = {f"f.{stage}.W": w[stage] for stage in range(depth)}
    (got,) = run(STACK, DEEP, s, params=params, depth=depth)
    want = DEEP
    for stage in range(depth):
        want = want * w[stage] + s
    np.testing.assert_allclose(got, want)


def test_a_dim_that_an_input_makes_too_small() -> None:
    source = (
        "layer L(k = 3):\n    input X[x]\n    dim u = k, y = x - k + 1\n"
        "    output Y[y] = sum[u](X[y + u])\n"
    )
    (got,) = run(source, np.arange(4.0))
    np.testing.assert_array_equal(got, [3, 6])
    with pytest.raises(ValueError, match=r"dim y = .* is 0 for x = 2"):
        run(source, np.arange(2.0))


def test_wrap_into_an_empty_axis() -> None:
    source = "layer L():\n    input X[n], i[m]: int\n    output Y[m] = X[wrap(i[m])]\n"
    with pytest.raises(ValueError, match=r"wrap has nowhere to go: axis 0 .* of X, of size 0"):
        run(source, np.zeros(0), AT)
    (got,) = run(source, np.zeros(0), AT[:0])
    assert got.shape == (0,)


def test_a_position_out_of_range_names_the_tensor_the_axis_and_the_value() -> None:
    source = "layer L():\n    input X[n], i[m]: int\n    output Y[m] = X[i[m]]\n"
    with pytest.raises(IndexError, match=r"position 9 .* axis 0 .* X, of size 4, .* i gives"):
        run(source, X[:, 0], AT)
