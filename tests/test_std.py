"""The standard library: every def and layer checks, and says what torch says where torch has it."""

from __future__ import annotations

import itertools
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tensorlang import reference
from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.spec import spec_of_text
from tensorlang.source import Source
from tensorlang.syntax import ast
from tensorlang.syntax.parse import parse

FILES = sorted(f.name for f in files("tensorlang.std").iterdir() if f.name.endswith(".tl"))
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((2, 4, 6)) * 2
G, B = RNG.standard_normal((2, 6))


def _items() -> dict[str, ast.Layer | ast.Def]:
    out: dict[str, ast.Layer | ast.Def] = {}
    for name in FILES:
        text = files("tensorlang.std").joinpath(name).read_text()
        for item in parse(Source(name, text)).items:
            if isinstance(item, ast.Layer | ast.Def):
                assert item.name not in out, f"{item.name} twice"
                out[item.name] = item
    return out


def run(use: str, inputs: str, equation: str, *arrays: Any) -> Any:
    source = f"use std: {use}\nlayer L():\n    input {inputs}\n    output {equation}\n"
    (value,) = reference.evaluate(check_layer(spec_of_text(source), "L", {}), arrays, {})
    return value


def pointwise(name: str, more: str = "") -> Any:
    return run(name, "X[n, d]", f"Y[n, d] = {name}(X{more})", X)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_library_checks(name: str) -> None:
    text = files("tensorlang.std").joinpath(name).read_text()
    used = {"layers.tl": "use std: rmsnorm, layernorm\n"}.get(name, "")
    found = check_spec(spec_of_text(used + text, name))
    assert [d for d in found if d.severity == "error"] == []


@pytest.mark.parametrize("name", FILES)
def test_every_def_has_a_comment(name: str) -> None:
    lines = files("tensorlang.std").joinpath(name).read_text().splitlines()
    assert lines[0].startswith(f"# {name}: ")
    for before, line in itertools.pairwise(lines):
        assert not line.startswith("def ") or before.startswith(("#", "def ")), line


def test_norms() -> None:
    x, g, b = map(torch.tensor, (X, G, B))
    inputs = "X[n, d], g[d], b[d]"
    got = run("rmsnorm", inputs, "Y[n, d] = rmsnorm[d](X, g) + 0 * b", X, G, B)
    np.testing.assert_allclose(got, functional.rms_norm(x, (6,), g, 1e-6))
    got = run("layernorm", inputs, "Y[n, d] = layernorm[d](X, g, b)", X, G, B)
    np.testing.assert_allclose(got, functional.layer_norm(x, (6,), g, b, 1e-5))
    got = run("standardise", "X[n, d]", "Y[n, d] = standardise[d](X)", X)
    np.testing.assert_allclose(got, functional.layer_norm(x, (6,)))
    got = run("unit", "X[n, d]", "Y[n, d] = unit[d](X)", np.vstack([X[:3], 0 * X[:1]]))
    np.testing.assert_allclose(got[:3], functional.normalize(x[:3]))
    assert (got[3] == 0).all()


@pytest.mark.parametrize(
    ("name", "more", "torch_function"),
    [
        ("gelu_tanh", "", lambda x: functional.gelu(x, approximate="tanh")),
        ("log_sigmoid", "", functional.logsigmoid),
        ("softplus_sharp", ", 3", lambda x: functional.softplus(x, 3.0, 100.0)),
        ("leaky_relu", "", functional.leaky_relu),
        ("elu", ", 0.5", lambda x: functional.elu(x, 0.5)),
        ("selu", "", functional.selu),
        ("mish", "", functional.mish),
        ("relu_squared", "", lambda x: functional.relu(x) ** 2),
        ("softsign", "", functional.softsign),
        ("clip", ", -1, 0.5", lambda x: x.clamp(-1, 0.5)),
        ("gelu_sigmoid", "", lambda x: x * torch.sigmoid(1.702 * x)),
    ],
)
def test_activations(name: str, more: str, torch_function: Any) -> None:
    want = torch_function(torch.tensor(X))
    np.testing.assert_allclose(pointwise(name, more), want, rtol=1e-9, atol=1e-12)


def test_gates() -> None:
    x, y = map(torch.tensor, (X, Y))
    for name, activation in (
        ("glu", torch.sigmoid),
        ("swiglu", functional.silu),
        ("geglu", functional.gelu),
        ("reglu", torch.relu),
    ):
        got = run(name, "X[n, d], Z[n, d]", f"Y[n, d] = {name}(X, Z)", X, Y)
        np.testing.assert_allclose(got, activation(x) * y)


def test_geometry() -> None:
    inputs = "X[n, d], Z[m, d]"
    got = run("dot", inputs, "Y[n, m] = dot[d](X, Z)", X, Y)
    np.testing.assert_allclose(got, X @ Y.T)
    got = run("distance2", inputs, "Y[n, m] = distance2[d](X, Z)", X, Y)
    np.testing.assert_allclose(got, torch.cdist(torch.tensor(X), torch.tensor(Y)) ** 2)
    got = run("cosine", inputs, "Y[n, m] = cosine[d](X, Z)", X, Y)
    want = functional.cosine_similarity(torch.tensor(X)[:, None], torch.tensor(Y)[None], dim=2)
    np.testing.assert_allclose(got, want)


def test_lerp_is_linear_between_cells_and_clamped_at_the_ends() -> None:
    at = np.array([-3.0, -0.5, 0.0, 0.25, 2.5, 3.0, 3.7, 9.0])
    got = run("lerp", "X[x, d], at_[k]", "Y[k, d] = lerp[x](X, at_)", X, at)
    want = np.stack([np.interp(at, np.arange(4), column) for column in X.T], 1)
    np.testing.assert_allclose(got, want)


def test_shifts() -> None:
    for k in (-5, -1, 0, 2, 4):
        got = run("shift", "X[n, d]", f"Y[n, d] = shift[n](X, {k})", X)
        want = np.zeros_like(X)
        for n in range(4):
            if 0 <= n - k < 4:
                want[n] = X[n - k]
        np.testing.assert_array_equal(got, want)
        got = run("roll", "X[n, d]", f"Y[n, d] = roll[n](X, {k})", X)
        np.testing.assert_array_equal(got, np.roll(X, k, axis=0))
    got = run("reverse", "X[n, d]", "Y[n, d] = reverse[d](X)", X)
    np.testing.assert_array_equal(got, X[:, ::-1])


def test_rotary_turns_pairs() -> None:
    got = run("rotary", "X[n, d]", "Y[n, d] = rotary[n, d](X)", X)
    pairs = X[:, :3] + 1j * X[:, 3:]
    turned = pairs * np.exp(1j * np.arange(4)[:, None] * 10000.0 ** (-2 * np.arange(3) / 6))
    np.testing.assert_allclose(got, np.hstack([turned.real, turned.imag]))


def test_losses() -> None:
    x, y = map(torch.tensor, (X, Y))
    inputs = "X[n, d], Z[n, d]"
    got = run("squared_error", inputs, "Y[n] = squared_error[d](X, Z)", X, Y)
    np.testing.assert_allclose(got, functional.mse_loss(x, y, reduction="none").mean(1))
    got = run("huber", inputs, "Y[n] = huber[d](X, Z)", X, Y)
    np.testing.assert_allclose(got, functional.huber_loss(x, y, reduction="none").mean(1))
    label = np.array([0, 5, 2, 2])
    got = run("cross_entropy", "X[n, k], y[n]: int", "Y[n] = cross_entropy[k](X, y)", X, label)
    want = functional.cross_entropy(x, torch.tensor(label), reduction="none")
    np.testing.assert_allclose(got, want)
    got = run(
        "binary_cross_entropy",
        "X[n, d], y[n, d]: bool",
        "Y[n, d] = binary_cross_entropy(X, y)",
        X,
        Y > 0,
    )
    want = functional.binary_cross_entropy_with_logits(x, (y > 0).double(), reduction="none")
    np.testing.assert_allclose(got, want)
    got = run("entropy", "X[n, k]", "Y[n] = entropy[k](X)", X)
    want = -(torch.softmax(x, 1) * torch.log_softmax(x, 1)).sum(1)
    np.testing.assert_allclose(got, want)


def test_layers() -> None:
    source = """use std: Linear, Attention, MLP, GatedMLP, RMSNorm, LayerNorm
layer L(d = 6, f = 5):
    input X[n, d]
    sub a = Linear(d, d)
    sub b = Attention(d, 2, causal = true)
    sub c = MLP(d, f)
    sub e = GatedMLP(d, f)
    sub p = RMSNorm(d)
    sub q = LayerNorm(d)
    A[n, d] = b(p(a[i = d, o = d](X)))
    output Y[n, d] = e(q(c(A)))
"""
    program = check_layer(spec_of_text(source), "L", {})
    params = {
        f"{sub.name}.{param.name}": RNG.standard_normal([int(axis.size) for axis in param.axes])
        for sub in program.subs
        for param in sub.program.params
    }
    (got,) = reference.evaluate(program, [X], params)
    moved = X.copy()
    moved[2:] += 1
    (other,) = reference.evaluate(program, [moved], params)
    assert np.isfinite(got).all() and np.array_equal(got[:2], other[:2])
    assert not np.allclose(got[2:], other[2:])


def test_names_are_unique() -> None:
    assert _items()
