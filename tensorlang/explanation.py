"""What was planned for a layer and why: costs at given sizes, steps, regions, rewrites, the graph.

`explanation_costs` adds up, `explanation_words` says how, `explanation_text` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tensorlang.check.program import Input, Program
from tensorlang.driver import Compiled, Stages
from tensorlang.explanation_costs import Count, Scope, Totals, count_parameters
from tensorlang.explanation_products import Contraction, contractions
from tensorlang.explanation_text import to_rich, to_text
from tensorlang.explanation_words import count_text, how, slot_names, step_name
from tensorlang.ir.nodes import Call
from tensorlang.ir.svg import to_svg
from tensorlang.plan.fuse import attention_problem
from tensorlang.plan.plan import AnyStep, AttentionStep, ProjectionsStep, Region, Step
from tensorlang.plan.rows import alone
from tensorlang.plan.text import threshold_text
from tensorlang.requests import BadRequest, BadShape
from tensorlang.size import Size
from tensorlang.source import Span

if TYPE_CHECKING:
    from rich.console import RenderableType


def explain(layer: object, **shapes: Sequence[int]) -> Explanation:
    """Explain a loaded layer (or its class) at the given input shapes.

    `explain(layer, X=(2, 64, 64, 128))` evaluates the costs at those sizes; without shapes they are
    polynomials in the dynamic sizes. Raises TypeError for what is no layer or no input of it,
    ValueError for shapes that do not fit.
    """
    compiled = getattr(layer, "_compiled", None)
    if not isinstance(compiled, Compiled):
        raise TypeError(f"{layer!r} is no layer loaded by tensorlang.load")
    (root,) = compiled.roots
    return explain_compiled(compiled, root, shapes)


def explain_compiled(
    compiled: Compiled, layer: str, shapes: Mapping[str, Sequence[int]] | None = None
) -> Explanation:
    """Explain one of the layers that were compiled together; shapes as in `explain`."""
    name = compiled.roots[layer]
    program = compiled.stages[name, ""].program
    given: Mapping[str, Size] = bind_shapes(program, shapes) if shapes else {}
    sizes: dict[str, Size] = {dim.name: dim.size for dim in program.dynamic}
    return Explanation(Scope(compiled, name, "", {**sizes, **given}))


def bind_shapes(program: Program, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sizes of the dynamic dims when the inputs have these shapes (`...` is any number of axes)."""
    known = {given.name: given for given in program.inputs}
    for name in shapes:
        if name not in known:
            raise BadRequest(f"{program.layer} has no input {name}; it has {', '.join(known)}")
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        for size, found, axis in zip(*_aligned(known[name], shape), strict=True):
            if not isinstance(size, int) and size.is_Symbol:
                if sizes.setdefault(size.name, found) != found:
                    other = sizes[size.name]
                    raise BadShape(f"{name}: axis {axis} has size {found}, another says {other}")
            elif isinstance(size, int) and size != found:
                raise BadShape(f"{name}: axis {axis} has size {found}, the layer has {size}")
    missing = [dim.name for dim in program.dynamic if dim.name not in sizes]
    if missing:
        raise BadShape(f"the given shapes leave {', '.join(missing)} open: give all inputs")
    return sizes


def _aligned(given: Input, shape: Sequence[int]) -> tuple[list[Any], list[int], list[str]]:
    names = [" ".join(index.name for index in axis.indices) for axis in given.axes]
    sizes = [axis.size for axis in given.axes]
    found = list(shape)
    for at, axis in enumerate(given.axes):
        if any(index.ellipsis for index in axis.indices):
            extra = len(found) - len(sizes) + 1
            if extra < 0:
                break
            batch = 1
            for size in found[at : at + extra]:
                batch *= size
            found[at : at + extra] = [batch]
    if len(found) != len(sizes):
        raise BadShape(f"{given.name} has axes [{', '.join(names)}], got shape {tuple(shape)}")
    return sizes, found, names


# --- the facts ------------------------------------------------------------------------------------
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
    """A region: the steps that one backend runs in one go, and why it does."""

    backend: str
    reason: str
    flops: Count
    bytes: Count
    rows: tuple[Row, ...]
    regimes: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several plans of a region: when it is taken, its cost and how it orders products."""

    when: str
    chosen: bool
    flops: Count
    trees: tuple[str, ...]


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
        return self._trees(tuple(self._steps()))

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
        return {
            "layer": self.layer,
            "target": self.target,
            "axes": self.scope.signature,
            "hyperparameters": {name: _data(value) for name, value in self.program.hypers},
            "sizes": {name: plain(size) for name, size in self.sizes.items()},
            "parameters": self.parameters,
            "flops": plain(self.totals.flops),
            "bytes": plain(self.totals.bytes),
            "peak_bytes": plain(self.totals.peak_bytes),
            "memory": self.memory,
            "parameter_table": [
                {"name": p.name, "shape": p.shape, "count": p.count, "initial": p.initial}
                for p in self.parameter_table
            ],
            "regions": [self._region(part) for part in self.parts],
            "contractions": [
                {
                    "name": c.name,
                    "span": [place(span) for span in c.spans],
                    "tree": c.tree,
                    "factors": c.factors,
                    "flops": plain(c.flops),
                    "naive_flops": plain(c.naive_flops),
                    "bytes": plain(c.bytes),
                }
                for c in self.contractions
            ],
            "rewrites": [
                {
                    "rule": rule.rule,
                    "what": rule.what,
                    "saved": rule.saved,
                    "lines": list(lines_of(rule.spans)),
                }
                for rule in self.stages.applied
            ],
            "sub_layers": [inner.to_dict() for inner in self.sub_layers] if not self.calls else [],
        }

    def to_svg(self) -> str:
        """The rewritten graph as one SVG."""
        return to_svg(self.stages.rewritten)

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
            region.backend, region.reason, flops, bytes_, tuple(rows), self._choices(region)
        )

    def _choices(self, region: Region) -> tuple[Choice, ...]:
        if len(region.regimes) == 1:
            return ()
        chosen = self.scope.regime(region.regimes)
        known = all(isinstance(size, int) for size in self.scope.sizes.values())
        return tuple(
            Choice(
                " and ".join(threshold_text(t) for t in regime.thresholds) or "otherwise",
                known and regime is chosen,
                self.scope.value(regime.cost.flops),
                tuple(
                    f"{found.name} = {found.tree}"
                    for found in self._trees(regime.steps)
                    if found.factors > 2
                ),
            )
            for regime in region.regimes
        )

    def _trees(self, steps: Sequence[AnyStep]) -> tuple[Contraction, ...]:
        return contractions(self.scope, steps, self.stages.plan.outputs, self._names)

    def _region(self, part: Part) -> dict[str, Any]:
        return {
            "backend": part.backend,
            "reason": part.reason,
            "flops": plain(part.flops),
            "bytes": plain(part.bytes),
            "lines": list(lines_of([span for row in part.rows for span in row.spans])),
            "steps": [
                {
                    "name": row.name,
                    "how": row.how,
                    "why": row.why,
                    "flops": plain(row.flops),
                    "bytes": None if row.bytes is None else plain(row.bytes),
                    "lines": list(lines_of(row.spans)),
                }
                for row in part.rows
            ],
            "regimes": [
                {
                    "when": choice.when,
                    "chosen": choice.chosen,
                    "flops": plain(choice.flops),
                    "trees": list(choice.trees),
                }
                for choice in part.regimes
            ],
        }


# --- pieces ---------------------------------------------------------------------------------------
def plain(count: Count) -> int | str:
    """A number, or a polynomial as text."""
    return count if isinstance(count, int) else count_text(count)


def place(span: Span) -> str:
    return f"{span.source.path}:{span.line}:{span.column}"


def lines_of(spans: Sequence[Span]) -> tuple[int, ...]:
    """Line numbers, in order, once each."""
    return tuple(sorted({span.line for span in spans}))


def spans_of(step: AnyStep) -> tuple[Span, ...]:
    if isinstance(step, ProjectionsStep):
        return tuple(span for projection in step.projections for span in projection.spans)
    return step.spans


def _why(step: AnyStep, reasons: Sequence[str]) -> str:
    """Which of a region's reasons is that of a step."""
    if len(reasons) == 1:
        return ""
    match step:
        case ProjectionsStep():
            found = next((reason for reason in reasons if "matrix products" in reason), None)
        case AttentionStep():
            found = f"attention: {attention_problem(step)}"
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


def _data(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_data(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)
