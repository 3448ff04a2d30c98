"""Kernels in Triton's interpreter (tests/interpreted.py, a process of its own), modules without."""

from __future__ import annotations

import builtins
import runpy
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

import tensorlang as tl
from tests.example_cases import CASES, EXAMPLES, SMALL
from tests.interpreted import CHECKS
from tests.interpreting import in_a_process


@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    """What every check said."""
    return in_a_process("tests.interpreted")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)


def _norm() -> str:
    return tl.compile(str(EXAMPLES / "norms.tl"), target="triton", bind={"d": 5}).source


def test_on_a_cpu_a_module_says_once_that_torch_does_the_work(tmp_path: Path) -> None:
    path = tmp_path / "norms_triton.py"
    path.write_text(_norm())
    layer = runpy.run_path(str(path))["LAYERS"]["RMSNorm"]()
    x = torch.randn(2, 3, 5)
    with pytest.warns(UserWarning, match="run in plain torch"):
        y = layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(layer(x), y)


def test_a_module_runs_where_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "triton":
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    source = _norm()
    monkeypatch.setattr(builtins, "__import__", without)
    names: dict[str, object] = {"__name__": "norms"}
    exec(compile(source, "norms_triton.py", "exec"), names)
    layer = names["LAYERS"]["LayerNorm"]()  # type: ignore[index]
    monkeypatch.undo()
    x = torch.randn(2, 3, 5)
    with pytest.warns(UserWarning, match="not installed"):
        torch.testing.assert_close(layer(x), torch.nn.functional.layer_norm(x, (5,)))


@pytest.mark.parametrize(
    "layer", ["CrossAttention", "AxialBlock", "LayerNorm", "KernelDensity", "CGConvolution"]
)
def test_on_a_gpu_operators_are_traced(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake CUDA tensors go through the triton_ops, launch arguments included."""
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    case = next(case for case in CASES if case.layer == layer)
    module = getattr(tl.load(str(case.path), target="triton"), layer)(**case.hypers)
    given = case.draw(SMALL)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        inputs = [
            torch.empty(
                x.shape, device="cuda", dtype=torch.float32 if x.is_floating_point() else x.dtype
            )
            for x in given
        ]
        params = {k: torch.empty(p.shape, device="cuda") for k, p in module.named_parameters()}
        made = functional_call(module, params, tuple(inputs))
    want = module.double()(*given)
    assert made.shape == want.shape and made.device.type == "cuda"


def test_emission_is_deterministic() -> None:
    assert _norm() == _norm()


def test_reports_say_what_goes_where() -> None:
    for case in CASES:
        if case.layer in ("AxialBlock", "CrossAttention"):
            compiled = tl.compile(
                str(case.path), target="triton", bind={case.layer: dict(case.hypers)}
            )
            kinds = {
                region.backend
                for unit in compiled.units
                for plan in unit.plans.values()
                for region in plan.regions
            }
            assert "K1" in kinds, case.name
