"""Constants made of blocks: pairs of indices that occur become one index."""

from __future__ import annotations

import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Const
from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tests.rewriting import SMALL, layer, rewritten, rules, same_value

PATHS = """
    dim u = 8, i = irreps(2), j = irreps(3)
    input X[n, u, i], Y[n, j], W[n, p, u]
    const C[p, i, j, i'] = cg_paths(p, i, j, i')
    output Z[n, u, i'] = C[p, i, j, i'] * W[n, p, u] * X[n, u, i] * Y[n, j]
"""
FULL = """
    dim u = 8, p = 5, i = 6, j = 3
    input X[n, u, i], Y[n, j], W[n, p, u]
    const C[p, i, j, i'] = random_normal(p, i, j, i')
    output Z[n, u, i'] = C[p, i, j, i'] * W[n, p, u] * X[n, u, i] * Y[n, j]
"""
# p and i stand in one factor: their pairs cannot be picked one by one
TOGETHER = """
    dim i = irreps(2), j = irreps(3)
    input X[n, p, i], Y[n, j]
    const C[p, i, j, i'] = cg_paths(p, i, j, i')
    output Z[n, i'] = C[p, i, j, i'] * X[n, p, i] * Y[n, j]
"""


def shapes(graph: Graph) -> set[tuple[object, ...]]:
    nodes = [graph.node(identity) for identity in graph.alive()]
    return {node.shape for node in nodes if isinstance(node.op, Const)}


@pytest.mark.parametrize("text", [PATHS, FULL, TOGETHER])
@pytest.mark.parametrize(
    "without", [("rectangles",), ("rectangles", "blocks"), ("rectangles", "flatten")]
)
def test_values_are_kept(text: str, without: tuple[str, ...]) -> None:
    graph = layer(text)
    out, _ = rewritten(graph, *without)
    for sizes in (SMALL, {**SMALL, "n": 50}):
        same_value(graph, plan(out, Options(without=without)), sizes)


def test_couplings_hold_the_pairs_that_occur() -> None:
    out, applied = rewritten(layer(PATHS), "rectangles")
    assert "blocks" in rules(applied)
    assert (43, 16, 9) in shapes(out) and (13, 9, 16, 9) not in shapes(out)
    assert (13, 9, 16, 9) in shapes(rewritten(layer(PATHS), "rectangles", "blocks")[0])


def test_a_full_table_is_left_alone() -> None:
    assert "blocks" not in rules(rewritten(layer(FULL))[1])


def test_indices_of_one_factor_stay_apart() -> None:
    out, _ = rewritten(layer(TOGETHER))
    assert (43, 16, 9) not in shapes(out)
