"""A plan as text: regions, regimes and their thresholds, one step a line with its cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from tensorlang.ir.cost import Monomials
from tensorlang.ir.cost import to_text as cost_text
from tensorlang.ir.nodes import Node
from tensorlang.ir.text import NodePrinter, letters, shape_text
from tensorlang.plan.cost import flops, made
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    Plan,
    ProjectionsStep,
    Regime,
    Slot,
    Step,
    Threshold,
)


def to_text(plan: Plan) -> str:
    """The plan, readable, the same for equal plans."""
    return "\n".join(_Printer(plan).lines()) + "\n"


def threshold_text(threshold: Threshold) -> str:
    """A threshold as a comparison, e.g. `b*n >= 4096`."""
    left: Monomials = {monomial: c for monomial, c in threshold.form if monomial}
    bound = -sum(c for monomial, c in threshold.form if not monomial)
    if left and all(c < 0 for c in left.values()):
        return f"{cost_text({m: -c for m, c in left.items()})} <= {-bound}"
    if not bound:
        less = {monomial: -c for monomial, c in left.items() if c < 0}
        more = {monomial: c for monomial, c in left.items() if c > 0}
        return f"{cost_text(more)} >= {cost_text(less)}"
    return f"{cost_text(left)} >= {bound}"


def when_text(regime: Regime) -> str:
    """When a regime is taken, those before it not being."""
    kept = {None: [], True: ["weights are kept"], False: ["weights are not kept"]}[regime.kept]
    here = " and ".join([*kept, *map(threshold_text, regime.thresholds)]) or "otherwise"
    if regime.if_kept is None or regime.if_kept == regime.thresholds:
        return here
    return f"{here} (weights are kept: {' and '.join(map(threshold_text, regime.if_kept))})"


class _Printer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names = slot_names(plan)
        self.nodes = NodePrinter(self.names.__getitem__)

    def lines(self) -> Iterator[str]:
        program = self.plan.program
        signature = f" ({program.signature})" if program.signature else ""
        yield f"plan of {program.layer}{signature}"
        for title, slots in (
            ("inputs", self.plan.inputs),
            ("params", [slot for _, slot in self.plan.params]),
            ("consts", [slot for _, slot, _ in self.plan.consts]),
        ):
            if slots:
                yield f"  {title}: " + ", ".join(self._declared(slot) for slot in slots)
        for number, region in enumerate(self.plan.regions):
            outputs = ", ".join(self.names[slot] for slot in region.outputs)
            yield f"region {number}: {region.backend} ({region.reason}) -> {outputs}"
            for regime in region.regimes:
                yield from self._regime(regime, len(region.regimes))

    def _regime(self, regime: Regime, count: int) -> Iterator[str]:
        if count > 1:
            when = when_text(regime)
            yield "  otherwise:" if when == "otherwise" else f"  when {when}:"
        for step in regime.steps:
            for line, note in self.step(step):
                yield f"    {line}  # {note}"
        yield f"    flops {cost_text(regime.cost.flops)}"
        yield f"    bytes {cost_text(regime.cost.bytes)}"
        yield f"    peak  {cost_text(regime.cost.peak_bytes)}"

    def _declared(self, slot: Slot) -> str:
        shown = f"{self.names[slot]}[{shape_text(self.plan.shapes.get(slot, ()))}]"
        order = self.plan.stored.get(slot)
        return shown if order is None else f"{shown} stored by {', '.join(letters(order))}"

    def step(self, step: AnyStep) -> Iterator[tuple[str, str]]:
        """Equations and what is said about them."""
        cost = f"{cost_text(flops(step))} flops"
        match step:
            case AttentionStep():
                yield f"{step.name} = {self._attention(step.attention)}", cost
            case ProjectionsStep(projections):
                for k, p in enumerate(projections):
                    note = cost if k == 0 else "in the same product"
                    yield f"{_left(p.name, p.node)} = {self.nodes.right(p.node)}", note
            case Step():
                yield f"{_left(step.name, step.node)} = {self.nodes.right(step.node)}", cost
            case _:
                assert_never(step)

    def _attention(self, a: Attention) -> str:
        parts = [f"{n}={self.nodes.read(r)}" for n, r in (("q", a.q), ("k", a.k), ("v", a.v))]
        if a.mask is not None:
            parts.append(f"mask={self.nodes.read(a.mask)}")
        if a.bias is not None:
            parts.append(f"bias={self.nodes.read(a.bias)}")
        keys, out = " ".join(letters(a.key)), " ".join(letters(a.out_axes))
        return f"attention[{keys} -> {out}]({', '.join(parts)}, scale={a.scale!r})"


def slot_names(plan: Plan) -> dict[Slot, str]:
    """The name of every slot, of inputs, params and consts too."""
    names: dict[Slot, str] = {}
    for slot, given in zip(plan.inputs, plan.program.inputs, strict=True):
        names[slot] = given.name
    names.update((slot, name) for name, slot in plan.params)
    names.update((slot, name) for name, slot, _ in plan.consts)
    for region in plan.regions:
        for regime in region.regimes:
            for step in regime.steps:
                if isinstance(step, ProjectionsStep):
                    names.update((p.out, p.name) for p in step.projections)
                else:
                    names.update((slot, step.name) for slot in made(step))
    return names


def _left(name: str, node: Node) -> str:
    return f"{name}[{', '.join(letters(range(node.rank)))}]"
