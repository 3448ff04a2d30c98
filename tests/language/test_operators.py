"""Sections 6, 7 and 12: implicit sums, functions, reductions, scans, conditions, derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.language.street import agree, codes, layer, warm

E = torch.einsum
SHAPES = [(3, 4), (1, 1), (0, 3), (3, 0)]


# --- section 6 -----------------------------------------------------------------------------------
@pytest.mark.parametrize("n, i", SHAPES)
def test_sums_stand_where_an_index_is_repeated(n: int, i: int) -> None:
    text = (
        "input X[n, i]; param W[o, i], D[o, i] ~ normal; param b[o], s ~ normal; dim o = 2;"
        "output Y[n, o] = gelu(W[o, i] * X[n, i] + b[o]);"
        "output Z[n, o] = (W[o, i] + s * D[o, i]) * X[n, i];"
        "output V[n, o] = -(X[n, i] * W[o, i]) / 2 - b"
    )
    if i == 0:  # a param's axis is at least 1
        return
    agree(
        text,
        [warm(n, i)],
        lambda x, p: (
            F.gelu(x @ p["W"].T + p["b"]),
            x @ (p["W"] + p["s"] * p["D"]).T,
            -(x @ p["W"].T) / 2 - p["b"],
        ),
        hypers="i",
        i=i,
    )


@pytest.mark.parametrize("n, i", SHAPES)
def test_sums_of_inputs(n: int, i: int) -> None:
    x, y = warm(n, i), warm(n, i, seed=1)
    agree("input X[n, i], Z[n, i]; output Y[n] = X * Z", [x, y], lambda x, z: (x * z).sum(1))
    agree("input X[n, i], Z[n, i]; output Y[] = X * Z", [x, y], lambda x, z: (x * z).sum())
    agree(
        "input X[n, i], Z[n, i]; output Y[i] = X * Z * n",
        [x, y],
        lambda x, z: (x * z * torch.arange(n)[:, None]).sum(0),
    )
    agree("input X[n, i]; output Y[n] = X * i", [x], lambda x: x @ torch.arange(i).double())
    agree(
        "input X[n, i], Z[n, i]; output Y[n] = X / (1 + Z ^ 2)",
        [x, y],
        lambda x, z: (x / (1 + z**2)).sum(1),
    )
    agree(
        "input X[n, i], Z[n, i]; output Y[n] = exp(X * Z) + 3 - 2 * (X * (Z + 1))",
        [x, y],
        lambda x, z: (x * z).sum(1).exp() + 3 - 2 * (x * (z + 1)).sum(1),
    )
    agree(
        "input X[n, i], Z[n, i]; output Y[n] = ((X) * ((Z))) * 2 + X[n, i'] * Z[n, i']",
        [x, y],
        lambda x, z: 3 * (x * z).sum(1),
    )
    agree(
        "input X[n, i], Z[n, i]; output Y[n] = X * (1 if Z > 0 else 0.5)",
        [x, y],
        lambda x, z: (x * torch.where(z > 0, 1.0, 0.5)).sum(1),
    )
    agree("input X[n, i]; output Y[i'] = sum[i](X[n, i] * X[n, i'])", [x], lambda x: x.sum(1) @ x)
    agree(
        "input X[n, i]; output Y[n, i, o] = X + o; dim o = 3",
        [x],
        lambda x: x[..., None] + torch.arange(3),
    )


def test_sums_that_are_refused() -> None:
    for body in (
        "X[n, i]", "X[n, i] + 1", "exp(X[n, i])", "max(X[n, i], Z[n, i])", "A[n] * X[n, i]",
        "silu(X * Z) * (X * Z)", "X[n, i] ^ 2", "A[n] * (X[n, i] + Z[n, i])", "X * Z + X",
        "A[n] / X[n, i]", "2 * i", "X if A > 0 else 0",
    ):  # fmt: skip
        found = codes(f"input X[n, i], Z[n, i], A[n]; output Y[n] = {body}")
        assert found and all(code.startswith("E") for code in found), body
    assert codes("input X[n]; output Y[n, m] = X[n]") == ["E0305"]
    assert codes("input X[i], Z[i]; output Y[] = sum[j](X * Z); dim j = 2") == ["W0412"]


def test_a_sum_over_an_absent_index_warns_and_multiplies() -> None:
    text = "input X[i]; dim k = 3; output Y[i] = sum[k](X[i]); output Z[] = count[k, i where X > 0]"
    assert codes(text) == ["W0412"] or all(c.startswith("W") for c in codes(text))
    agree(text, [warm(4)], lambda x: (3 * x, 3 * (x > 0).sum()))


def test_sums_never_enter_a_def() -> None:
    text = (
        "use std: rmsnorm\ndef twice[d](x) = 2 * sum[d](x)\ndef id(x) = x\n"
        "layer L():\n    input X[n, d]\n    param W[d, o], g[d] ~ normal\n    dim d = 3, o = 2\n"
        "    output Y[n, o] = rmsnorm[d](X, g) * W[d, o]\n    output Z[n] = twice[d](X) * n\n"
        "    output V[n, o] = id(sum[d](X * W))\n"
    )

    def want(x: Tensor, p: dict[str, Tensor]) -> Any:
        r = x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt() * p["g"]
        return r @ p["W"], 2 * x.sum(1) * torch.arange(4), x @ p["W"]

    agree(text, [warm(4, 3)], want)


# --- functions -----------------------------------------------------------------------------------
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "exp(X)": torch.exp, "sqrt(X ^ 2 + 1)": lambda x: (x**2 + 1).sqrt(),
    "log(X ^ 2 + 1)": lambda x: (x**2 + 1).log(), "rsqrt(X ^ 2 + 1)": lambda x: (x**2 + 1).rsqrt(),
    "abs(X)": torch.abs, "sign(X)": torch.sign, "frac(X)": lambda x: x - x.floor(),
    "sin(X)": torch.sin, "cos(X)": torch.cos, "tan(X)": torch.tan,
    "asin(X / 9)": lambda x: (x / 9).asin(), "acos(X / 9)": lambda x: (x / 9).acos(),
    "atan(X)": torch.atan, "sinh(X)": torch.sinh, "cosh(X)": torch.cosh, "tanh(X)": torch.tanh,
    "sigmoid(X)": torch.sigmoid, "relu(X)": torch.relu, "gelu(X)": F.gelu, "silu(X)": F.silu,
    "softplus(X)": lambda x: torch.logaddexp(x, torch.zeros_like(x)), "erf(X)": torch.erf,
    "X ^ 3 - X ^ 0 + X ^ 1": lambda x: x**3 - 1 + x, "2 ^ X": lambda x: 2**x,
    "(X ^ 2 + 1) ^ -2": lambda x: (x**2 + 1) ** -2, "(X ^ 2 + 1) ^ 0.5": lambda x: (x**2 + 1) ** 0.5,
    "(X ^ 2 + 1) ^ X": lambda x: (x**2 + 1) ** x, "-X ^ 2": lambda x: -(x**2),
    "2 ^ 3 ^ 2 * X": lambda x: 512 * x, "2 ^ -1 * X": lambda x: 0.5 * x,
    "X // 0.7": lambda x: (x / 0.7).floor() + 0 * x, "X % -0.3": lambda x: torch.remainder(x, -0.3),
    "7 - X - 1": lambda x: 6 - x, "8 / X / 2": lambda x: 4 / x, "X * 3 // 2 % 2": lambda x: (x * 3 / 2).floor() % 2 + 0 * x,
    "max(X, 0.5) - min(X, -0.5)": lambda x: x.clamp(min=0.5) - x.clamp(max=-0.5),
    "atan2(X, X - 2)": lambda x: torch.atan2(x, x - 2), "stopgrad(X) * X": lambda x: x.detach() * x,
    "pi * X": lambda x: math.pi * x, "X if -1 < X <= 1 and not X == 0 or X > 3 else -X":
        lambda x: torch.where((x > -1) & (x <= 1) & (x != 0) | (x > 3), x, -x),
    "X if true else inf": lambda x: x * 1, "1 + 2 * 3 ^ 2 - X": lambda x: 19 - x,
    "1e-6 * X + .5 + 2.": lambda x: 1e-6 * x + 2.5,
}  # fmt: skip


@pytest.mark.parametrize("body", UNARY)
def test_functions_of_a_real(body: str) -> None:
    x = torch.tensor([-2.6, -0.7, 0.1, 0.4, 1.3, 3.7], dtype=torch.float64)
    if "X ^ 2 + 1) ^ X" not in body:
        agree(f"input X[n]; output Y[n] = {body}", [x[:0]])
    agree(f"input X[n]; output Y[n] = {body}", [x], UNARY[body])
    agree(f"input X; output Y = {body}", [x[3]], UNARY[body])


INTS: dict[str, Callable[[Tensor], Tensor]] = {
    "i // 2": lambda i: i // 2, "i // -3": lambda i: i // -3, "i % 3": lambda i: i % 3,
    "i % -3": lambda i: torch.remainder(i, -3), "i ^ 2": lambda i: i**2, "i / 2": lambda i: i / torch.tensor(2.0).double(),
    "-i": lambda i: -i, "abs(i) + sign(i)": lambda i: i.abs() + i.sign(), "max(i, 2)": lambda i: i.clamp(min=2),
    "max(i, 0.5)": lambda i: i.double().clamp(min=0.5), "exp(i)": lambda i: i.double().exp(),
    "i if i > 0 else 0.5": lambda i: torch.where(i > 0, i.double(), 0.5), "i > 0": lambda i: i > 0,
    "(i > 0) + (i > 1)": lambda i: (i > 0).long() + (i > 1), "sum[n'](i[n'] * n)": lambda i: i.sum() * torch.arange(len(i)),
    "mean[n'](i[n']) + n": lambda i: i.double().mean() + torch.arange(len(i)), "floor(i / 2)": lambda i: (i / 2).floor().long(),
    "cumsum[n](i)": lambda i: i.cumsum(0), "not i == 1 and i != 0": lambda i: (i != 1) & (i != 0), "relu(i)": lambda i: i.relu(),
    "i * true": lambda i: i * 1, "2 * (i >= 0)": lambda i: 2 * (i >= 0).long(), "i ^ 0": lambda i: i**0,
    "prod[n'](i[n']) + n - n": lambda i: i.prod().expand(len(i)), "max[n'](i[n']) * 1 + 0 * n": lambda i: i.max().expand(len(i)),
    "any[n'](i[n'] > 2) or n < 0": lambda i: (i > 2).any().expand(len(i)), "argmax[n'](i[n']) + 0 * n": lambda i: i.argmax().expand(len(i)),
    "sqrt(n)": lambda i: torch.arange(len(i)).double().sqrt(), "n": lambda i: torch.arange(len(i)), "3 + 0 * n": lambda i: torch.full((len(i),), 3),
    "n == 2": lambda i: torch.arange(len(i)) == 2, "0.5 + 0 * n": lambda i: torch.full((len(i),), 0.5).double(), "true or n > 0": lambda i: i == i,
    "|n| + 0 * n": lambda i: torch.full((len(i),), len(i)), "2 ^ -1 + n": lambda i: torch.arange(len(i)).double() + 0.5,
    "frac(i / 4)": lambda i: (i / 4).double() % 1,
}  # fmt: skip


@pytest.mark.parametrize("body", INTS)
def test_integers_and_bools(body: str) -> None:
    i = torch.tensor([-7, -2, 0, 1, 3, 8])
    agree(f"input i[n]: int; output Y[n] = {body}", [i], INTS[body])


def test_complex_numbers() -> None:
    z = torch.complex(warm(4), warm(4, seed=1))
    x = warm(4, seed=2)
    for body, want in {
        "real(Z) - 2 * imag(Z)": lambda z: z.real - 2 * z.imag, "conj(Z) * Z": lambda z: z.conj() * z,
        "abs(Z)": torch.abs, "complex(0, 1) * Z": lambda z: 1j * z, "Z ^ 2 / (Z + 3)": lambda z: z**2 / (z + 3),
        "exp(Z)": torch.exp, "Z * 2 - 1": lambda z: 2 * z - 1, "-Z": lambda z: -z,
        "complex(abs(Z), n)": lambda z: torch.complex(z.abs(), torch.arange(4).double()),
        "sqrt(Z)": torch.sqrt, "cumsum[n](Z)": lambda z: z.cumsum(0),
        "Z if abs(Z) > 1 else 0": lambda z: torch.where(z.abs() > 1, z, 0),
        "mean[n'](Z[n']) * n": lambda z: z.mean() * torch.arange(4),
        "prod[n'](Z[n']) * n": lambda z: z.prod() * torch.arange(4),
        "norm[n'](Z[n']) * n": lambda z: z.abs().square().sum().sqrt() * torch.arange(4),
        "Z[n'] * conj(Z[n']) * n": lambda z: (z * z.conj()).sum() * torch.arange(4),
        "Z[n - 1 else 0]": lambda z: F.pad(z, (1, 0))[:-1],
    }.items():  # fmt: skip
        agree(f"input Z[n]: complex; output Y[n] = {body}", [z], want)
    agree("input Z[n]: complex, X[n]; output Y[n] = Z * X + X", [z, x], lambda z, x: z * x + x)
    agree(
        "input X[n]; output Y[n] = complex(X, 2 * X); output R[n] = real(complex(X, 1)) + imag(complex(X, 0))",
        [x],
        lambda x: (torch.complex(x, 2 * x), x + 0),
    )
    assert codes("input Z[n]: complex; output Y[n] = Z > 0") == ["E0601"]
    assert codes("input Z[n]: complex; output Y[n] = max(Z, Z)") == ["E0601"]


# --- reductions ----------------------------------------------------------------------------------
REDUCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Any]] = {
    "sum": (lambda x: x.sum(1), 0.0), "mean": (lambda x: x.mean(1), 0.0),
    "max": (lambda x: x.amax(1), -math.inf), "min": (lambda x: x.amin(1), math.inf),
    "prod": (lambda x: x.prod(1), 1.0), "logsumexp": (lambda x: x.logsumexp(1), -math.inf),
    "norm": (lambda x: x.square().sum(1).sqrt(), 0.0),
    "var": (lambda x: x.var(1, correction=0), 0.0), "std": (lambda x: x.std(1, correction=0), 0.0),
    "argmax": (lambda x: x.argmax(1), 0), "argmin": (lambda x: x.argmin(1), 0),
}  # fmt: skip


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op: str) -> None:
    want, empty = REDUCTIONS[op]
    x = warm(4, 5)
    agree(f"input X[n, d]; output Y[n] = {op}[d](X)", [x], want)
    agree(
        f"input X[n, d]; output Y[n] = {op}[d](X + 1) * 2",
        [warm(3, 1)] if op != "std" else [x],
        lambda x: want(x + 1) * 2,
    )
    rows = f"input X[n, d]; output Y[n] = {op}[d where d < n](X)"
    (got,) = agree(
        rows,
        [x],
        lambda x: torch.stack(
            [torch.as_tensor(empty)] + [want(x[k : k + 1, :k])[0] for k in range(1, 4)]
        ),
    )
    assert got[0] == empty
    (got,) = agree(f"input X[n, d]; output Y[n] = {op}[d](X)", [warm(3, 0)], slopes=False)
    assert got.tolist() == [empty] * 3
    leaf = x.clone().requires_grad_()
    value = layer(rows)(leaf)
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value[0], leaf)
        assert torch.equal(slope, torch.zeros_like(leaf))
    if "arg" not in op:
        agree(
            f"input X[n, d]; output Y[] = {op}[n, d](X)", [x], lambda x: want(x.reshape(1, -1))[0]
        )
        agree(
            f"input X[n, d]; output Y[] = {op}[d, n where X > 0](X)",
            [x],
            lambda x: want(x[x > 0][None])[0],
        )
        agree(
            f"input X[..., d]; output Y[...] = {op}[d](X)",
            [warm(2, 3, 4)],
            lambda x: want(x.flatten(0, 1)).view(2, 3),
        )


def test_any_all_count() -> None:
    every = torch.tensor([[True, False], [False, False], [True, True]])
    for c in (every, every[:0], every[:, :0]):
        agree(
            "input C[n, d]: bool; output A[n] = any[d](C); output B[n] = all[d](C);"
            "output K[n] = count[d where C]; output T[] = count[n, d where not C];"
            "output S[n] = sum[d](C); output M[n] = mean[d](C)",
            [c],
            lambda c: (
                c.any(1),
                c.all(1),
                c.sum(1),
                (~c).sum(),
                c.sum(1),
                c.double().mean(1) if c.shape[1] else torch.zeros(3).double(),
            ),
        )


def test_softmax_and_scans() -> None:
    x = warm(4, 5)
    agree("input X[n, d]; output Y[n, d] = softmax[d](X)", [x], lambda x: x.softmax(1))
    agree("input X[n, d]; output Y[n, d] = log_softmax[d](X)", [x], lambda x: x.log_softmax(1))
    agree(
        "input X[n, d]; output Y[d, n] = softmax[n, d](X)",
        [x],
        lambda x: x.flatten().softmax(0).view(4, 5).T,
    )
    agree(
        "input X[n, d]; output Y[n, d] = cumsum[n](X) - cumprod[d](X)",
        [x],
        lambda x: x.cumsum(0) - x.cumprod(1),
    )
    agree(
        "input X[n, d]; output Y[n, d] = cumsum[d where d > n](X)",
        [x],
        lambda x: x.triu(1).cumsum(1),
    )
    agree(
        "input X[n, d]; output Y[n, d] = cumprod[d where X > 0](X)",
        [x],
        lambda x: torch.where(x > 0, x, 1).cumprod(1),
    )

    def rows(log: bool) -> Callable[[Tensor], Tensor]:
        def want(x: Tensor) -> Tensor:
            y = x.masked_fill(torch.ones(4, 5).triu() > 0, -torch.inf)[1:]
            y = y.log_softmax(1) if log else y.softmax(1)
            return torch.cat([torch.zeros(1, 5).double(), y])

        return want

    agree("input X[n, d]; output Y[n, d] = softmax[d where d < n](X)", [x], rows(False))
    (got,) = agree(
        "input X[n, d]; output Y[n, d] = log_softmax[d where d < n](X)", [x], slopes=False
    )
    assert got[0].tolist() == [0.0] * 5
    for shape in ((0, 3), (3, 0), (1, 1)):
        agree(
            "input X[n, d]; output Y[n, d] = softmax[d](X) + log_softmax[d](X) + cumsum[d](X)"
            " + cumprod[n](X)",
            [warm(*shape)],
            lambda x: x.softmax(1) + x.log_softmax(1) + x.cumsum(1) + x.cumprod(0),
        )
    agree(
        "input F[t, m]; output Y[t, m] = sum[t' where t' <= t](F[t', m])",
        [x],
        lambda x: x.cumsum(0),
    )
    agree(
        "input F[t, m]; output Y[t, m] = sum[t' where t' < t](F[t', m])",
        [x],
        lambda x: x.cumsum(0) - x,
    )
    agree(
        "input F[t, m]; output Y[t, m] = sum[t' where t' >= t](F[t', m])",
        [x],
        lambda x: x.flip(0).cumsum(0).flip(0),
    )
    agree(
        "input F[t, m]; output Y[t, m] = max[t' where t' <= t](F[t', m])",
        [x],
        lambda x: x.cummax(0)[0],
    )


def test_other_semirings() -> None:
    a, b = warm(3, 4), warm(4, 5, seed=1)
    agree(
        "input A[i, j], B[j, k]; output Y[i, k] = max[j](A + B)",
        [a, b],
        lambda a, b: (a[..., None] + b).amax(1),
    )
    agree(
        "input A[i, j], B[j, k]; output Y[i, k] = min[j](A[i, j] + B[j, k])",
        [a, b],
        lambda a, b: (a[..., None] + b).amin(1),
    )
    agree(
        "input A[i, j], B[j, k]; output Y[i, k] = logsumexp[j](A + B)",
        [a, b],
        lambda a, b: (a[..., None] + b).logsumexp(1),
    )
    agree(
        "input A[i, j]: bool, B[j, k]: bool; output Y[i, k] = any[j](A and B)",
        [a > 0, b > 0],
        lambda a, b: (a[..., None] & b).any(1),
    )
    agree(
        "input A[i, j], B[j, k], C[k]; output Y[i] = max[j, k](A + B + C)",
        [a, b, b[0]],
        lambda a, b, c: (a[..., None] + b + c).amax((1, 2)),
    )


# --- conditions and derivatives ------------------------------------------------------------------
def slopes(text: str, *inputs: Tensor, order: int = 1, hypers: str = "") -> list[float]:
    """Derivative of the sum of all outputs by the first input, of some order."""
    made = layer(text, hypers)
    leaf = inputs[0].clone().requires_grad_()
    value = made(leaf, *inputs[1:])
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
    return list(value.detach().flatten().tolist())


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_cell_whose_condition_is_false_contributes_nothing() -> None:
    x = at(2.0, 0.0, -1.0)
    assert slopes("input X[j]; output Y[] = sum[j where X > 0](log(X))", x) == [0.5, 0, 0]
    assert slopes("input X[j]; output Y[j] = log(X) if X > 0 else 0", x) == [0.5, 0, 0]
    assert slopes("input X[j]; output Y[j] = 0 if X <= 0 else sqrt(X) ^ 2", x) == pytest.approx(
        [1, 0, 0]
    )
    assert slopes("input X[j]; output Y[] = max[j where X > 0](1 / X)", x) == [-0.25, 0, 0]
    assert slopes("input X[j]; A[j] = 1 / X; output Y[] = sum[j where X != 0](A)", x) == [
        -0.25,
        0,
        -1,
    ]
    assert slopes("input X[j]; A[j] = log(X); output Y[j] = A if X > 0 else 1", x) == [0.5, 0, 0]
    assert slopes(
        "input X[j]; A[j] = log(X); B[j] = A * 2; output Y[] = sum[j where X > 0](A * B)", x
    ) == pytest.approx([4 * math.log(2) / 2, 0, 0])
    assert slopes("input X[j]; output Y[] = logsumexp[j where X > 0](log(X))", x) == [0.5, 0, 0]
    assert slopes("input X[j]; output Y[] = prod[j where X > 0](X ^ 0.5)", x) == pytest.approx(
        [0.5 / 2**0.5, 0, 0]
    )
    assert slopes("input X[j]; output Y[j] = softmax[j where X > 0](log(X)) * X", x) == [1, 0, 0]
    assert slopes("input X[j]; output Y[] = norm[j where X < 0](X / (X - 2))", x)[:2] == [0, 0]
    assert slopes("input X[j]; output Y[j] = cumsum[j where X > 0](log(X))", x) == [1.5, 0, 0]
    assert slopes(
        "input X[j]; output Y[] = mean[j where X > 0](mean[j' where X[j'] > 0](log(X[j']) / X[j]))",
        x,
    )[1:] == [0, 0]
    assert slopes(
        "input X[j]; output Y[j] = (log(X) if X > 0 else 0) + (sqrt(X) if X > 0 else X)", x
    )[1:] == [1, 1]
    agree(
        "input X[j]; output Y[j] = X[j - 1] if j > 0 else 0", [x], lambda x: F.pad(x, (1, 0))[:-1]
    )
    agree(
        "input X[j], i[j]: int; output Y[j] = X[i] if 0 <= i < |j| else 9",
        [x, torch.tensor([1, 7, -1])],
        lambda x, i: torch.stack([x[1], at(9.0)[0], at(9.0)[0]]),
    )
    agree(
        "input X[j], i[j]: int; output Y[] = sum[j where 0 <= i < |j|](X[i])",
        [x, torch.tensor([1, 7, -1])],
        lambda x, i: x[1],
    )


def test_slopes_at_kinks_and_ties() -> None:
    zero, tie = at(0.0, 0.0), at(2.0, 2.0, 1.0)
    for body in ("relu(X)", "abs(X)"):
        assert slopes(f"input X[n]; output Y[n] = {body}", zero) == [0, 0], body
    for op in ("norm", "std"):
        assert slopes(f"input X[n]; output Y[] = {op}[n](X)", zero) == [0, 0], op
    assert slopes("input X[n]; output Y[] = std[n](X)", at(3.0, 3.0)) == [0, 0]
    assert slopes("input X[n]; output Y[n] = norm[d](X * d); dim d = 2", zero) == [0, 0]
    assert slopes("input X[n]; output Y[] = max[n](X)", tie) == [0.5, 0.5, 0]
    assert slopes("input X[n]; output Y[] = min[n](-X)", tie) == [-0.5, -0.5, 0]
    assert slopes("input X[n]; output Y[n] = max(X, 2)", tie) == [0.5, 0.5, 0]
    assert slopes("input X[n]; output Y[n] = min(X, 2 * X - 2)", tie) == [1.5, 1.5, 2]
    assert slopes("input X[n]; output Y[n] = max(max(X, 2), 2)", tie) == [0.25, 0.25, 0]
    assert slopes("input X[n]; output Y[n] = max(X, X)", tie) == [1, 1, 1]
    assert slopes("input X[n]; output Y[] = max[n, k](X + 0 * k); dim k = 2", tie) == [0.5, 0.5, 0]
    assert slopes("input X[n]; output Y[k] = max[n](X + k); dim k = 2", tie) == [1, 1, 0]
    assert slopes(
        "input X[n], i[n]: int; output Y[k = i[n]] max= X[n]; dim k = 2",
        tie,
        torch.tensor([0, 0, 0]),
    ) == [0.5, 0.5, 0]
    assert slopes(
        "input X[n], i[n]: int; output Y[k = i[n]] min= X[n]; dim k = 2",
        tie,
        torch.tensor([1, 1, 0]),
    ) == [0.5, 0.5, 1]
    assert slopes("input X[n]; output Y[] = max[n where n < 2](X)", tie) == [0.5, 0.5, 0]
    assert slopes("input X[n]; output Y[] = prod[n](X)", at(0.0, 3.0, 0.0)) == [0, 0, 0]
    assert slopes("input X[n]; output Y[] = prod[n](X)", at(0.0, 3.0, 2.0)) == [6, 0, 0]
    assert slopes("input X[n]; output Y[n] = abs(X)", at(0.0)) == [0]
    assert slopes(
        "input X[n]; output Y[n] = sign(X) + floor(X) + X // 2 + X % 2", at(0.0, 1.5)
    ) == [1, 1]


def test_powers_have_every_derivative_at_0() -> None:
    for exponent in range(5):
        for order in range(5 if exponent else 1):
            text = f"input X[n]; output Y[n] = X ^ {exponent} + 0 * X ^ 4"
            got = (
                slopes(text, at(0.0, 2.0), order=order)
                if order
                else layer(text)(at(0.0, 2.0)).tolist()
            )
            falling = (
                math.prod(range(exponent - order + 1, exponent + 1)) if exponent >= order else 0
            )
            power = exponent - order
            want = (
                [falling * (1.0 if power == 0 else 0.0), falling * 2.0**power]
                if falling
                else [0.0, 0.0]
            )
            assert got == pytest.approx(want), (exponent, order)


def test_second_derivatives() -> None:
    made = layer(
        "input X[n, d]; param W[d, o] ~ normal; dim d = 3, o = 4;"
        "A[n, o] = gelu(X * W); S[n, n'] = softmax[n' where n' <= n](A[n, o] * A[n', o]);"
        "output Y[n] = norm[o](S[n, n'] * A[n', o]) + logsumexp[d](X) + std[d](X) + max[d](X)"
    )
    x = warm(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(made, [x])
    with sdpa_kernel(SDPBackend.MATH):  # torch's fused attention has no second derivative
        assert torch.autograd.gradgradcheck(made, [x])


def test_a_name_for_a_part_changes_nothing() -> None:
    x = at(2.0, 0.0, -1.0)
    for part in ("1 / X", "X / X", "log(X ^ 2)", "X ^ -1", "rsqrt(X * X)"):
        for text in (
            "output Y[j] = PART if X != 0 else 0",
            "output Y[] = sum[j where X != 0](PART * X)",
            "output Y[] = max[j where X != 0](PART)",
            "output Y[j] = softmax[j where X != 0](PART) * X",
            "output Y[j] = cumsum[j where X != 0](PART)",
            "output Y[j, k] = PART * k + 1 if X[j] != 0 else 0; dim k = 2",
            "output Y[] = logsumexp[j where X != 0](PART) + mean[j where X != 0](PART)",
        ):
            want = slopes(f"input X[j]; {text.replace('PART', f'({part})')}", x)
            named = f"input X[j]; A[j] = {part}; {text.replace('PART', 'A')}"
            twice = f"input X[j]; B[j] = {part}; A[j] = B + 0; {text.replace('PART', 'A')}"
            assert slopes(named, x) == pytest.approx(want), named
            assert slopes(twice, x) == pytest.approx(want), twice
