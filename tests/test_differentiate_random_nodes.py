"""Random reads in products, reductions and scatters: slopes, and forward against reverse mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorlang.check.program import (
    Axis,
    Dim,
    Index,
    Input,
    Program,
    ReduceOp,
)
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import App, Arg, Node
from tensorlang.ir.reads import identity_read, read_indices, redirect
from tensorlang.size import evaluate
from tests.differentiating import check
from tests.test_torch_nodes import ONES, SPAN, R
from tests.test_torch_random_nodes import DYNAMIC, Draw

LONG = 400


def graph_of(draw: Draw, node: Node) -> Graph:
    """A node of random reads, of inputs that come through a nonlinear function."""
    inputs = []
    for number, (shape, dtype) in enumerate([*draw.given, (DYNAMIC, Dtype.INT)]):
        axes = tuple(Axis((Index(f"i{number}{a}", Dim(str(s), s)),)) for a, s in enumerate(shape))
        inputs.append(Input(f"X{number}", axes, dtype, SPAN))
    dims = tuple(Dim(str(s), s) for s in DYNAMIC)
    program = Program("Test", "", None, (), dims, dims, tuple(inputs), (), (), (), (), (), SPAN)
    graph = Graph(program)
    sources: list[int] = []
    for number, given in enumerate(inputs):
        sizes = tuple(axis.size for axis in given.axes)
        leaf = graph.add(Node(nodes.Input(number), (), sizes, len(sizes), given.dtype))
        graph.inputs.append(leaf)
        if given.dtype is R:
            expr = App("tanh", (Arg(0),), R)
            read = identity_read(leaf, len(sizes))
            leaf = graph.add(Node(nodes.Pointwise(expr), (read,), sizes, len(sizes), R))
        sources.append(leaf)
    graph.outputs = [graph.add(redirect(node, sources.__getitem__))]
    return graph


def check_at(draw: Draw, node: Node, seed: int) -> None:
    graph = graph_of(draw, node)
    rng = np.random.default_rng(seed)
    for size in ONES:
        arrays: list[Any] = []
        for shape, dtype in draw.given:
            extents = tuple(evaluate(s, size) for s in shape)
            whole = dtype is Dtype.INT
            arrays.append(rng.integers(-9, 9, extents) if whole else rng.normal(size=extents))
        brings = np.zeros([size[str(s)] for s in DYNAMIC], np.int64)
        check(graph, ([*arrays, brings], {}))


def product(seed: int) -> None:
    draw = Draw(seed)
    check_at(draw, draw.product(), seed)


def pointwise(seed: int) -> None:
    draw = Draw(3000 + seed)
    rank = draw.random.randint(0, 3)
    sizes = draw.sizes(rank, 0)
    reads = [draw.read(sizes, draw.some(list(range(rank)), [])) for _ in range(2)]
    last: Any = App("sin", (App("mul", (Arg(0), Arg(1)), R),), R)
    expr = App("add", (App("mul", (Arg(0), last), R), Arg(1)), R)
    check_at(draw, Node(nodes.Pointwise(expr), tuple(reads), sizes, rank, R), seed)


def reduction(seed: int) -> None:
    """Reductions read whole axes: of a tensor that is itself a product of random reads."""
    draw = Draw(1000 + seed)
    rank, bound = draw.random.randint(0, 2), draw.random.randint(1, 2)
    sizes = draw.sizes(rank, bound)
    read = draw.read(sizes, list(range(rank + bound)), 0.3)
    node = Node(nodes.Pointwise(Arg(0)), (read,), sizes, rank + bound, R)
    graph = graph_of(draw, node)
    op = draw.random.choice((ReduceOp.PROD, ReduceOp.LOGSUMEXP))
    whole = identity_read(graph.outputs[0], rank + bound)
    graph.outputs = [graph.add(Node(nodes.Reduce(op), (whole,), sizes, rank, R))]
    rng = np.random.default_rng(seed)
    for size in ONES:
        arrays = [
            rng.integers(-9, 9, [evaluate(s, size) for s in shape])
            if dtype is Dtype.INT
            else rng.normal(size=[evaluate(s, size) for s in shape])
            for shape, dtype in draw.given
        ]
        brings = np.zeros([size[str(s)] for s in DYNAMIC], np.int64)
        check(graph, ([*arrays, brings], {}))


def scatter(seed: int) -> None:
    draw = Draw(2000 + seed)
    node = draw.scatter()
    assert {i for read in node.reads for i in read_indices(read)} <= set(range(len(node.sizes)))
    check_at(draw, node, seed)


KINDS = {"product": product, "pointwise": pointwise, "reduction": reduction, "scatter": scatter}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_random_nodes(kind: str, seed: int) -> None:
    KINDS[kind](seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_random_nodes(kind: str, request: pytest.FixtureRequest) -> None:
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("minutes; asked for with -m slow")
    for seed in range(12, LONG):
        KINDS[kind](seed)
