"""For tests of derivatives: derivative nodes of a graph, and their values on random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensorlang.differentiate import jvp, vjp
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import App, Input, Iota, Lit, Node, NodeId, Param, Pointwise, Scalar
from tensorlang.ir.verify import verify
from tensorlang.reference import border
from tensorlang.size import evaluate
from tests.graph_values import TYPES, value_of_node

Array = Any
STEP = 1e-5


def leaves(graph: Graph) -> list[NodeId]:
    """Inputs and params that have a derivative."""
    every = [*graph.inputs, *graph.params.values()]
    return [k for k in every if graph.node(k).dtype >= Dtype.REAL]


def waves(graph: Graph, node: NodeId, phase: float = 0.3) -> NodeId:
    """A tensor of a node's shape and dtype, no two cells alike."""
    like = graph.node(node)
    angle: Scalar = Lit(phase, Dtype.REAL)
    for axis in range(like.rank):
        turn = Lit(0.7 + 0.61 * axis, Dtype.REAL)
        place = App("to_real", (Iota(axis),), Dtype.REAL)
        angle = App("add", (angle, App("mul", (turn, place), Dtype.REAL)), Dtype.REAL)
    expr: Scalar = App("cos", (angle,), Dtype.REAL)
    if like.dtype is Dtype.COMPLEX:
        expr = App("complex", (expr, App("sin", (angle,), Dtype.REAL)), Dtype.COMPLEX)
    return graph.add(Node(Pointwise(expr), (), like.shape, like.rank, like.dtype))


def nodes_at(
    graph: Graph, nodes: Sequence[NodeId], inputs: Sequence[Array], params: Mapping[str, Array]
) -> list[Array]:
    """The values of any nodes, after the graph is verified with them as its outputs."""
    program = graph.program
    view = Graph(replace(program, outputs=tuple(map(str, nodes))))
    view.__dict__.update({k: v for k, v in graph.__dict__.items() if k != "program"})
    view.outputs = list(nodes)
    verify(view)
    bound = border.bind(program, inputs)
    own = border.params(program, params)
    found: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for identity in view.alive():
            node = view.node(identity)
            match node.op:
                case Input(position):
                    value = bound.inputs[position]
                case Param(name):
                    value = own[name]
                case _:
                    value = value_of_node(node, found, bound.sizes)
            shape = tuple(evaluate(size, bound.sizes) for size in node.shape)
            assert np.shape(value) == shape, (identity, node, np.shape(value), shape)
            found[identity] = np.asarray(value).astype(TYPES[node.dtype], casting="safe")
    return [found[node] for node in nodes]


Given = tuple[list[Array], dict[str, Array]]


def moved(graph: Graph, given: Given, along: Mapping[NodeId, Array], step: float) -> Given:
    """Inputs and params a step along a direction."""
    inputs, params = list(given[0]), dict(given[1])
    for identity, direction in along.items():
        match graph.node(identity).op:
            case Input(position):
                inputs[position] = inputs[position] + step * direction
            case Param(name):
                params[name] = params[name] + step * direction
    return inputs, params


def directions(graph: Graph, given: Given, seed: int = 1) -> dict[NodeId, Array]:
    rng = np.random.default_rng(seed)
    out: dict[NodeId, Array] = {}
    for identity in leaves(graph):
        op = graph.node(identity).op
        value = given[0][op.position] if isinstance(op, Input) else given[1][op.name]  # type: ignore[union-attr]
        out[identity] = rng.normal(size=value.shape)
        if value.dtype.kind == "c":
            out[identity] = out[identity] + 1j * rng.normal(size=value.shape)
    return out


def weighted(graph: Graph, outputs: Sequence[NodeId], given: Given, phase: float = 0.3) -> float:
    """The real inner product of outputs with their waves."""
    every = [*outputs, *(waves(graph, node, phase) for node in outputs)]
    found = nodes_at(graph, every, *given)
    half = len(outputs)
    return float(
        sum(
            np.sum(np.real(np.conj(w) * y)) for y, w in zip(found[:half], found[half:], strict=True)
        )
    )


def slope(value: Callable[[float], float], step: float = STEP) -> float:
    """A derivative at 0 by central differences of fourth order."""
    near = value(step) - value(-step)
    far = value(2 * step) - value(-2 * step)
    return (8 * near - far) / (12 * step)


def pulled(graph: Graph, outputs: Sequence[NodeId], phase: float = 0.3) -> dict[NodeId, NodeId]:
    """Gradients of `weighted` by node, of the leaves that the outputs depend on."""
    wrts = leaves(graph)
    real = [node for node in outputs if graph.node(node).dtype >= Dtype.REAL]
    pairs = [(node, waves(graph, node, phase)) for node in real]
    found = vjp(graph, pairs, wrts)
    return {wrt: node for wrt, node in zip(wrts, found, strict=True) if node is not None}


def along(
    graph: Graph, grads: Mapping[NodeId, NodeId], given: Given, towards: Mapping[NodeId, Array]
) -> float:
    """The inner product of gradients with a direction."""
    values = nodes_at(graph, list(grads.values()), *given)
    for identity, value in zip(grads, values, strict=True):
        node = graph.node(identity)
        assert np.iscomplexobj(value) == (node.dtype is Dtype.COMPLEX)
        assert np.isfinite(value).all(), (identity, value)
    return float(
        sum(
            np.sum(np.real(np.conj(value) * towards[identity]))
            for identity, value in zip(grads, values, strict=True)
        )
    )


def check(graph: Graph, given: Given, order: int = 2, rtol: float = 1e-6) -> None:
    """Gradients against differences, gradients of gradients too, and JVPs against VJPs."""
    outputs: list[NodeId] = [k for k in graph.outputs if graph.node(k).dtype >= Dtype.REAL]
    towards = directions(graph, given)
    for depth in range(order):
        phase = 0.3 + depth
        grads = pulled(graph, outputs, phase)
        ours = along(graph, grads, given, towards)

        def at(step: float, outputs: list[NodeId] = outputs, phase: float = phase) -> float:
            return weighted(graph, outputs, moved(graph, given, towards, step), phase)

        np.testing.assert_allclose(ours, slope(at), rtol=rtol, atol=1e-7, err_msg=f"order {depth}")
        np.testing.assert_allclose(
            pushed(graph, outputs, given, phase),
            pulled_along(graph, grads, given),
            rtol=1e-9,
            atol=1e-11,
        )
        outputs = list(grads.values())
        if not outputs:
            return


def pushed(graph: Graph, outputs: Sequence[NodeId], given: Given, phase: float) -> float:
    """The weighted outputs' derivative along waves of the leaves, by a JVP."""
    pairs = [(leaf, waves(graph, leaf, 1.1)) for leaf in leaves(graph)]
    found = jvp(graph, pairs, outputs)
    kept = [(out, t) for out, t in zip(outputs, found, strict=True) if t is not None]
    every = [node for out, t in kept for node in (t, waves(graph, out, phase))]
    values = nodes_at(graph, every, *given)
    return float(
        sum(np.sum(np.real(np.conj(w) * t)) for t, w in zip(values[::2], values[1::2], strict=True))
    )


def pulled_along(graph: Graph, grads: Mapping[NodeId, NodeId], given: Given) -> float:
    """The inner product of gradients with the leaves' waves."""
    pairs = [(node, waves(graph, leaf, 1.1)) for leaf, node in grads.items()]
    values = nodes_at(graph, [node for pair in pairs for node in pair], *given)
    return float(
        sum(np.sum(np.real(np.conj(g) * w)) for g, w in zip(values[::2], values[1::2], strict=True))
    )


def gradients(graph: Graph, given: Given) -> list[Array]:
    """The gradients of `weighted`, one for each leaf that the outputs depend on."""
    found = pulled(graph, graph.outputs)
    return nodes_at(graph, list(found.values()), *given)
