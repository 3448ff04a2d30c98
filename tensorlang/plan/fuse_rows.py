"""K5: which pointwise steps and row reductions go through memory together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tensorlang.dtype import Dtype
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.plan import ProjectionsStep, Slot, Step
from tensorlang.plan.rows import alone, operations, space

MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class RowFamily:
    """Groups grow with every step that shares their space; small ones are given up at the end."""

    backend: str = "K5"

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        step = layer.steps[k]
        if isinstance(step, ProjectionsStep):
            return "matrix products stay with torch (cuBLAS)"
        if not isinstance(step, Step):
            return ""
        problem = alone(step)
        if problem is not None:
            return problem
        # all that it reads, else the largest
        order = sorted(own, key=lambda members: (-len(members), members))
        joined = (
            tuple(sorted({k, *(m for members in order[:count] for m in members)}))
            for count in range(len(order), -1, -1)
        )
        return (members for members in joined if _share_a_space(layer, members))

    def judge(self, layer: Layer, members: Members) -> Group | str:
        """Keep a group if it saves memory traffic and its results can be stored."""
        steps = layer.plain(members)
        where = space(steps, layer.wanted(members))
        count = sum(operations(step) for step in steps)
        outside = {r.node for step in steps for r in step.node.reads} - {s.out for s in steps}
        if isinstance(where, str):
            return where
        if not any(layer.shapes[slot][1] is Dtype.REAL for slot in outside):
            return "it reads no real tensor"
        if count < 2:
            return "one pass over memory already, nothing to fuse"
        kind = "row reductions and pointwise operations" if where.reduces else "operations"
        return Group(members, f"{count} {kind} in one pass over memory")


def _share_a_space(layer: Layer, members: Members) -> bool:
    if len(members) == 1:
        return True
    if len(members) > MOST_STEPS:
        return False
    return not isinstance(space(layer.plain(members), _wanted(layer, members)), str)


def _wanted(layer: Layer, members: Members) -> frozenset[Slot]:
    """Values that others read so far. The last one may be read by steps that come later."""
    inside = set(members)
    steps = layer.plain(members)
    return frozenset(
        step.out
        for step in steps
        if step.out in layer.needed
        or step is steps[-1]
        or any(r not in inside and r <= members[-1] for r in layer.readers.get(step.out, ()))
    )
