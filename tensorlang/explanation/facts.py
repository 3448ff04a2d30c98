"""Everything that is said of a planned layer, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tensorlang.check.program import Program
from tensorlang.driver import Stages
from tensorlang.explanation.costs import Count, Scope, Totals, count_parameters
from tensorlang.explanation.data import to_dict
from tensorlang.explanation.page import to_page
from tensorlang.explanation.places import lines_of, spans_of
from tensorlang.explanation.products import Contraction, contractions
from tensorlang.explanation.regimes import Choice, choices, flips
from tensorlang.explanation.terminal import to_rich
from tensorlang.explanation.text import to_text
from tensorlang.explanation.words import how, slot_names, step_name
from tensorlang.ir.nodes import Call
from tensorlang.ir.svg import to_svg
from tensorlang.plan.plan import AnyStep, AttentionStep, ProjectionsStep, Region, Step
from tensorlang.plan.rows import alone
from tensorlang.source import Span

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Row:
    """One planned step: what it defines, how it is computed, what that costs, which lines it is.

    A call's cost is the sub-layer's. `bytes` is None inside a kernel: values stay on the chip.
    `why` tells the steps of a region apart that is not fused for several reasons.
    """

    name: str
    how: str
    why: str
    flops: Count
    bytes: Count | None
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A region: the steps that one backend runs in one go, and why it does.

    `flips`: sizes at which another of its plans is taken, in calls that keep weights `kept_flips`.
    """

    backend: str
    reason: str
    flops: Count
    bytes: Count
    rows: tuple[Row, ...]
    regimes: tuple[Choice, ...]
    flips: tuple[str, ...]
    kept_flips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A key of the layer's state_dict; of a sub-layer (one per class), its total."""

    name: str
    shape: str
    count: int
    initial: str


class Explanation:
    """The plan of one layer at given sizes; print it, or take `.to_dict()` or `.to_svg()`.

    `calls` says from where a sub-layer is called; "" for the layer that was asked for.
    """

    def __init__(self, scope: Scope, calls: str = "") -> None:
        self.scope = scope
        self.calls = calls

    @property
    def layer(self) -> str:
        return self.program.layer

    @property
    def program(self) -> Program:
        return self.scope.program

    @property
    def stages(self) -> Stages:
        return self.scope.compiled.stages[self.scope.class_name, self.scope.signature]

    @property
    def target(self) -> str:
        return self.scope.compiled.options.target

    @property
    def totals(self) -> Totals:
        """FLOPs, bytes and peak bytes, sub-layers included."""
        return self.scope.totals

    @property
    def memory(self) -> str | None:
        """Whether the peak keeps to the bound that was asked for; None if none was."""
        limit = self.scope.compiled.options.memory
        if limit is None:
            return None
        peak = self.totals.peak_bytes
        if not isinstance(peak, int):
            return f"at most {limit:,} B asked for; give sizes to see whether it holds"
        if peak <= limit:
            return f"at most {limit:,} B asked for: holds"
        return f"at most {limit:,} B asked for: exceeded, nothing that was found needs less"

    @property
    def parameters(self) -> int:
        return count_parameters(self.program)

    @cached_property
    def sizes(self) -> dict[str, Count]:
        """Every dim that the layer names: numbers, or expressions where only a call knows them."""
        return {dim.name: self.scope.size(dim.size) for dim in self.program.dims}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The regions in order, with their steps."""
        return tuple(self._part(region) for region in self.stages.plan.regions)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The steps of the layer itself, in order."""
        return tuple(row for part in self.parts for row in part.rows)

    @cached_property
    def contractions(self) -> tuple[Contraction, ...]:
        """Every product of two or more tensors with the order in which it is contracted."""
        return self.orders(kept=False)

    def orders(self, kept: bool) -> tuple[Contraction, ...]:
        """The same in calls that keep what is made of parameters alone, or in others."""
        regions = self.stages.plan.regions
        steps = [step for r in regions for step in self.scope.regime(r.regimes, kept).steps]
        return self._trees(steps)

    @cached_property
    def parameter_table(self) -> tuple[Parameter, ...]:
        own = [
            Parameter(
                param.name,
                f"[{', '.join(_axis(axis.indices) for axis in param.axes)}]",
                _product(int(axis.size) for axis in param.axes),
                _initial(param.initialiser.name, param.initialiser.args, param.frozen),
            )
            for param in self.program.params
        ]
        subs = [
            Parameter(
                sub.name,
                "" if sub.count is None else f"{sub.count} stages",
                count_parameters(sub.program) * (1 if sub.count is None else sub.count),
                f"sub-layer {sub.layer}",
            )
            for sub in self.program.subs
        ]
        return (*own, *subs)

    @cached_property
    def sub_layers(self) -> tuple[Explanation, ...]:
        """The layers that this one calls, once per class and axes, at the sizes of a first call."""
        found: dict[tuple[str, str], Explanation] = {}
        for step in self._steps():
            if isinstance(step, Step) and isinstance(step.node.op, Call):
                inner, _ = self.scope.callee(step)
                key = (inner.class_name, inner.signature)
                if key not in found:
                    lines = ", ".join(map(str, lines_of(step.spans)))
                    found[key] = Explanation(inner, f"{step.node.op.sub}, line {lines}")
        for explanation in list(found.values()):
            for inner_one in explanation.sub_layers:
                found.setdefault((inner_one.scope.class_name, inner_one.scope.signature), inner_one)
        return tuple(found.values())

    # --- forms ---
    def to_dict(self) -> dict[str, Any]:
        """The facts as data: flops (2 per multiply-add), bytes, peak_bytes (float32), parameters, …

        Numbers where the sizes are known, polynomials in the dynamic sizes as text where not.
        """
        return to_dict(self)

    def to_svg(self) -> str:
        """The rewritten graph as one SVG."""
        return to_svg(self.stages.rewritten)

    def to_html(self) -> str:
        """A page of its own, with the layers that it calls."""
        return to_page([self])

    def __str__(self) -> str:
        return to_text(self)

    def __rich__(self) -> RenderableType:
        return to_rich(self)

    # --- parts ---
    def _steps(self) -> Iterator[AnyStep]:
        for region in self.stages.plan.regions:
            yield from self.scope.regime(region.regimes).steps

    @cached_property
    def _names(self) -> dict[int, str]:
        return slot_names(self.stages.plan)

    def _part(self, region: Region) -> Part:
        regime = self.scope.regime(region.regimes)
        fused = region.backend != "torch"
        rows = []
        flops, bytes_ = self.scope.value(regime.cost.flops), self.scope.value(regime.cost.bytes)
        for step in regime.steps:
            cost = self.scope.step(step)
            if isinstance(step, Step) and isinstance(step.node.op, Call):
                flops, bytes_ = flops + cost.flops, bytes_ + cost.bytes
            moved = None if fused else cost.bytes
            words = how(step, self.scope, self._names)
            why = _why(step, region.reason.split("; "))
            rows.append(Row(step_name(step), words, why, cost.flops, moved, spans_of(step)))
        return Part(
            region.backend,
            region.reason,
            flops,
            bytes_,
            tuple(rows),
            choices(self.scope, region, self._trees),
            flips(self.scope, region, kept=False),
            flips(self.scope, region, kept=True),
        )

    def _trees(self, steps: Sequence[AnyStep]) -> tuple[Contraction, ...]:
        return contractions(self.scope, steps, self.stages.plan.outputs, self._names)


# --- pieces ---------------------------------------------------------------------------------------
def _why(step: AnyStep, reasons: Sequence[str]) -> str:
    """Which of a region's reasons is that of a step."""
    if len(reasons) == 1:
        return ""
    match step:
        case ProjectionsStep():
            found = next((reason for reason in reasons if "matrix products" in reason), None)
        case AttentionStep():
            found = next((reason for reason in reasons if reason.startswith("attention")), None)
        case Step():
            found = alone(step) or next((r for r in reasons if "nothing to fuse" in r), None)
    return found if found is not None and found in reasons else ""


def _axis(indices: Sequence[Any]) -> str:
    names = " ".join(index.name for index in indices)
    return f"({names})" if len(indices) > 1 else names


def _initial(name: str, args: Sequence[tuple[str, bool | int | float]], frozen: bool) -> str:
    shown = ", ".join(
        f"{key} = {value:.6g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in args
    )
    text = f"{name}({shown})" if shown else name
    return f"{text}, frozen" if frozen else text


def _product(counts: Iterator[int]) -> int:
    out = 1
    for count in counts:
        out *= count
    return out
