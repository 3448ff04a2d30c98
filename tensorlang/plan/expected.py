"""A regime with what it is expected to cost: while training, and where weights are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Const, NodeId
from tensorlang.order.grid import Point
from tensorlang.plan.cost import cost
from tensorlang.plan.kept import When
from tensorlang.plan.plan import AnyStep, Regime, Slot, Step
from tensorlang.plan.saved import saved
from tensorlang.plan.weights import weight_steps
from tensorlang.size import Size


def expected(
    graph: Graph,
    slots: Mapping[NodeId, Slot],
    steps: Sequence[AnyStep],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    when: When,
    point: Point,
) -> Regime:
    """The regime of these steps; `point` says at which sizes its peak is found."""
    inputs = tuple(slots[node] for node in graph.inputs)
    outputs = tuple(dict.fromkeys(slots[node] for node in graph.outputs))
    params = [(name, slots[node]) for name, node in graph.params.items()]
    stays = saved(steps, inputs, params, graph.program, shapes)
    always = replace(cost(steps, inputs, outputs, shapes, point), saved_bytes=stays)
    weights = weights_of(graph, slots, steps) if when.kept is not False else []
    kept = cost(steps, inputs, outputs, shapes, point, weights) if weights else None
    return Regime(tuple(steps), when.thresholds, always, when.kept, when.if_kept, kept)


def weights_of(graph: Graph, slots: Mapping[NodeId, Slot], steps: Sequence[AnyStep]) -> list[Step]:
    """The steps whose values can be kept."""
    params = [slots[node] for node in graph.params.values()]
    consts = [slot for node, slot in slots.items() if isinstance(graph.node(node).op, Const)]
    outputs = [slots[node] for node in graph.outputs]
    return weight_steps(graph.program, steps, params, consts, outputs)[0]
