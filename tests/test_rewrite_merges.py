"""Reads through merged axes: trains are chained, block diagonal weights are batched products."""

from __future__ import annotations

import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract, Merge, Param
from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tests.rewriting import SMALL, layer, operations, rewritten, rules, same_value

TRAIN = """
    dim o1 = 2, o2 = 3, i1 = 4, i2 = 3
    input X[n, (i1 i2)]
    param W[(o1 o2), (i1 i2)] ~ kaiming as tt(rank = 2)
    output Y[n, (o1 o2)] = X[n, (i1 i2)] * W[(o1 o2), (i1 i2)]
"""
BLOCKS = """
    dim d = 12, o = 6
    input X[n, d]
    param W[o, d] ~ kaiming as blockdiag(n = 3)
    output Y[n, o] = X * W
"""


def weights(graph: Graph) -> list[int]:
    """Merges of what no input is in."""
    found = []
    for identity in graph.alive():
        node = graph.node(identity)
        if isinstance(node.op, Merge):
            below = [graph.node(read.node) for read in node.reads]
            found += [identity] if all(isinstance(b.op, Param) for b in below) else []
    return found


@pytest.mark.parametrize("text", [TRAIN, BLOCKS])
@pytest.mark.parametrize("without", [(), ("merges",), ("flatten",), ("merges", "deltas")])
def test_values_are_kept(text: str, without: tuple[str, ...]) -> None:
    graph = layer(text)
    out, applied = rewritten(graph, *without)
    assert ("merges" in rules(applied)) == ("merges" not in without)
    for sizes in (SMALL, {**SMALL, "n": 50}):
        same_value(graph, plan(out, Options(without=without)), sizes)


def test_a_train_is_one_product_to_order() -> None:
    large = TRAIN.replace("o1 = 2, o2 = 3, i1 = 4, i2 = 3", "o1 = 16, o2 = 16, i1 = 16, i2 = 16")
    out, _ = rewritten(layer(large))
    assert len(operations(out, Merge)) == 1  # of the output
    (product,) = operations(out, Contract)
    reads = [out.node(k) for k in out.alive() if out.node(k).op == product]
    assert len(reads[0].reads) == 3


def test_a_block_diagonal_weight_is_never_formed() -> None:
    out, _ = rewritten(layer(BLOCKS))
    (identity,) = [k for k in out.alive() if isinstance(out.node(k).op, Contract)]
    node = out.node(identity)
    assert node.shape[1:] == (3, 2) and [node.sizes[k] for k in node.bound] == [4]


def test_a_weight_that_is_shifted_stays_merged() -> None:
    graph = layer("""
        dim t = 6, o = 4
        input X[n, t]
        param W[o, t] ~ kaiming as blockdiag(n = 2)
        output Y[n, o] = X[n, t] * W[o, t - 1 else 0]
    """)
    out, _ = rewritten(graph)
    products = [out.node(k) for k in out.alive() if isinstance(out.node(k).op, Contract)]
    assert all(node.sizes[k] != 3 for node in products for k in node.bound)


def test_other_groups_than_those_merged_stay() -> None:
    graph = layer("""
        dim a = 2, b = 3, c = 3, e = 2
        input X[n, (c e)]
        param W[m, a, b] ~ ones
        dim m = 4
        M[m, (a b)] = W[m, a, b] * 2
        output Y[n, m] = X[n, (c e)] * M[m, (c e)]
    """)
    out, _ = rewritten(graph)
    assert operations(out, Merge)


def test_what_inputs_are_in_keeps_its_axes() -> None:
    graph = layer("""
        dim h = 2, c = 3, f = 6
        input X[n, h, c]
        param W[f, m] ~ ones
        dim m = 4
        M[n, (h c)] = X[n, h, c] * 2
        output Y[n, m] = M[n, f] * W[f, m]
    """)
    _, applied = rewritten(graph)
    assert "merges" not in rules(applied)
