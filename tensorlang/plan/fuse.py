"""Splits a planned layer into regions: attention kernels (K1), fused rows (K5), the rest torch.

Each region says why it is what it is. The order of steps inside a region stays; regions are in an
order in which every value is made before it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.cost import add
from tensorlang.ir.nodes import App, Arg, At, Lit, Pointwise, Read, Scalar
from tensorlang.ir.reads import leaves
from tensorlang.options import Options
from tensorlang.order.grid import middle
from tensorlang.plan.cost import at, cost, flops, held_bytes, made, used
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
from tensorlang.plan.rows import alone, operations, space
from tensorlang.plan.saved import saved
from tensorlang.plan.slots import typed_shapes
from tensorlang.size import Size
from tensorlang.source import Span

WIDEST_HEAD = 128
MOST_STEPS = 24

COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
CONDITIONS = COMPARISONS | {"and", "or", "not", "add", "neg", "mul"}


def fuse(plan: Plan, options: Options) -> Plan:
    """The plan with its torch regions split into regions of torch, K1 and K5."""
    shapes = typed_shapes(plan)
    regions: list[Region] = []
    for number, region in enumerate(plan.regions):
        later = {slot for after in plan.regions[number + 1 :] for slot in after.inputs}
        if region.backend == "torch":
            regions.extend(_split(plan, region, later, shapes, options))
        else:
            regions.append(region)
    return replace(plan, regions=tuple(regions))


def attention_problem(step: AttentionStep) -> str | None:
    """Why an attention is not for K1; None if it is."""
    a = step.attention
    if len(a.key) != 1:
        return f"a softmax over {len(a.key)} key indices is not for the order-2 kernel"
    if len(a.query) != 1 or len(a.feature) != 1 or len(a.value) != 1:
        return "more than one query, feature or value index"
    widths = [a.sizes[a.feature[0]], a.sizes[a.value[0]]]
    if not all(isinstance(width, int) for width in widths):
        return "the head size is known at the call only"
    if any(isinstance(width, int) and width > WIDEST_HEAD for width in widths):
        return f"heads wider than {WIDEST_HEAD}"
    if a.bias is not None:
        return "an additive bias stays with torch"
    for read in (a.q, a.k, a.v, *(() if a.mask is None else (a.mask,))):
        if not simple(read):
            return "operands are read at computed positions"
    return None


def simple(read: Read) -> bool:
    indices = [s.index for s in read.subscripts if isinstance(s, At)]
    return read.fill is None and len(indices) == len(read.subscripts) == len(set(indices))


def is_condition(step: AnyStep) -> bool:
    """A step that a kernel can evaluate per cell in place of reading a mask."""
    if not (isinstance(step, Step) and isinstance(step.node.op, Pointwise)):
        return False
    if step.node.dtype is not Dtype.BOOL or not all(simple(read) for read in step.node.reads):
        return False
    return _is_condition(step.node.op.expr)


def _is_condition(expr: Scalar) -> bool:
    if not isinstance(expr, App):
        return not (isinstance(expr, Lit) and isinstance(expr.value, complex))
    if expr.dtype not in (Dtype.BOOL, Dtype.INT) or expr.function not in CONDITIONS:
        return False
    return all(_is_condition(arg) for arg in expr.args)


# --- units ---------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Unit:
    """Positions of steps that go together."""

    steps: list[int]
    backend: str
    reason: str


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
    splitter = _Splitter(regime.steps, shapes, frozenset((*region.outputs, *plan.outputs, *later)))
    units = splitter.units()
    if all(unit.backend == "torch" for unit in units):
        reasons = "; ".join(dict.fromkeys(unit.reason for unit in units))
        return [replace(region, reason=reasons or region.reason)]
    regions = []
    groups = splitter.regions(units)
    if len(every) > 1:  # kernels stand between torch regions, not inside a regime
        backend, reason, positions, copied = groups[0]
        kept = f"of {len(every)} orders by size, that for middle sizes is kept"
        groups[0] = (backend, f"{reason}; {kept}", positions, copied)
    for number, (backend, reason, positions, copied) in enumerate(groups):
        steps = tuple(regime.steps[k] for k in (*copied, *positions))
        outside = {s for k, g in enumerate(groups) if k != number for p in (*g[3], *g[2])
                   for s in used(regime.steps[p])}  # fmt: skip
        outside |= splitter.needed
        own = [slot for step in steps for slot in made(step)]
        outputs = tuple(
            slot for k in positions for slot in made(regime.steps[k]) if slot in outside
        )
        inputs = tuple(sorted({slot for step in steps for slot in used(step) if slot not in own}))
        spans = tuple(dict.fromkeys(span for step in steps for span in _spans(step)))
        paid = _cost(backend, steps, inputs, outputs, shapes, plan, options)
        regions.append(Region(inputs, outputs, (Regime(steps, (), paid),), backend, reason, spans))
    return regions


class _Splitter:
    def __init__(
        self,
        steps: Sequence[AnyStep],
        shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
        needed: frozenset[Slot],
    ) -> None:
        self.steps = steps
        self.shapes = shapes
        self.needed = needed
        self.maker = {slot: k for k, step in enumerate(steps) for slot in made(step)}
        self.readers: dict[Slot, list[int]] = {}
        for k, step in enumerate(steps):
            for slot in dict.fromkeys(used(step)):
                self.readers.setdefault(slot, []).append(k)
        self.sources = [
            sorted({self.maker[slot] for slot in used(step) if slot in self.maker})
            for step in steps
        ]
        self.unit_of: dict[int, _Unit] = {}

    def units(self) -> list[_Unit]:
        """A unit for every step, in the order of their first steps."""
        for k, step in enumerate(self.steps):
            if isinstance(step, AttentionStep):
                problem = attention_problem(step)
                if problem is None:
                    self._unit([k], "K1", _attention_reason(self._condition(step), step))
                else:
                    self._unit([k], "torch", f"attention: {problem}")
            elif isinstance(step, Step):
                problem = alone(step)
                if problem is None:
                    self._grow(k)
                else:
                    self._unit([k], "torch", problem)
            else:
                self._unit([k], "torch", "matrix products stay with torch (cuBLAS)")
        for unit in self._all():
            if unit.backend == "K5":
                self._judge(unit)
        return self._all()

    def _all(self) -> list[_Unit]:
        return list({id(unit): unit for _, unit in sorted(self.unit_of.items())}.values())

    def _unit(self, steps: list[int], backend: str, reason: str) -> None:
        unit = _Unit(steps, backend, reason)
        for k in steps:
            self.unit_of[k] = unit

    def _condition(self, step: AttentionStep) -> Step | None:
        mask = step.attention.mask
        if mask is None or mask.node not in self.maker:
            return None
        maker = self.steps[self.maker[mask.node]]
        return maker if isinstance(maker, Step) and is_condition(maker) else None

    # --- rows ---
    def _grow(self, k: int) -> None:
        """Join the groups that a step reads where that is legal, else open one."""
        groups = [
            self.unit_of[source]
            for source in self.sources[k]
            if self.unit_of[source].backend == "K5"
        ]
        groups = list({id(unit): unit for unit in groups}.values())
        for size in range(len(groups), 0, -1):
            # all that it reads, else the largest
            chosen = sorted(groups, key=lambda unit: (-len(unit.steps), unit.steps))[:size]
            members = sorted({k, *(m for unit in chosen for m in unit.steps)})
            if self._legal(members):
                self._unit(members, "K5", "")
                return
        self._unit([k], "K5", "")

    def _legal(self, members: list[int]) -> bool:
        if len(members) > MOST_STEPS or self._reaches_itself(members):
            return False
        return not isinstance(space(self._taken(members), self._wanted(members)), str)

    def _taken(self, members: Sequence[int]) -> list[Step]:
        return [step for step in (self.steps[m] for m in members) if isinstance(step, Step)]

    def _wanted(self, members: Sequence[int]) -> frozenset[Slot]:
        """Values that others read. The last one may be read by steps that come later."""
        inside = set(members)
        last = self._taken(members)[-1].out
        return frozenset(
            step.out
            for m in members
            for step in self._taken([m])
            if step.out in self.needed
            or step.out == last
            or any(r not in inside and r <= members[-1] for r in self.readers.get(step.out, []))
        )

    def _reaches_itself(self, members: list[int]) -> bool:
        """Whether a step outside lies on a path from the group to the group."""
        inside = set(members)
        first = members[0]
        seen: set[int] = set()
        stack = [s for m in members for s in self.sources[m] if s not in inside]
        while stack:
            k = stack.pop()
            if k in seen:
                continue
            seen.add(k)
            unit = self.unit_of[k]
            together = [m for m in unit.steps if m not in inside]
            if max(together, default=k) < first:
                continue
            for m in together:
                seen.add(m)
                for source in self.sources[m]:
                    if source in inside:
                        return True
                    stack.append(source)
        return False

    def _judge(self, unit: _Unit) -> None:
        """Keep a group if it saves memory traffic and its results can be stored."""
        steps = self._taken(unit.steps)
        inside = set(unit.steps)
        wanted = frozenset(
            step.out
            for step in steps
            if step.out in self.needed
            or any(reader not in inside for reader in self.readers.get(step.out, []))
        )
        where = space(steps, wanted)
        count = sum(operations(step) for step in steps)
        outside = {r.node for step in steps for r in step.node.reads} - {s.out for s in steps}
        real = any(self.shapes[slot][1] is Dtype.REAL for slot in outside)
        if isinstance(where, str):
            unit.backend, unit.reason = "torch", where
        elif not real:
            unit.backend, unit.reason = "torch", "it reads no real tensor"
        elif count < 2:
            unit.backend, unit.reason = "torch", "one pass over memory already, nothing to fuse"
        else:
            kind = "row reductions and pointwise operations" if where.reduces else "operations"
            unit.backend = "K5"
            unit.reason = f"{count} {kind} in one pass over memory"

    # --- order ---
    def regions(self, units: list[_Unit]) -> list[tuple[str, str, list[int], list[int]]]:
        """(backend, reason, steps, steps copied in) in a legal order, torch steps gathered."""
        unit_number = {k: n for n, unit in enumerate(units) for k in unit.steps}
        copied: list[list[int]] = [[] for _ in units]
        sources: list[set[int]] = []
        for n, unit in enumerate(units):
            reads = [s for k in unit.steps for s in self.sources[k]]
            if unit.backend == "K1":
                reads = []
                for k in unit.steps:
                    step = self.steps[k]
                    assert isinstance(step, AttentionStep), step
                    condition = self._condition(step)
                    for source in self.sources[k]:
                        if condition is not None and self.steps[source] is condition:
                            copied[n].append(source)
                            reads.extend(self.sources[source])
                        else:
                            reads.append(source)
            sources.append({unit_number[s] for s in reads} - {n})
        wanted = self._alive(units, sources)
        done: set[int] = set()
        out: list[tuple[str, str, list[int], list[int]]] = []
        left = [n for n in range(len(units)) if n in wanted]
        while left:
            ready = [n for n in left if sources[n] <= done]
            assert ready, "a cycle of regions"
            torch = [n for n in ready if units[n].backend == "torch"]
            if torch:
                n = torch[0]
                reason = units[n].reason
                if out and out[-1][0] == "torch":
                    before = out[-1]
                    reasons = dict.fromkeys((*before[1].split("; "), reason))
                    out[-1] = ("torch", "; ".join(reasons), before[2] + units[n].steps, [])
                else:
                    out.append(("torch", reason, list(units[n].steps), []))
            else:
                n = ready[0]
                out.append((units[n].backend, units[n].reason, list(units[n].steps), copied[n]))
            done.add(n)
            left.remove(n)
        return [(b, r, sorted(s) if b == "torch" else s, c) for b, r, s, c in out]

    def _alive(self, units: list[_Unit], sources: list[set[int]]) -> set[int]:
        """Units whose values somebody reads, conditions that only kernels copy left out."""
        stack = [
            n
            for n, unit in enumerate(units)
            if any(slot in self.needed for k in unit.steps for slot in made(self.steps[k]))
        ]
        alive: set[int] = set()
        while stack:
            n = stack.pop()
            if n not in alive:
                alive.add(n)
                stack.extend(sources[n])
        return alive


# --- words and costs -----------------------------------------------------------------------------
def _attention_reason(condition: Step | None, step: AttentionStep) -> str:
    saved = "softmax and both products in one kernel, the logits are never stored"
    if step.attention.mask is None:
        return f"attention: {saved}"
    if condition is None:
        return f"attention: {saved}; the mask is read per cell"
    reads = [leaf for leaf in leaves(_expr(condition)) if isinstance(leaf, Arg)]
    how = "read and computed" if reads else "computed from positions, blocks outside it skipped"
    return f"attention: {saved}; the mask is {how}"


def _expr(step: Step) -> Scalar:
    assert isinstance(step.node.op, Pointwise), step
    return step.node.op.expr


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
