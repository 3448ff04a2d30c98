"""`~ given as …`: dense values supplied or loaded are decomposed, their ranks by tol."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import tensorlang as tl
from tensorlang.requests import BadRequest
from tensorlang.running import run_layer

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


def loaded(tmp_path, form: str = "tucker", **options):
    (tmp_path / "given.tl").write_text(TEXT.format(form=form))
    return tl.load(tmp_path / "given.tl", **options)


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


UNSET = r"{}: param W is ~ given and has no values yet: supply it by load_state_dict"


@pytest.mark.parametrize("target", ["torch", "triton"])
def test_a_param_that_nobody_supplied_is_an_error_at_the_first_call(target: str, tmp_path) -> None:
    layer = loaded(tmp_path, target=target).ByRank()
    x = torch.ones(2, 12)
    for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.double()):
        with pytest.raises(ValueError, match=UNSET.format("ByRank")):
            twin(x)
    with pytest.raises(ValueError, match=r"param W.o is ~ given and has no values yet"):
        tl.reference(layer)(x)
    layer.float().load_state_dict({"b": torch.zeros(6)}, strict=False)
    with pytest.raises(ValueError, match=UNSET.format("ByRank")):
        layer(x)
    layer.load_state_dict({"W": torch.ones(6, 12), "b": torch.zeros(6)})
    assert torch.allclose(layer(x), torch.full((2, 6), 12.0))
    layer.reset_parameters()
    with pytest.raises(ValueError, match=UNSET.format("ByRank")):
        layer(x)


def test_params_are_supplied_by_any_door(tmp_path) -> None:
    spec = loaded(tmp_path)
    x, twelve = torch.ones(2, 12), torch.full((2, 6), 12.0)
    values = {"W": torch.ones(6, 12), "b": torch.zeros(6)}
    given = spec.ByRank(**values)
    state = given.state_dict()
    filled, assigned, called = spec.ByRank(), spec.ByRank(device="meta"), spec.ByRank()
    with torch.no_grad():
        for name, param in filled.named_parameters():
            param.copy_(state[name])
    assigned.load_state_dict(state, assign=True)
    for layer in (given, filled, assigned):
        assert torch.allclose(layer(x), twelve)
    assert torch.allclose(torch.func.functional_call(called, state, (x,)), twelve)
    stacked = {name: torch.stack([value, value]) for name, value in state.items()}
    both = torch.vmap(lambda state: torch.func.functional_call(called, state, (x,)))(stacked)
    assert torch.allclose(both, twelve.expand(2, 2, 6))
    with pytest.raises(ValueError, match=UNSET.format("ByRank")):
        called(x)
    outer = spec.Outer()
    with pytest.raises(ValueError, match=UNSET.format("ByRank")):
        outer(x)
    outer.load_state_dict({"f.W": torch.ones(12, 12), "f.b": torch.zeros(12)})
    assert torch.allclose(outer(x), torch.full((2, 12), 12.0))


def test_traced_modules_assert_only_what_nobody_has_seen(tmp_path) -> None:
    spec = loaded(tmp_path)
    x, twelve = torch.ones(2, 12), torch.full((2, 6), 12.0)
    values = {"W": torch.ones(6, 12), "b": torch.zeros(6)}
    given, missing, filled = spec.ByRank(**values), spec.ByRank(), spec.ByRank()
    with torch.no_grad():
        for name, param in filled.named_parameters():
            param.copy_(given.state_dict()[name])
    for layer in (given, filled):
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        exported = torch.export.export(layer, (x,))
        assert torch.allclose(compiled(x), twelve)
        assert torch.allclose(exported.module()(x), twelve)
        assert ("isnan" in exported.graph_module.code) == (layer is filled)
    with pytest.raises(RuntimeError, match=UNSET.format("ByRank")):
        torch.compile(missing, fullgraph=True, backend="aot_eager")(x)
    with pytest.raises(RuntimeError, match=UNSET.format("ByRank")):
        torch.export.export(missing, (x,)).module()(x)


def test_run_reads_params_from_files(tmp_path) -> None:
    path = tmp_path / "plain.tl"
    path.write_text(
        "layer L(d = 3):\n    input X[n, d]\n    param W[d] ~ given()\n    output Y[n, d] = X * W\n"
        "layer M(d = 3):\n    input X[n, d]\n    sub f = L(d)\n    output Y[n, d] = f(X)\n"
    )
    np.save(tmp_path / "W.npy", np.zeros(3))
    out = run_layer(str(path), "L", {}, [f"W={tmp_path / 'W.npy'}", "X=2,3"])
    assert np.array_equal(out["Y"], np.zeros((2, 3)))
    with pytest.raises(BadRequest, match=r"param W is ~ given: supply it as W=FILE.npy"):
        run_layer(str(path), "L", {}, ["X=2,3"])
    with pytest.raises(BadRequest, match=r"param f.W is ~ given: supply it as f.W=FILE.npy"):
        run_layer(str(path), "M", {}, ["X=2,3"])


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
