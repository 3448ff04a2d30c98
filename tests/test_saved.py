"""Bytes that stay for backward: as many as autograd holds on to, parameters apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import tensorlang as tl
from tensorlang.draw import draw_inputs, draw_sizes
from tensorlang.module import program_of
from tensorlang.plan.cost import at
from tensorlang.plan.regimes import regime_at
from tests.example_cases import EXAMPLES

EXACT = [
    ("linear", "Linear"),
    ("tensorised", "TTLinear"),
    ("tensorised", "CPLinear"),
    ("tensorised", "TuckerConv2d"),
    ("flora", "FLoRALinear"),
    ("conv2d", "Conv2d"),
    ("mlp", "MLP"),
    ("mlp", "GatedMLP"),
    ("linear_attention", "PrefixSum"),
    ("embedding", "Embedding"),
    ("third_order", "Trilinear"),
]


def held(layer: nn.Module, inputs: list[Tensor]) -> int:
    """Bytes of what autograd saves, each memory once, parameters and buffers apart."""
    own = {t.untyped_storage().data_ptr() for t in (*layer.parameters(), *layer.buffers())}
    seen: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if tensor.is_floating_point() and memory.data_ptr() not in own:
            seen[memory.data_ptr()] = memory.nbytes(), tensor  # alive, so that none is reused
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(*inputs)
    return sum(count for count, _ in seen.values())


def predicted(layer: object, sizes: dict[str, int]) -> float:
    regions = tl.explain(layer).stages.plan.regions
    return sum(at(regime_at(r.regimes, sizes).cost.saved_bytes, sizes) for r in regions)


def drawn(layer: nn.Module, seed: int) -> tuple[dict[str, int], list[Tensor]]:
    program, generator = program_of(layer), np.random.default_rng(seed)
    sizes = draw_sizes(program, generator, 20)
    arrays = [torch.as_tensor(x) for x in draw_inputs(program, sizes, generator)]
    return sizes, [x.float().requires_grad_() if x.is_floating_point() else x for x in arrays]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("example", "name"), EXACT)
def test_it_is_what_autograd_holds(example: str, name: str, seed: int) -> None:
    given = {"W": torch.randn(64, 64), "bias": torch.randn(64)} if example == "flora" else {}
    layer = getattr(tl.load(EXAMPLES / f"{example}.tl"), name)(**given)
    sizes, inputs = drawn(layer, seed)
    assert predicted(layer, sizes) == held(layer, inputs)


def _layer(folder: Path, text: str, **hypers: Any) -> nn.Module:
    path = folder / "layer.tl"
    path.write_text(text)
    made: nn.Module = tl.load(path).L(**hypers)
    return made


def test_a_frozen_weight_needs_no_input_and_an_input_no_frozen_weight(tmp_path: Path) -> None:
    text = """
layer L(i = 5, o = 3):
    input  X[n, i]
    frozen param W[o, i] ~ normal
    output Y[n, o] = X[n, i] * W[o, i]
"""
    layer = _layer(tmp_path, text)
    assert predicted(layer, {"n": 7}) == 0
    x = torch.randn(7, 5, requires_grad=True)
    assert held(layer, [x]) == 0


def test_values_inside_of_an_expression_count(tmp_path: Path) -> None:
    text = """
layer L():
    input  X[n], Z[n]
    output Y[n] = exp(X) * sin(Z)
"""
    layer = _layer(tmp_path, text)
    # Z for its cosine, exp(X) and sin(Z) for each other
    assert predicted(layer, {"n": 7}) == 3 * 7 * 4
    inputs = [torch.randn(7, requires_grad=True) for _ in range(2)]
    assert held(layer, inputs) == 3 * 7 * 4


def test_a_kernel_holds_its_ends() -> None:
    compiled = tl.compile(EXAMPLES / "axial.tl", target="triton", layers=["AxialAttention"])
    (stages,) = compiled.stages.values()
    kernels = [r for r in stages.plan.regions if r.backend != "torch"]
    assert kernels
    for region in kernels:
        (regime,) = region.regimes
        assert regime.cost.saved_bytes == regime.cost.bytes
