"""Splits a planned layer into regions: those that families of kernels take, the rest torch.

Each region says why it is what it is. The order of steps inside a region stays; regions are in an
order in which every value is made before it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.cost import add
from tensorlang.options import Options
from tensorlang.order.grid import middle
from tensorlang.plan.cost import at, cost, flops, held_bytes, made, used
from tensorlang.plan.family import Family, Group, Layer, Members
from tensorlang.plan.fuse_attention import AttentionFamily
from tensorlang.plan.fuse_chain import ChainFamily
from tensorlang.plan.fuse_map_reduce import MapReduceFamily
from tensorlang.plan.fuse_rows import RowFamily
from tensorlang.plan.fuse_sparse import SparseFamily
from tensorlang.plan.fuse_third import ThirdFamily
from tensorlang.plan.plan import (
    AnyStep,
    AttentionStep,
    Cost,
    Plan,
    Regime,
    Region,
    Slot,
    Step,
)
from tensorlang.plan.saved import saved
from tensorlang.plan.slots import typed_shapes
from tensorlang.size import Size
from tensorlang.source import Span

FAMILIES: tuple[Family, ...] = (
    ThirdFamily(),
    AttentionFamily(),
    SparseFamily(),
    ChainFamily(),
    MapReduceFamily(),
    RowFamily(),
)
"""The special before the general: a family takes what those before it left."""


def fuse(plan: Plan, options: Options) -> Plan:
    """The plan with its torch regions split into regions of torch and of kernels."""
    shapes = typed_shapes(plan)
    regions: list[Region] = []
    for number, region in enumerate(plan.regions):
        later = {slot for after in plan.regions[number + 1 :] for slot in after.inputs}
        if region.backend == "torch":
            regions.extend(_split(plan, region, later, shapes, options))
        else:
            regions.append(region)
    return replace(plan, regions=tuple(regions))


def _split(
    plan: Plan,
    region: Region,
    later: set[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    options: Options,
) -> list[Region]:
    every = [regime for regime in region.regimes if regime.serves(kept=False)]
    regime = every[0]
    if len(every) > 1:
        dynamic = [dim.name for dim in plan.program.dynamic]
        point = middle(dynamic, options)
        regime = min(every, key=lambda r: (at(r.cost.flops, point), at(r.cost.bytes, point)))
    needed = frozenset((*region.outputs, *plan.outputs, *later))
    layer = Layer(regime.steps, shapes, needed, options, plan.leaves)
    units = _units(layer)
    if all(unit.backend == "torch" for unit in units):
        reasons = "; ".join(dict.fromkeys(unit.group.reason for unit in units))
        return [replace(region, reason=reasons or region.reason)]
    regions = []
    parts = _ordered(layer, units)
    if len(every) > 1:  # kernels stand between torch regions, not inside a regime
        group = parts[0].group
        kept = f"of {len(every)} orders by size, that for middle sizes is kept"
        parts[0] = replace(parts[0], group=replace(group, reason=f"{group.reason}; {kept}"))
    for number, part in enumerate(parts):
        positions = (*part.group.copied, *part.group.steps)
        steps = tuple(regime.steps[k] for k in positions)
        outside = {s for k, g in enumerate(parts) if k != number
                   for p in (*g.group.copied, *g.group.steps)
                   for s in used(regime.steps[p])} | needed  # fmt: skip
        own = [slot for step in steps for slot in made(step)]
        outputs = tuple(
            slot for k in part.group.steps for slot in made(regime.steps[k]) if slot in outside
        )
        inputs = tuple(sorted({slot for step in steps for slot in used(step) if slot not in own}))
        spans = tuple(dict.fromkeys(span for step in steps for span in _spans(step)))
        paid = _cost(part.backend, steps, inputs, outputs, shapes, plan, options)
        regimes = (Regime(steps, (), paid),)
        regions.append(Region(inputs, outputs, regimes, part.backend, part.group.reason, spans))
    return regions


# --- who takes what ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Unit:
    """Steps that go together, and who computes them."""

    backend: str
    group: Group


def _units(layer: Layer) -> list[_Unit]:
    """A unit for every step, in the order of their first steps."""
    split = _Splitting(layer)
    for family in FAMILIES:
        split.ask(family)
    for k in range(len(layer.steps)):
        if k not in split.taken:
            split.taken[k] = _Unit("torch", Group((k,), split.reasons.get(k, "")))
    return list({id(unit): unit for _, unit in sorted(split.taken.items())}.values())


@dataclass(slots=True)
class _Splitting:
    layer: Layer
    taken: dict[int, _Unit] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    """Why torch computes a step, as the first family said that knows it."""

    def ask(self, family: Family) -> None:
        """Form the groups of a family, keep those that it keeps."""
        layer = self.layer
        groups: dict[int, Members] = {}
        for k in range(len(layer.steps)):
            if k in self.taken or k in groups:
                continue
            own = list(dict.fromkeys(groups[s] for s in layer.sources[k] if s in groups))
            offers = family.offers(layer, k, own)
            if isinstance(offers, str):
                self._refuse(k, offers)
                continue
            for members in offers:
                free = not any(m in self.taken for m in members)
                if free and not self._reaches_itself(members, groups):
                    groups.update(dict.fromkeys(members, members))
                    break
        for members in dict.fromkeys(groups.values()):
            group = family.judge(layer, members)
            if isinstance(group, str):
                for k in members:
                    self._refuse(k, group)
            else:
                unit = _Unit(family.backend, group)
                self.taken.update(dict.fromkeys(members, unit))

    def _refuse(self, k: int, reason: str) -> None:
        if reason:
            self.reasons.setdefault(k, reason)

    def _reaches_itself(self, members: Members, groups: Mapping[int, Members]) -> bool:
        """Whether a step outside lies on a path from the group to the group."""
        if len(members) == 1:
            return False
        inside = set(members)
        sources = self.layer.sources
        seen: set[int] = set()
        stack = [s for m in members for s in sources[m] if s not in inside]
        while stack:
            k = stack.pop()
            if k in seen:
                continue
            unit = self.taken.get(k)
            together = groups.get(k, (k,)) if unit is None else unit.group.steps
            for m in together:
                if m in inside:
                    continue  # of a group that joins this one
                seen.add(m)
                for source in sources[m]:
                    if source in inside:
                        return True
                    stack.append(source)
        return False


# --- order ---------------------------------------------------------------------------------------
def _ordered(layer: Layer, units: Sequence[_Unit]) -> list[_Unit]:
    """Units in a legal order, torch steps gathered."""
    number = {k: n for n, unit in enumerate(units) for k in unit.group.steps}
    sources: list[set[int]] = []
    for n, unit in enumerate(units):
        own, copied = unit.group.steps, unit.group.copied
        reads = [s for k in own for s in layer.sources[k] if s not in copied]
        reads += [s for k in copied for s in layer.sources[k]]
        sources.append({number[s] for s in reads} - {n})
    wanted = _alive(layer, units, sources)
    done: set[int] = set()
    out: list[_Unit] = []
    left = [n for n in range(len(units)) if n in wanted]
    while left:
        ready = [n for n in left if sources[n] <= done]
        assert ready, "a cycle of regions"
        torch = [n for n in ready if units[n].backend == "torch"]
        n = torch[0] if torch else ready[0]
        if torch and out and out[-1].backend == "torch":
            before, group = out[-1].group, units[n].group
            reasons = "; ".join(dict.fromkeys((*before.reason.split("; "), group.reason)))
            steps = tuple(sorted((*before.steps, *group.steps)))
            out[-1] = _Unit("torch", Group(steps, reasons))
        else:
            out.append(units[n])
        done.add(n)
        left.remove(n)
    return out


def _alive(layer: Layer, units: Sequence[_Unit], sources: Sequence[set[int]]) -> set[int]:
    """Units whose values somebody reads, conditions that only kernels copy left out."""
    stack = [
        n
        for n, unit in enumerate(units)
        if any(slot in layer.needed for k in unit.group.steps for slot in made(layer.steps[k]))
    ]
    alive: set[int] = set()
    while stack:
        n = stack.pop()
        if n not in alive:
            alive.add(n)
            stack.extend(sources[n])
    return alive


# --- words and costs -----------------------------------------------------------------------------
def _spans(step: AnyStep) -> tuple[Span, ...]:
    match step:
        case Step(spans=spans) | AttentionStep(spans=spans):
            return spans
    return tuple(span for projection in step.projections for span in projection.spans)


def _cost(
    backend: str,
    steps: Sequence[AnyStep],
    inputs: Sequence[Slot],
    outputs: Sequence[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    plan: Plan,
    options: Options,
) -> Cost:
    """As the steps cost; a kernel moves and holds its inputs and outputs only."""
    point = middle([dim.name for dim in plan.program.dynamic], options)
    if backend == "torch":
        stays = saved(steps, inputs, plan.params, plan.program, shapes)
        return replace(cost(steps, inputs, outputs, shapes, point), saved_bytes=stays)
    ends = add(held_bytes(slot, shapes) for slot in (*inputs, *outputs))
    return Cost(add(flops(step) for step in steps), ends, ends, ends)
