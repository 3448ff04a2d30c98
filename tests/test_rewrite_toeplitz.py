"""Sums along a difference of indices: products of spectra, windows of a vector, or left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tensorlang as tl
from tensorlang.ir.nodes import Affine, Transform
from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tests.rewriting import SMALL, layer, operations, rewritten, rules, same_value

TOEPLITZ = """
    dim i = {i}, j = {j}, m = {m}
    input X[b, j], t[m]
    output Y[b, i] = sum[j](X[b, j] * t[i - j + |j| - 1])
"""
CIRCULANT = """
    dim i = {i}
    input X[b, i], t[i]
    output Y[b, i] = sum[i'](X[b, i'] * t[wrap(i - i' + {shift})])
"""
HANKEL = TOEPLITZ.replace("i - j + |j| - 1", "i + j")
TURNED = TOEPLITZ.replace("i - j + |j| - 1", "j - i + |i| - 1")
AGAINST = TOEPLITZ.replace("i - j + |j| - 1", "|m| - 1 - i - j")
CLAMPED = TOEPLITZ.replace("i - j + |j| - 1", "clamp(i - j + 3)")
OTHERWISE = TOEPLITZ.replace("i - j + |j| - 1", "i - j + 2 else 1.5")
LONG = """
    dim d = 2
    input X[b, n, d], w[m, d], g[n]
    output Y[b, n, d] = 3 * sum[n'](X[b, n', d] * w[n - n' else 0, d] * g[n])
    output Z[b, n, d] = sum[m](X[b, n - m else 0, d] * w[m, d])
    output Q[b] = sum[n, m, d](X[b, n + m - 2 else 0, d] * w[m, d] * g[n])
"""
COMPLEX = """
    dim i = {i}, j = {j}, m = {m}
    input X[b, j]: complex, t[m]
    output Y[b, i] = sum[j](X[b, j] * t[i - j + |j| - 1])
"""


def sized(text: str, i: int, j: int) -> str:
    return text.format(i=i, j=j, m=i + j - 1, shift=0)


@pytest.mark.parametrize("without", [(), ("toeplitz",)])
@pytest.mark.parametrize("text", [TOEPLITZ, HANKEL, TURNED, AGAINST, CLAMPED, OTHERWISE])
@pytest.mark.parametrize(("i", "j"), [(700, 800), (900, 901), (5, 3), (1, 4), (4, 1), (1, 1)])
def test_values_are_kept(text: str, i: int, j: int, without: tuple[str, ...]) -> None:
    graph = layer(sized(text, i, j))
    out, applied = rewritten(graph, *without)
    spectra = bool(operations(out, Transform))
    assert spectra == (not without and i > 600)
    assert spectra <= ("toeplitz" in rules(applied))
    same_value(graph, plan(out, Options(without=without)), SMALL)


@pytest.mark.parametrize("without", [(), ("toeplitz",)])
@pytest.mark.parametrize("shift", [0, 5, -2])
@pytest.mark.parametrize("i", [1024, 1021, 6, 1])
def test_circulants_are_as_long_as_they_are(i: int, shift: int, without: tuple[str, ...]) -> None:
    graph = layer(CIRCULANT.format(i=i, shift=shift))
    out, _ = rewritten(graph, *without)
    found = operations(out, Transform)
    assert bool(found) == (not without and i > 1000)
    lengths = {
        node.sizes[-1] for k in out.alive() if isinstance((node := out.node(k)).op, Transform)
    }
    assert 1021 not in lengths and (i != 1024 or lengths <= {1024, 513})
    same_value(graph, plan(out, Options(without=without)), SMALL)


@pytest.mark.parametrize("without", [(), ("toeplitz",)])
def test_convolutions_of_any_length(without: tuple[str, ...]) -> None:
    graph = layer(LONG)
    out, _ = rewritten(graph, *without)
    assert bool(operations(out, Transform)) == (not without)
    for sizes in ({"b": 2, "n": 5, "m": 3}, {"b": 1, "n": 1, "m": 4}, {"b": 2, "n": 6, "m": 13}):
        same_value(graph, plan(out, Options(without=without)), sizes)


def test_complex_numbers_have_whole_spectra() -> None:
    graph = layer(sized(COMPLEX, 700, 800))
    out, applied = rewritten(graph)
    assert "toeplitz" in rules(applied)
    assert [op.op.value for op in operations(out, Transform)] == ["fft", "fft", "ifft"]
    same_value(graph, plan(out, Options()), SMALL)


@pytest.mark.parametrize(
    "body",
    [
        # what is not finite would reach cells that do not read it
        "input X[b, i], t[i]\noutput Y[b, i] = sum[i'](log(X[b, i'] ^ 2) * t[i - i' else 0])",
        # channels: a convolution
        "input X[b, i, n], t[i, n]\noutput Y[b, i] = sum[i', n](X[b, i', n] * t[i - i' else 0, n])",
        # the index of the difference stands elsewhere too
        "input X[b, i, i'], t[i]\noutput Y[b, i] = sum[i'](X[b, i, i'] * t[i - i' else 0])",
        # steps that leave cells out
        "input X[b, i], t[i]\noutput Y[b, i] = sum[i'](X[b, i'] * t[2*i - i' else 0])",
        # other semirings
        "input X[b, i], t[i]\noutput Y[b, i] = max[i'](X[b, i'] + t[i - i' else 0])",
    ],
)
def test_what_is_no_difference_is_left(body: str) -> None:
    graph = layer("dim i = 700\n" + body)
    out, _ = rewritten(graph)
    assert not operations(out, Transform)


def test_windows_of_a_clamped_vector() -> None:
    """Relative positions: the vector is read once, the matrix is a view of it."""
    graph = layer(sized(CLAMPED, 20, 30))
    out, applied = rewritten(graph)
    assert "toeplitz" in rules(applied)
    reads = [s for k in out.alive() for r in out.node(k).reads for s in r.subscripts]
    assert all(
        len(s.terms) == 1 or s.boundary.value == "inside" for s in reads if isinstance(s, Affine)
    )


LAYERS = """
layer Toeplitz(o = 300, i = 400):
    input X[..., i]
    param W[o, i] ~ normal(std = 0.05) as toeplitz
    output Y[..., o] = X * W

layer Circulant(n = 600):
    input X[..., n]
    param W[n', n] ~ normal(std = 0.05) as circulant
    output Y[..., n'] = X * W

layer Long():
    input X[b, n, d], w[m, d]
    output Y[b, n, d] = sum[n'](X[b, n', d] * w[n - n' else 0, d])
    output R[b, n, d] = sum[n'](X[b, n', d] * w[wrap(n - n'), d])
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers") / "layers.tl"
    path.write_text(LAYERS)
    return path


@pytest.mark.parametrize("name", ["Toeplitz", "Circulant"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weights_in_every_precision(path: Path, name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    made = getattr(tl.load(path), name)(dtype=torch.float64)
    plain = getattr(tl.load(path, without=("toeplitz",)), name)(dtype=torch.float64)
    plain.load_state_dict(made.state_dict())
    assert "_irfft(" in tl.compile(path).source
    x = torch.randn(3, 2, 400 if name == "Toeplitz" else 600, dtype=torch.float64)
    want = plain(x)
    got = made.to(dtype)(x.to(dtype))
    assert got.dtype is dtype
    error = (got.double() - want).abs().max() / want.abs().max()
    assert error < {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]


@pytest.mark.parametrize("b", [0, 2])
@pytest.mark.parametrize(("n", "m"), [(0, 3), (1, 1), (7, 3), (3, 7), (64, 64)])
def test_any_length_may_be_nothing(path: Path, b: int, n: int, m: int) -> None:
    made = tl.load(path).Long()
    torch.manual_seed(0)
    x = torch.randn(b, n, 2, dtype=torch.float64, requires_grad=True)
    w = torch.randn(m, 2, dtype=torch.float64, requires_grad=True)
    for ours, theirs in zip(made(x, w), tl.reference(made)(x.detach(), w.detach()), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.detach(), theirs, atol=1e-12)
    assert b * n == 0 or torch.autograd.gradcheck(lambda *both: sum(made(*both)), (x, w))
