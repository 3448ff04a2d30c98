"""How work grows: exponents of FLOPs and bytes in a size, of compiling in the number of equations.

Counts, never times: FLOPs and bytes from the plan, Python calls from a profiler.
"""

from __future__ import annotations

import cProfile
import math
from collections.abc import Callable
from pathlib import Path

import pytest

import tensorlang as tl
from benchmarks.long_layer import long_layer
from tests.example_cases import EXAMPLES


def _exponent(cost: Callable[[int], float], small: int) -> float:
    return math.log2(cost(2 * small) / cost(small))


def _cost(layer: object, quantity: str, **shapes: tuple[int, ...]) -> float:
    return float(tl.explain(layer, **shapes).to_dict()[quantity])


@pytest.fixture(scope="module")
def axial() -> object:
    return tl.load(str(EXAMPLES / "axial.tl")).AxialPair(d=8, heads=2)


def test_axial_attention_is_quadratic_in_its_own_axis_and_linear_in_the_other(
    axial: object,
) -> None:
    along = tl.load(str(EXAMPLES / "axial.tl")).AxialAttention(d=8, heads=2)
    assert 1.9 < _exponent(lambda n: _cost(along, "flops", X=(16, n, 8)), 2**14) <= 2.0
    assert _exponent(lambda b: _cost(along, "flops", X=(b, 64, 8)), 2**10) == pytest.approx(1.0)


def test_axial_attention_over_a_square_costs_its_side_cubed_not_to_the_fourth(
    axial: object,
) -> None:
    assert 2.9 < _exponent(lambda n: _cost(axial, "flops", X=(1, n, n, 8)), 2**14) <= 3.0
    assert _exponent(lambda n: _cost(axial, "parameters", X=(1, n, n, 8)), 2**10) == 0.0


def test_third_order_attention_is_cubic_in_flops_and_forms_no_cube() -> None:
    core = tl.load(str(EXAMPLES / "third_order.tl")).Trilinear()

    def cost(quantity: str) -> Callable[[int], float]:
        return lambda n: _cost(
            core, quantity, **dict.fromkeys(("Q", "K1", "K2", "V1", "V2"), (1, n, 8))
        )

    assert 2.9 < _exponent(cost("flops"), 2**10) <= 3.0
    assert _exponent(cost("peak_bytes"), 2**10) <= 2.1


def test_linear_attention_is_linear() -> None:
    layer = tl.load(str(EXAMPLES / "linear_attention.tl")).LinearAttention(d=8, heads=2)
    assert _exponent(lambda n: _cost(layer, "flops", X=(1, n, 8)), 2**12) <= 1.05


def test_compiling_grows_no_faster_than_the_power_1_3(tmp_path: Path) -> None:
    tl.compile(_long(tmp_path, 20), target="torch")  # imports and first uses are not growth

    def calls(equations: int) -> float:
        path = _long(tmp_path, equations)
        profile = cProfile.Profile()
        profile.enable()
        tl.compile(path, target="torch")
        profile.disable()
        return float(sum(entry.callcount for entry in profile.getstats()))

    assert _exponent(calls, 250) <= 1.3
    assert _exponent(calls, 500) <= 1.3


def test_a_layer_of_two_thousand_equations_compiles(tmp_path: Path) -> None:
    source = tl.compile(_long(tmp_path, 2000), target="torch").source
    compile(source, "long.py", "exec")


def _long(folder: Path, equations: int) -> str:
    path = folder / f"long_{equations}.tl"
    path.write_text(long_layer(equations))
    return str(path)
