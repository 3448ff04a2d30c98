"""Emitted Triton modules as parts of PyTorch: in the interpreter, traced as for CUDA, moved."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

import tensorlang as tl
from tests.example_cases import CASES, EXAMPLES, SMALL
from tests.interpreted_citizens import CHECKS
from tests.interpreting import as_tuple, in_a_process, names_of

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    return in_a_process("tests.interpreted_citizens")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)


# --- as torch.compile sees it on a GPU -----------------------------------------------------------
class _Absent:
    """A driver of a GPU that is not there."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0


@pytest.fixture
def absent_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(triton.runtime.driver, "_active", _Absent())


class _Dry(torch.fx.Interpreter):
    """Runs a traced graph without its kernels: what they would fill stays as it is."""

    launched: list[str]

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if "triton_kernel_wrapper" not in str(target):
            return super().call_function(target, args, kwargs)
        self.launched.append(str(target))
        return {name: kwargs["kwargs"][name].clone() for name in kwargs["tensors_to_clone"]}


@pytest.mark.parametrize(
    "layer", ["AxialBlock", "CrossAttention", "WindowAttention", "LayerNorm", "GatedMLP"]
)
def test_kernels_are_launched_from_traced_graphs(layer: str, absent_gpu: None) -> None:
    """Forward and backward, sizes free: a second call at other sizes traces nothing anew."""
    case = next(case for case in CASES if case.layer == layer)
    module = getattr(tl.load(str(case.path), target="triton"), layer)(**case.hypers)
    graphs, launched = [], []

    def compiler(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)

        def run(*given: Any) -> Any:
            dry = _Dry(graph)
            dry.launched = launched
            return dry.run(*given)

        return run

    names = names_of(module)
    kernels_run = names["_kernels_run"]
    names["_kernels_run"] = lambda x: True
    torch._dynamo.reset()
    try:
        compiled = torch.compile(
            module, backend=aot_autograd(fw_compiler=compiler), fullgraph=True, dynamic=True
        )
        for step in (0, 1):
            sizes = {name: 40 + k + 11 * step for k, name in enumerate(sorted(SMALL))}
            given = [x.float() if x.is_floating_point() else x for x in case.draw(sizes)]
            given = [x.requires_grad_(x.is_floating_point()) for x in given]
            count = len(launched)
            (y,) = as_tuple(compiled(*given))
            forward = len(launched) - count
            y.sum().backward()
            assert 0 < forward < len(launched) - count, "a pass without kernels"
    finally:
        names["_kernels_run"] = kernels_run
    assert len(graphs) == 2  # forward and backward


# --- moved ---------------------------------------------------------------------------------------
READER = """
import pickle, sys, warnings
sys.modules["triton"] = None  # as if it were not installed
import torch
warnings.simplefilter("ignore")
folder, source = sys.argv[1:]
x = torch.load(folder + "/x.pt")
layers = [torch.load(folder + "/layer.pt", weights_only=False)]
with open(folder + "/layer.pickle", "rb") as file:
    layers.append(pickle.load(file))
names = {"__name__": "emitted"}
with open(source) as file:
    exec(compile(file.read(), source, "exec"), names)
layers.append(names["LAYERS"]["AxialBlock"]().double())
layers[-1].load_state_dict(torch.load(folder + "/state.pt"))
for layer in layers:
    torch.testing.assert_close(layer(x), torch.load(folder + "/y.pt"))
"""


def test_what_is_saved_loads_where_there_is_no_triton(tmp_path: Path) -> None:
    path = str(EXAMPLES / "axial.tl")
    bind = {"d": 6, "heads": 2}
    layer = tl.load(path, target="triton").AxialBlock(**bind).double()
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    with pytest.warns(UserWarning, match="plain torch"):
        y = layer(x)
    for name, value in (("x", x), ("y", y), ("layer", layer), ("state", layer.state_dict())):
        torch.save(value, tmp_path / f"{name}.pt")
    (tmp_path / "layer.pickle").write_bytes(pickle.dumps(layer))
    tl.compile(path, target="triton", bind={"AxialBlock": bind}).write(tmp_path / "axial.py")
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path), str(tmp_path / "axial.py")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_compiled_ahead_of_time_for_a_cpu(tmp_path: Path) -> None:
    module = tl.load(str(EXAMPLES / "norms.tl"), target="triton").LayerNorm(d=6)
    x = torch.randn(3, 5, 6)
    free = torch.export.Dim.AUTO
    program = torch.export.export(module, (x,), dynamic_shapes=({0: free, 1: free},))
    path = torch._inductor.aoti_compile_and_package(
        program, package_path=str(tmp_path / "norm.pt2")
    )
    run = torch._inductor.aoti_load_package(path)
    for given in (x, torch.randn(4, 7, 6)):
        made: Tensor = run(given)
        torch.testing.assert_close(made, module(given))
