"""Windows over axes of few cells or none, looking ahead and back past the ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tensorlang as tl

SHIFTS = ["t + k", "t + k - 1", "t - k", "t - 2 * k", "t + k - 5", "t + k + 1", "t + k + 5"]
WIDE = """
layer Windows(k = 3):
    dim    c = 2, o = 3
    input  X[b, t, c]
    param  W[o, c, k] ~ normal
    param  v[o] ~ normal
    output Y[b, t, o] = X[b, {0} else 0, c] * W[o, c, k] + v[o]
"""
DEEP = """
layer Windows(k = 3):
    dim    c = 2, l = 2
    input  X[b, t, u, c]
    param  W[c, k, l] ~ normal
    output Y[b, t, u, c] = X[b, {0} else 0, u + l else 0, c] * W[c, k, l]
"""


def _windows(folder: Path, text: str) -> torch.nn.Module:
    path = folder / "windows.tl"
    path.write_text(text)
    made: torch.nn.Module = tl.load(path).Windows().double()
    return made


def _agrees(layer: torch.nn.Module, *shape: int) -> None:
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    expected = tl.reference(layer)(x.detach().numpy())
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-12)
    y.sum().backward()
    assert x.grad is not None and layer.W.grad is not None


@pytest.mark.parametrize("shift", SHIFTS)
def test_short_axes(shift: str, tmp_path: Path) -> None:
    layer = _windows(tmp_path, WIDE.format(shift))
    for t in (0, 1, 2, 3, 7):
        _agrees(layer, 2, t, 2)


@pytest.mark.parametrize("shift", SHIFTS)
def test_short_axes_of_two(shift: str, tmp_path: Path) -> None:
    layer = _windows(tmp_path, DEEP.format(shift))
    for t, u in ((0, 0), (0, 3), (3, 0), (1, 1), (2, 5)):
        _agrees(layer, 2, t, u, 2)


def test_an_empty_axis_costs_no_guard(tmp_path: Path) -> None:
    layer = _windows(tmp_path, WIDE.format("t + k - 1"))
    torch._dynamo.reset()
    frames = []

    def count(module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        frames.append(inputs)
        return module.forward

    compiled = torch.compile(layer, backend=count, dynamic=True, fullgraph=True)
    for t in (5, 2, 9, 64):
        x = torch.randn(3, t, 2, dtype=torch.float64)
        torch.testing.assert_close(compiled(x), layer(x))
    assert len(frames) == 1
