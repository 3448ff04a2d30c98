"""The value of a plan, step by step in numpy: what the planner must keep of the graph's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Arg,
    Const,
    Node,
    Pointwise,
    Read,
)
from tensorlang.plan.plan import Attention, AttentionStep, Plan, ProjectionsStep, Regime, Slot, Step
from tensorlang.size import evaluate
from tests.graph_values import value_of_node

Array = Any


def settle(
    plan: Plan, regime: Regime, leaves: Mapping[Slot, Array], sizes: Mapping[str, int]
) -> dict[Slot, Array]:
    """Values of all slots, given those of inputs, params and what calls return."""
    found = dict(leaves)
    for slot, node in plan.leaves.items():
        if isinstance(node.op, Const):
            found[slot] = node.op.array.value
    for step in regime.steps:
        match step:
            case AttentionStep(out, attention):
                found[out] = _attention(attention, found, sizes)
            case ProjectionsStep(projections):
                for p in projections:
                    found[p.out] = value_of_node(p.node, found, sizes)
            case Step(out, node):
                if out not in leaves:
                    found[out] = value_of_node(node, found, sizes)
        for slot in _outs(step):
            shape = tuple(evaluate(size, sizes) for size in plan.shapes[slot])
            assert np.shape(found[slot]) == shape, (step, np.shape(found[slot]), shape)
    return found


def _outs(step: Any) -> Iterator[Slot]:
    if isinstance(step, ProjectionsStep):
        yield from (p.out for p in step.projections)
    else:
        yield step.out


def _attention(a: Attention, found: Mapping[Slot, Array], sizes: Mapping[str, int]) -> Array:
    def over(indices: Sequence[int], bound: Sequence[int], op: Any, *reads: Read) -> Array:
        order = (*indices, *bound)
        local = {index: place for place, index in enumerate(order)}
        from tensorlang.ir.reads import rename_read

        node = Node(
            op,
            tuple(rename_read(read, local) for read in reads),
            tuple(a.sizes[index] for index in order),
            len(indices),
            Dtype.REAL,
        )
        return value_of_node(node, found, sizes)

    cells = (*a.batch, *a.query, *a.key)
    q, k = (over((*cells, *a.feature), (), Pointwise(Arg(0)), read) for read in (a.q, a.k))
    logits = a.scale * (q * k).sum(tuple(range(len(cells), len(cells) + len(a.feature))))
    if a.bias is not None:
        logits = logits + over(cells, (), Pointwise(Arg(0)), a.bias)
    mask = np.ones(logits.shape, bool)
    if a.mask is not None:
        mask = np.broadcast_to(over(cells, (), Pointwise(Arg(0)), a.mask), logits.shape)
    axes = tuple(range(len(cells) - len(a.key), len(cells)))
    top = np.max(np.where(mask, logits, -np.inf), axes, keepdims=True, initial=-1e300)
    weights = np.where(mask, np.exp(np.where(mask, logits - top, 0)), 0)
    total = weights.sum(axes, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    letters = {index: place for place, index in enumerate((*cells, *a.feature, *a.value))}
    v = over((*a.batch, *a.key, *a.value), (), Pointwise(Arg(0)), a.v)
    return np.einsum(
        weights,
        [letters[i] for i in cells],
        v,
        [letters[i] for i in (*a.batch, *a.key, *a.value)],
        [letters[i] for i in a.out_axes],
    )
