"""K5: which maps over pairs of samples are reduced as they are made, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tensorlang.ir.nodes import Contract
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.map_reduce import MapSpace, ends, map_space, mappable, paired
from tensorlang.plan.plan import Slot, Step

MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class MapReduceFamily:
    """A group is what leads from pairs to one reduction, and all that reads the same pairs."""

    backend: str = "K5 map-reduce"

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        step = layer.steps[k]
        pairs = _pairs(layer)
        if not isinstance(step, Step) or not ends(step.node, pairs) or mappable(step) is not None:
            return ""
        members = _closure(layer, k, pairs)
        if members is None or all(isinstance(s.node.op, Contract) for s in layer.plain(members)):
            return ""
        where = map_space(layer.plain(members), layer.wanted(members))
        return "" if isinstance(where, str) else [members]

    def judge(self, layer: Layer, members: Members) -> Group | str:
        where = map_space(layer.plain(members), layer.wanted(members))
        if isinstance(where, str):
            return where
        assert isinstance(where, MapSpace), where
        count = sum(not where.is_end(step) for step in layer.plain(members))
        steps = "1 step" if count == 1 else f"{count} steps"
        return Group(
            members, f"{steps} for each pair of samples, reduced as they are made and never stored"
        )


def _pairs(layer: Layer) -> dict[Slot, frozenset[int]]:
    """The paired axes of every value that has some."""
    found: dict[Slot, frozenset[int]] = {}
    for step in layer.steps:
        if isinstance(step, Step) and mappable(step) is None and not ends(step.node, found):
            axes = paired(step.node, found)
            if axes:
                found[step.out] = axes
    return found


def _closure(layer: Layer, k: int, pairs: dict[Slot, frozenset[int]]) -> Members | None:
    """The steps that make the pairs that k reads, and all that read those."""
    members = {k}
    stack = [k]
    while stack:
        step = layer.steps[stack.pop()]
        assert isinstance(step, Step), step
        near = [layer.maker[r.node] for r in step.node.reads if r.node in pairs]
        if step.out in pairs:
            near += layer.readers.get(step.out, [])
        for m in near:
            other = layer.steps[m]
            if m in members:
                continue
            if not isinstance(other, Step) or mappable(other) is not None:
                return None
            if len(members) == MOST_STEPS:
                return None
            members.add(m)
            stack.append(m)
    return tuple(sorted(members))
