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


# --- what depends on what -------------------------------------------------------------------------
NAMES = """
layer L():
    input X[n], Z[n]
    A[n] = 2 * X
    B[n] = 2 * X
    C[n] = A * B
    T[n = n'] += A[n'] * X[n']
    S[n] = exp(A)
    output ByA[n] = grad[A](C)
    output ByB[n] = grad[B](C + A)
    output ByX[n] = grad[X](C)
    output Self[n] = grad[A](A)
    output Through[n] = grad[A](T * S)
    output Mixed[n] = grad[X](sum[n](grad[A](C) * Z))
    output Bound[n] = grad[S](sum[n](grad[A](S) * Z))
    output Inner[n] = grad[A](sum[n](grad[X](S) * Z) + A)
"""


@pytest.mark.parametrize("n", [1, 4])
def test_what_depends_on_a_tensor_depends_on_its_name(n: int) -> None:
    layer = loaded(NAMES).L().double()
    x, z = np.random.default_rng(0).standard_normal((2, n))
    got = [reference(layer)(x, z), [y.numpy() for y in layer(*map(torch.as_tensor, (x, z)))]]
    e = np.exp(2 * x)
    want = [2 * x, 2 * x, 8 * x, np.ones(n), x * e + 2 * x * x * e, 2 * z, np.zeros(n), np.ones(n)]
    for values in got:
        for value, expected in zip(values, want, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-12)


NET = """
layer Linear(i, o):
    input  X[..., i]
    param  W[o, i] ~ kaiming as lowrank(rank = 2)
    param  b[o] ~ zeros
    const  shift[o] = [0.5] if false else 0
    output Y[..., o] = W[o, i] * X[..., i] + b

layer Block(d):
    input  X[..., d]
    sub    f = Linear(d, d)
    output Y[..., d] = X + tanh(f[i = d', o = d](X[..., d']))

layer Pair(w):
    input  X[m, w], Z[w]
    param  s[w] ~ ones
    output P[m] = sum[w](s * X^2 * Z)
    output Q[w] = mean[m](X)

layer Net(d, w, depth):
    input  R[..., d]
    sub    first = Linear(d, w)
    sub    blocks[depth] = Block(w)
    param  v[w] ~ normal
    H[..., w] = blocks[d = w](tanh(first[i = d, o = w](R)))
    output E[...] = v[w] * H[..., w]

layer Force(depth = 2):
    input  R[b, n, x], V[b, n, x], Z[x]
    dim    x = 3
    sub    net = Net(3, 5, depth)
    sub    pair = Pair(3)
    E[b, n] = net[d = x](R)
    P[n], Q[x] = pair[m = n, w = x](at[b = 0 else 0](R), Z)
    G[b, n, x] = grad[R](E) + grad[R](P) * Q
    output F[b, n, x] = -G
    output H[b, n, x] = grad[R](G * V)
    output U[b, n] = E + net[d = x](2 * R)

layer Energy(depth = 2):
    input  R[b, n, x], V[b, n, x], Z[x]
    dim    x = 3
    sub    net = Net(3, 5, depth)
    sub    pair = Pair(3)
    output E[b, n] = net[d = x](R)
    P[n], Q[x] = pair[m = n, w = x](at[b = 0 else 0](R), Z)
    output P2[n] = P
    output Q2[x] = Q
    output U[b, n] = E + net[d = x](2 * R)
"""
NET = NET.replace("    const  shift[o] = [0.5] if false else 0\n", "")


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_derivatives_pass_through_sub_layers(depth: int) -> None:
    spec = loaded(NET)
    torch.manual_seed(0)
    force, energy = spec.Force(depth=depth).double(), spec.Energy(depth=depth).double()
    assert dict(force.state_dict()).keys() == dict(energy.state_dict()).keys()
    force.load_state_dict(energy.state_dict())
    for b, n in ((2, 3), (1, 1), (0, 2), (3, 0)):
        r, v = torch.randn(2, b, n, 3, dtype=torch.float64)
        z = torch.randn(3, dtype=torch.float64)
        want = reference(force)(r, v, z)
        got = force(r, v, z)
        r = r.requires_grad_()
        e, p, q, u = energy(r, v, z)
        g = torch.autograd.grad(e.sum(), r, create_graph=True)[0]
        if b:
            g = g + torch.autograd.grad(p.sum(), r, create_graph=True)[0] * q
        h = torch.autograd.grad((g * v).sum(), r)[0]
        for k, value in enumerate((-g, h, u)):
            np.testing.assert_allclose(got[k].detach(), value.detach(), rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(want[k], value.detach(), rtol=1e-9, atol=1e-11)


def test_a_loss_on_forces_trains() -> None:
    """One outer backward reaches the params of the sub-layer that the force comes from."""
    spec = loaded(NET)
    torch.manual_seed(0)
    force, energy = spec.Force().double(), spec.Energy().double()
    force.load_state_dict(energy.state_dict())
    r, v = torch.randn(2, 2, 3, 3, dtype=torch.float64)
    z = torch.randn(3, dtype=torch.float64)
    (force(r, v, z)[0] ** 2).sum().backward()
    r = r.requires_grad_()
    e, p, q, _ = energy(r, v, z)
    g = torch.autograd.grad(e.sum(), r, create_graph=True)[0]
    g = g + torch.autograd.grad(p.sum(), r, create_graph=True)[0] * q
    (g**2).sum().backward()
    for (name, mine), (_, theirs) in zip(
        force.named_parameters(), energy.named_parameters(), strict=True
    ):
        if theirs.grad is None or not theirs.grad.any():
            assert mine.grad is None or not mine.grad.any(), name
        else:
            torch.testing.assert_close(mine.grad, theirs.grad, msg=name)


DROPS = """
layer Inner(d):
    input  X[..., d]
    param  W[d] ~ ones
    output Y[..., d] = dropout(X * W, 0.5)

layer L(d = 40):
    input  X[n, d]
    sub    f[2] = Inner(d)
    sub    g = Inner(d)
    A[n, d] = f(X)
    output B[n, d] = g(A) * dropout(X, 0.25)
    output G[n, d] = grad[A](B)
    output H[n, d] = grad[X](B)
    output M[n, d] = A
"""


def test_a_value_and_its_derivatives_are_drawn_once() -> None:
    layer = loaded(DROPS).L().double().train()
    x = torch.rand(50, 40, dtype=torch.float64) + 0.5
    b, g, h, a = layer(x)
    kept = a != 0
    assert 0.2 < kept.double().mean() < 0.3 and set(torch.unique(a / x).tolist()) == {0.0, 4.0}
    torch.testing.assert_close(b, g * a)  # B is linear in A
    torch.testing.assert_close(h * x, 2 * b)  # and of degree 2 in X


def test_no_call_is_written_out_without_need() -> None:
    text = """
layer F():
    input X[..., d]
    output Y[..., d] = X^2

layer L():
    input X[n, d]
    sub f = F()
    E[n, d] = f(X)
    output G[n, d] = f(grad[X](X^3))
    output K[n, d] = grad[E](E^2)
"""
    layer = loaded(text).L().double()
    x = torch.randn(3, 2, dtype=torch.float64)
    calls: list[Any] = []
    layer.f.register_forward_hook(lambda *given: calls.append(given))
    g, k = layer(x)
    assert len(calls) == 2
    torch.testing.assert_close(g, 9 * x**4)
    torch.testing.assert_close(k, 2 * x**2)
