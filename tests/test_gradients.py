"""`grad` in the language: its meaning against torch.autograd, what is compiled against its meaning.

Every case is Y over X (and A); G is the gradient of sum(V * Y) by X, H that of sum(U * G).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from tensorlang import reference
from tensorlang.check.program import Program
from tensorlang.check.spec import spec_of_text
from tensorlang.module import LoadedSpec
from tensorlang.options import Options


def loaded(text: str, target: str = "torch") -> Any:
    return LoadedSpec(spec_of_text(text), Options(target=target))


@dataclass(frozen=True)
class Case:
    body: str
    out: str = "i"
    by: str = "i"
    others: str = ""
    head: str = ""
    kind: str = ""
    spd: bool = False
    complex_out: bool = False

    @property
    def text(self) -> str:
        head = "".join(f"    {line}\n" for line in self.head.split("; ") if line)
        given = f"input X[{self.by}]{self.kind}{self.others}"
        real = "real(Y)" if self.complex_out else "Y"
        inner = "real(conj(U) * G)" if self.kind else "U * G"
        return f"""
layer E():
{head}    {given}
    output Y[{self.out}] = {self.body}

layer D():
{head}    {given}, V[{self.out}], U[{self.by}]{self.kind}
    Y[{self.out}] = {self.body}
    output G[{self.by}] = grad[X[{self.by}]](V * {real})
    output H[{self.by}] = grad[X]({inner})
"""


PAIR = ", A[i]"
SQUARE = "dim i = 4"
CASES: dict[str, Case] = {
    **{
        name: Case(f"{name}(X)")
        for name in (
            *("exp", "abs", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "sigmoid", "relu"),
            *("gelu", "silu", "softplus", "erf", "frac", "floor", "ceil", "sign", "stopgrad"),
        )
    },
    **{
        name: Case(f"{name}({inner})")
        for name, inner in (
            *(("log", "X^2 + 1"), ("sqrt", "X^2 + 1"), ("rsqrt", "X^2 + 1"), ("asin", "tanh(X)")),
            ("acos", "tanh(X)"),
        )
    },
    "power": Case("X^3 - 2^X + (X^2 + 1)^A", others=PAIR),
    "quotient": Case("X * A / (X^2 + A^2 + 1) / X", others=PAIR),
    "whole": Case("X % 0.7 + X // 0.3 * X", others=PAIR),
    "angle": Case("atan2(X, A) + atan2(A, X)", others=PAIR),
    "larger": Case("max(X, A) * min(X, 2 * A)", others=PAIR),
    "choice": Case("log(X) if X > 0 else sqrt(-X) + A", others=PAIR),
    "dropout": Case("dropout(X, 0.5) * X", others=PAIR),
    "sum": Case("X[i, j'] * X[i, j'] * A[j']", by="i, j", others=", A[j]"),
    "masked": Case("sum[j where X[i, j] > 0](log(X[i, j]))", by="i, j"),
    "mean": Case("mean[j where X > A](X^2) * mean[j](X)", by="i, j", others=", A[j]"),
    "max": Case("max[j](X * A) + min[j where A > 0](X^2)", by="i, j", others=", A[j]"),
    "prod": Case("prod[j](X) + prod[j where A > 0](X * A)", by="i, j", others=", A[j]"),
    "logsumexp": Case("logsumexp[j](X * A) * X[i, 0 else 0]", by="i, j", others=", A[j]"),
    "norm": Case("norm[j](X) * norm[j where A > 0](X)", by="i, j", others=", A[j]"),
    "var": Case("var[j](X) * std[j](X * A)", by="i, j", others=", A[j]"),
    "argmax": Case("X[i, argmax[j](X)] * count[j where X > 0]", by="i, j", head="dim j = 3"),
    "softmax": Case("softmax[j where A > -0.3](X)", out="i, j", by="i, j", others=", A[j]"),
    "log_softmax": Case("log_softmax[i, j](X * X)", out="i, j", by="i, j"),
    "cumsum": Case("cumsum[j where A > 0](X) * X", out="i, j", by="i, j", others=", A[j]"),
    "cumprod": Case("cumprod[j](X)", out="i, j", by="i, j"),
    "shift": Case("X[i - 1 else 2] * X[wrap(i + 2)] * X[clamp(2 * i)] * X[reflect(i - 1)]"),
    "diagonal": Case("X[i, i] * X[wrap(2 * i), 0 else 1]", by="i, i'"),
    "gather": Case("X[k[i]] * X[k[i]] * X", others=", k[i]: int"),
    "split": Case(
        "X[i, (h c)] * X[i, (h c)] * A[h]",
        out="i, c",
        by="i, (h c)",
        others=", A[h]",
        head="dim h = 2",
    ),
    "at": Case("at[i = wrap(i + 1)](X^2 * A)", others=PAIR),
    "fft": Case("fft[i -> m](X)", out="m", head="dim m = 3", complex_out=True),
    "spectrum": Case(
        'irfft[m -> n](rfft[i -> m](X^2, norm = "ortho") * complex(1, 2))',
        out="n",
        head="dim m = 3, n = 6",
    ),
    "concat": Case("concat[i, i -> n](X^2, X * A)", out="n", head="dim i = 3, n = 6", others=PAIR),
    **{
        name: Case(f"{name}[i, i'](X)", out="i, i'", by="i, i'", head=SQUARE, spd=True)
        for name in ("inv", "sqrtm", "expm", "logm", "cholesky")
    },
    "solve": Case(
        "solve[i, i'](X, A + X[i, i])", out="i'", by="i, i'", head=SQUARE, others=PAIR, spd=True
    ),
    "eigvals": Case(
        "eigvals[i, i' -> k](X)", out="k", by="i, i'", head="dim i = 4, k = 4", spd=True
    ),
    "eigvecs": Case(
        "eigvecs[i, i' -> k](X)", out="i, k", by="i, i'", head="dim i = 4, k = 4", spd=True
    ),
    "harmonics": Case(
        "spherical_harmonics[x -> l](X)", out="i, l", by="i, x", head="dim x = 3, l = irreps(3)"
    ),
    **{
        f"complex {name}": Case(f"real({name}(X))", kind=": complex")
        for name in ("exp", "sin", "tanh", "conj", "abs")
    },
    "complex parts": Case(
        "real(X) * imag(X) + imag(X * X * complex(1, A)) ", kind=": complex", others=PAIR
    ),
    "complex root": Case("abs(sqrt(X)) + real(log(X)) + real(X^3 / X)", kind=": complex"),
    "complex norm": Case("norm[j](X) + real(prod[j](X))", by="i, j", kind=": complex"),
    "complex fft": Case(
        "fft[i -> m](X * X)", out="m", head="dim m = 3", kind=": complex", complex_out=True
    ),
    "complex matrix": Case(
        "real(eigvecs[i, i' -> k](X)) + eigvals[i, i' -> k](X)",
        out="i, k",
        by="i, i'",
        head="dim i = 3, k = 3",
        kind=": complex",
        spd=True,
    ),
}
SMOOTHLESS = {"frac", "floor", "ceil", "sign"}  # torch has no second derivative to compare with


def draw(program: Program, case: Case, rng: np.random.Generator, most: int) -> list[Any]:
    """Numbers for the inputs; a matrix that functions of matrices take."""
    sizes: dict[str, int] = {}
    out = []
    for given in program.inputs:
        shape = []
        for axis in given.axes:
            size = 1
            for index in axis.indices:
                static = index.dim.size
                if not isinstance(static, int):
                    static = sizes.setdefault(index.dim.name, int(rng.integers(1, most)))
                size *= static
            shape.append(size)
        if given.name == "k":
            out.append(rng.integers(0, shape[0], shape))
            continue
        value = rng.standard_normal(shape)
        if given.dtype.name == "COMPLEX":
            value = value + 1j * rng.standard_normal(shape)
        if given.name == "X" and case.spd:
            value = value @ value.conj().T / 2 + np.diag(np.arange(1.0, len(value) + 1))
        out.append(value)
    return out


def by_torch(case: Case, args: list[Any]) -> tuple[Any, Any]:
    """G and H by torch, through the compiled E."""
    names = [given.name for given in loaded(case.text).D().double()._program.inputs]
    tensors = {name: torch.as_tensor(arg) for name, arg in zip(names, args, strict=True)}
    x = tensors["X"].requires_grad_()
    layer = loaded(case.text).E().double().eval()
    y = layer(*(t for name, t in tensors.items() if name not in ("U", "V")))
    y = y.real if case.complex_out else y
    if not y.requires_grad:
        return np.zeros(x.shape), np.zeros(x.shape)
    first = torch.autograd.grad(
        (y * tensors["V"]).sum(), x, create_graph=True, materialize_grads=True
    )[0]
    inner = (tensors["U"].conj() * first).real.sum() if case.kind else (tensors["U"] * first).sum()
    if not inner.requires_grad:
        return first.detach().numpy(force=True), np.zeros(first.shape)
    second = torch.autograd.grad(inner, x, materialize_grads=True)[0]
    return first.detach().numpy(force=True), second.numpy(force=True)


@pytest.mark.parametrize("name", CASES)
def test_the_meaning_is_the_derivative(name: str) -> None:
    case = CASES[name]
    layer = loaded(case.text).D().double().eval()
    for seed in range(3):
        args = draw(layer._program, case, np.random.default_rng(seed), (2, 5, 8)[seed])
        first, second = by_torch(case, args)
        got = reference(layer)(*args)
        scale = max(1.0, float(np.abs(first).max(initial=0)))
        np.testing.assert_allclose(got[0], first, rtol=1e-8, atol=1e-9 * scale)
        if name not in SMOOTHLESS:
            scale = max(1.0, float(np.abs(second).max(initial=0)))
            np.testing.assert_allclose(got[1], second, rtol=1e-7, atol=1e-8 * scale)


@pytest.mark.parametrize("name", CASES)
def test_what_is_compiled_has_that_meaning(name: str) -> None:
    case = CASES[name]
    layer = loaded(case.text).D().double().eval()
    for seed in range(3):
        args = draw(layer._program, case, np.random.default_rng(seed), (2, 5, 8)[seed])
        want = reference(layer)(*args)
        with torch.no_grad():  # it is an equation, not autograd
            got = layer(*map(torch.as_tensor, args))
        for g, w in zip(got, want, strict=True):
            scale = max(1.0, float(np.abs(w).max(initial=0)))
            np.testing.assert_allclose(g.resolve_conj().numpy(), w, rtol=1e-8, atol=1e-9 * scale)
