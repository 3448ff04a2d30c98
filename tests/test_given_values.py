"""`~ given as …`: dense values supplied or loaded are decomposed, their ranks by tol."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import tensorlang as tl

TEXT = """
layer ByTol(d = 12, o = 6, tol = 0.3):
    input X[n, d]
    param W[o, d] ~ given as {form}(tol = tol)
    param b[o] ~ given
    output Y[n, o] = X * W + b

layer ByRank(d = 12, o = 6):
    input X[n, d]
    param W[o, d] ~ given as lowrank(rank = 3)
    param b[o] ~ given
    output Y[n, o] = X * W + b

layer Outer(d = 12):
    input X[n, d]
    sub f = ByRank(d, d)
    output Y[n, d] = f[o = d](X)
"""


def loaded(tmp_path, form: str = "tucker"):
    (tmp_path / "given.tl").write_text(TEXT.format(form=form))
    return tl.load(tmp_path / "given.tl")


def smooth(o: int, d: int) -> torch.Tensor:
    return 1 / (1 + torch.arange(o)[:, None] + torch.arange(d, dtype=torch.float64))


@pytest.mark.parametrize("form", ["tucker", "lowrank", "cp", "tt", "tr"])
@pytest.mark.parametrize("tol", [0.3, 1e-2, 1e-4])
def test_ranks_by_tol(form: str, tol: float, tmp_path) -> None:
    weight, bias = smooth(6, 12), torch.randn(6, dtype=torch.float64)
    layer = loaded(tmp_path, form).ByTol(W=weight, b=bias, tol=tol, dtype=torch.float64)
    fit = layer.factorisations["W"]
    assert fit.factorisation == form and fit.error <= tol and max(fit.ranks) < 8
    x = torch.eye(12, dtype=torch.float64)
    built = (layer(x).detach() - bias).T
    assert (built - weight).norm() / weight.norm() == pytest.approx(fit.error, abs=1e-9)
    assert f"error {fit.error:.3g}" in str(fit)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x)) and other.factorisations == layer.factorisations


def test_a_dense_state_dict_is_decomposed_and_factors_are_loaded(tmp_path) -> None:
    spec = loaded(tmp_path)
    dense = {"W": smooth(6, 12), "b": torch.zeros(6)}
    layer = spec.ByRank(dtype=torch.float64)
    layer.load_state_dict(dense)
    assert set(dense) == {"W", "b"}
    fit = layer.factorisations["W"]
    singular = np.linalg.svd(dense["W"].numpy(), compute_uv=False)
    tail = np.linalg.norm(singular[3:]) / np.linalg.norm(singular)
    assert fit.error == pytest.approx(tail, rel=1e-6) and fit.ranks == (3,)
    assert fit.parameters == 3 * (6 + 12) and fit.dense_parameters == 72
    other = spec.ByRank(dtype=torch.float64)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 12, dtype=torch.float64)
    assert torch.equal(other(x), layer(x))
    outer = spec.Outer(dtype=torch.float64)
    outer.load_state_dict({"f.W": smooth(12, 12), "f.b": torch.zeros(12)})
    assert outer.f.factorisations["W"].shape == (12, 12)
    with pytest.raises(RuntimeError, match=r"Missing key.*W\.o"):
        other.load_state_dict({"b": torch.zeros(6)})


def test_mistakes(tmp_path) -> None:
    spec = loaded(tmp_path)
    weight, bias = torch.randn(6, 12), torch.randn(6)
    with pytest.raises(tl.SpecError, match="E0733"):
        spec.ByTol()
    with pytest.raises(ValueError, match=r"param W has shape \(6, 12\), given \(3, 12\)"):
        spec.ByTol(W=weight[:3], b=bias)
    with pytest.raises(ValueError, match=r"param b has shape \(6,\), given \(2,\)"):
        spec.ByRank(W=weight, b=bias[:2])
    with pytest.raises(TypeError, match="not all finite"):
        spec.ByRank(W=weight / 0, b=bias)
    with pytest.raises(TypeError, match="no hyperparameter e"):
        spec.ByRank(W=weight, b=bias, e=1)
