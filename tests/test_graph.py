"""The graph: equal terms are one node, provenance is united, order is kept, growth is linear."""

from __future__ import annotations

import cProfile
import itertools
import math

import pytest

from tensorlang.check.program import Boundary, Program, ReduceOp, ScatterOp, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes as ir
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Affine, App, Arg, At, Contract, Gather, Lit, Node, Pointwise, Read
from tensorlang.size import dynamic
from tensorlang.source import Source, Span

SPAN = Span(Source("<test>", "one two"), 0, 3)
OTHER = Span(SPAN.source, 4, 7)
N = dynamic("n")


def empty() -> Graph:
    return Graph(Program("L", "", None, (), (), (), (), (), (), (), (), (), SPAN))


def given(graph: Graph, position: int, *sizes: object, dtype: Dtype = Dtype.REAL) -> int:
    return graph.add(Node(ir.Input(position), (), sizes, len(sizes), dtype), f"X{position}")  # type: ignore[arg-type]


def at(node: int, *indices: int) -> Read:
    return Read(node, tuple(At(i) for i in indices))


def contract(sizes: tuple[object, ...], rank: int, *reads: Read) -> Node:
    return Node(Contract(), reads, sizes, rank, Dtype.REAL)  # type: ignore[arg-type]


def test_factors_commute_and_summed_indices_have_no_names() -> None:
    graph = empty()
    a, b, c = (given(graph, k, N, N) for k in range(3))
    found = set()
    for p in itertools.permutations(range(2, 5)):
        i, j, k = p
        for reads in itertools.permutations([at(a, 0, i), at(b, i, j), at(c, j, k)]):
            found.add(graph.add(contract((N,) * 5, 2, *reads)))
    assert len(found) == 1


def test_ties_are_broken_by_trying() -> None:
    graph = empty()
    a = given(graph, 0, N, N)
    found = set()
    for p in itertools.permutations(range(6)):  # a ring of six: no index differs from another
        reads = [at(a, p[k], p[(k + 1) % 6]) for k in range(6)]
        found.add(graph.add(contract((N,) * 6, 0, *reads)))
    two = [at(a, x, y) for x, y in ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3))]
    assert len(found) == 1
    assert graph.add(contract((N,) * 6, 0, *two)) not in found  # two triangles are no ring


def test_interchangeable_indices_cost_nothing() -> None:
    graph = empty()
    a = given(graph, 0, N)
    n = 20
    first = graph.add(contract((N,) * n, 0, *(at(a, k) for k in range(n))))
    assert graph.add(contract((N,) * n, 0, *(at(a, k) for k in reversed(range(n))))) == first


def test_a_large_tie_stays_as_written() -> None:
    graph = empty()
    a = given(graph, 0, N, N)
    ring = [at(a, k, (k + 1) % 100) for k in range(100)]
    assert graph.add(contract((N,) * 100, 0, *ring)) == 1


def test_sizes_axes_and_coefficients_tell_nodes_apart() -> None:
    graph = empty()
    a, b = given(graph, 0, N, 3), given(graph, 1, 3, N)
    product = graph.add(contract((N, N, 3), 2, at(a, 0, 2), at(b, 2, 1)))
    assert graph.add(contract((N, N, 3), 2, at(a, 1, 2), at(b, 2, 0))) != product
    scaled = Node(Contract(2.0), (at(a, 0, 2), at(b, 2, 1)), (N, N, 3), 2, Dtype.REAL)
    assert graph.add(scaled) != product
    assert graph.add(contract((N, 3), 1, at(a, 0, 1))) != graph.add(
        contract((N, 3), 2, at(a, 0, 1))
    )


def test_affine_gathered_and_scattered_terms_are_renamed_too() -> None:
    graph = empty()
    x, w = given(graph, 0, N), given(graph, 1, 3, 3)
    index = given(graph, 2, 3, dtype=Dtype.INT)

    def convolution(u: int, v: int) -> Node:
        affine = Affine(tuple(sorted([(0, 1), (u, 1), (v, 2)])), -1, Boundary.ELSE)
        return contract((N, 3, 3), 1, Read(x, (affine,), 0), at(w, u, v))

    assert graph.add(convolution(1, 2)) == graph.add(convolution(2, 1))

    def gathered(u: int, v: int) -> Node:
        read = Read(x, (Gather(at(index, u), Boundary.CHECKED),))
        return contract((3, 3), 0, read, at(w, u, v))

    assert graph.add(gathered(0, 1)) == graph.add(gathered(1, 0))

    def scattered(e: int, f: int) -> Node:
        target = (Gather(at(index, e), Boundary.CHECKED),)
        op = ir.Scatter(ScatterOp.SUM, (target, (Gather(at(index, f), Boundary.CHECKED),)))
        return Node(op, (at(x, e), at(x, f)), (N, 3, 3), 1, Dtype.REAL)

    assert graph.add(scattered(1, 2)) == graph.add(scattered(2, 1))


def test_rows_and_columns_of_a_transform_are_not_interchangeable() -> None:
    graph = empty()
    a = given(graph, 0, N, N)

    def inverse(row: int, column: int, *source: int) -> Node:
        op = ir.Transform(TransformOp.INV, source, (0, 1))
        return Node(op, (at(a, row, column),), (N,) * 4, 2, Dtype.REAL)

    assert graph.add(inverse(2, 3, 2, 3)) == graph.add(inverse(3, 2, 3, 2))
    assert graph.add(inverse(2, 3, 2, 3)) != graph.add(inverse(3, 2, 2, 3))


def test_reads_of_a_pointwise_are_in_order_of_use_and_once() -> None:
    graph = empty()
    a, b = given(graph, 0, N), given(graph, 1, N)
    expr = App("sub", (Arg(0), Arg(1)), Dtype.REAL)
    first = graph.add(Node(Pointwise(expr), (at(a, 0), at(b, 0)), (N,), 1, Dtype.REAL))
    turned = App("sub", (Arg(1), Arg(0)), Dtype.REAL)
    assert graph.add(Node(Pointwise(turned), (at(b, 0), at(a, 0)), (N,), 1, Dtype.REAL)) == first
    twice = App("sub", (Arg(2), Arg(0)), Dtype.REAL)
    node = Node(Pointwise(twice), (at(b, 0), at(a, 0), at(a, 0)), (N,), 1, Dtype.REAL)
    assert graph.add(node) == first
    assert graph.node(first).reads == (at(a, 0), at(b, 0))


def test_provenance_is_united() -> None:
    graph = empty()
    a = given(graph, 0, N)
    node = Node(ir.Reduce(ReduceOp.MAX), (at(a, 0),), (N,), 0, Dtype.REAL)
    first = graph.add(node, "A", [SPAN], ["rule"])
    assert graph.add(node, "B", [SPAN, OTHER]) == first
    origin = graph.provenance(first)
    assert (origin.names, origin.spans, origin.rules) == (("A", "B"), (SPAN, OTHER), ("rule",))


def test_alive_follows_outputs_operands_first() -> None:
    graph = empty()
    a = given(graph, 0, N)
    one = Lit(1.0, Dtype.REAL)
    dead = graph.add(Node(Pointwise(one), (), (), 0, Dtype.REAL))
    index = graph.add(Node(ir.Input(1), (), (N,), 1, Dtype.INT))
    read = Read(a, (Gather(at(index, 0), Boundary.CHECKED),))
    out = graph.add(contract((N,), 1, read))
    graph.outputs = [out, a]
    assert graph.alive() == [a, index, out]
    assert graph.operands(out) == (a, index)
    assert graph.readers(index) == (out,) and graph.readers(dead) == ()
    assert len(graph) == 4


def test_reading_a_later_node_is_refused() -> None:
    graph = empty()
    with pytest.raises(AssertionError):
        graph.add(contract((N,), 1, at(0, 0)))


def test_adding_costs_the_same_at_any_length() -> None:
    def calls(length: int) -> float:
        profile = cProfile.Profile()
        profile.enable()
        graph = empty()
        last = given(graph, 0, N, 8)
        weight = graph.add(Node(ir.Param("W"), (), (8, 8), 2, Dtype.REAL))
        for step in range(length):
            read = (at(last, 0, 2), at(weight, 2, 1))
            last = graph.add(Node(Contract(step), read, (N, 8, 8), 2, Dtype.REAL), str(step))
        graph.outputs = [last]
        assert len(graph.alive()) == length + 2
        profile.disable()
        return float(sum(entry.callcount for entry in profile.getstats()))

    assert math.log2(calls(1000) / calls(500)) < 1.05
