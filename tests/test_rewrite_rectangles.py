"""Constants that are block diagonal in two summed indices: a sum of dense products of slices."""

from __future__ import annotations

import pytest

from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tests.rewriting import SMALL, layer, rewritten, rules, same_value
from tests.test_rewrite_blocks import FULL, PATHS, TOGETHER, shapes

# seven degrees are seven blocks: too many products to read
MANY = PATHS.replace("irreps(2)", "irreps(6)")
SIZES = (SMALL, {**SMALL, "n": 50}, {**SMALL, "n": 1})


@pytest.mark.parametrize("text", [PATHS, FULL, TOGETHER])
@pytest.mark.parametrize("without", [(), ("rectangles",), ("blocks",), ("flatten",)])
def test_values_are_kept(text: str, without: tuple[str, ...]) -> None:
    graph = layer(text)
    out, _ = rewritten(graph, *without)
    for sizes in SIZES:
        same_value(graph, plan(out, Options(without=without)), sizes)


def test_couplings_are_sums_over_the_degrees_of_one_factor() -> None:
    out, applied = rewritten(layer(PATHS))
    assert "rectangles" in rules(applied)
    assert {(3, 1, 16, 9), (5, 3, 16, 9), (5, 5, 16, 9)} <= shapes(out)
    assert (13, 9, 16, 9) not in shapes(out)
    assert (13, 9, 16, 9) in shapes(rewritten(layer(PATHS), "rectangles", "blocks")[0])


@pytest.mark.parametrize("text", [FULL, TOGETHER, MANY])
def test_what_has_no_few_blocks_is_left_alone(text: str) -> None:
    assert "rectangles" not in rules(rewritten(layer(text))[1])
