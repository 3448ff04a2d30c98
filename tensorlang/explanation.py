"""What was planned for a layer and why: costs at given sizes, steps, regions, rewrites, the graph.

Costs are those that the planner put down; this module adds them up over sub-layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import sympy

from tensorlang.check.program import Input, Program
from tensorlang.driver import Compiled, Stages
from tensorlang.explanation_text import to_text
from tensorlang.ir.nodes import Call, Contract
from tensorlang.ir.svg import to_svg
from tensorlang.plan.cost import flops as step_flops
from tensorlang.plan.plan import AnyStep, Monomials, Plan, ProjectionsStep, Regime, Step
from tensorlang.requests import BadRequest, BadShape
from tensorlang.size import Size
from tensorlang.source import Span

Sizes = Mapping[str, Size]
Count: TypeAlias = int | sympy.Expr


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
    stages = compiled.stages[compiled.roots[layer], ""]
    sizes = bind_shapes(stages.program, shapes) if shapes else None
    return Explanation(compiled, layer, stages, sizes)


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


# --- one plan's numbers ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Row:
    """One planned step: what it makes, its cost and the lines it computes."""

    name: str
    flops: Count
    lines: tuple[int, ...]
    backend: str


class Explanation:
    """The plan of one layer at given sizes; print it, or take `.to_dict()` or `.to_svg()`."""

    def __init__(
        self, compiled: Compiled, layer: str, stages: Stages, sizes: Mapping[str, int] | None
    ) -> None:
        self.compiled = compiled
        self.layer = layer
        self.stages = stages
        self.sizes = sizes

    @cached_property
    def _scope(self) -> _Scope:
        dynamic = self.stages.program.dynamic
        sizes: dict[str, Size] = {dim.name: dim.size for dim in dynamic}
        return _Scope(self.stages.plan, {**sizes, **(self.sizes or {})})

    @cached_property
    def totals(self) -> dict[str, Count]:
        """flops, bytes and peak_bytes, sub-layers included."""
        return _totals(self.compiled, self.compiled.roots[self.layer], "", self._scope.sizes)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The steps of the layer itself, in order."""
        rows = []
        for region in self.stages.plan.regions:
            for step in self._scope.regime(region.regimes).steps:
                cost = self._scope.value(step_flops(step))
                rows.append(Row(_name(step), cost, lines(_spans(step)), region.backend))
        return tuple(rows)

    @property
    def parameters(self) -> int:
        return count_parameters(self.stages.program)

    def to_dict(self) -> dict[str, Any]:
        """The facts as data: flops (2 per multiply-add), bytes, peak_bytes (float32), parameters, …

        Numbers where shapes were given, polynomials in the dynamic sizes as text where not.
        """
        return {
            "layer": self.layer,
            "sizes": dict(self.sizes) if self.sizes else None,
            "parameters": self.parameters,
            **{name: _plain(count) for name, count in self.totals.items()},
            "regions": [
                {"backend": region.backend, "reason": region.reason, "lines": lines(region.spans)}
                for region in self.stages.plan.regions
            ],
            "contractions": list(self._contractions()),
            "rewrites": [
                {"rule": rule.rule, "what": rule.what, "lines": lines(rule.spans)}
                for rule in self.stages.applied
            ],
        }

    def _contractions(self) -> Iterator[dict[str, Any]]:
        for region in self.stages.plan.regions:
            for step in self._scope.regime(region.regimes).steps:
                if isinstance(step, Step) and not isinstance(step.node.op, Contract):
                    continue
                yield {
                    "span": [f"{s.source.path}:{s.line}:{s.column}" for s in _spans(step)],
                    "tree": _name(step),
                    "flops": _plain(self._scope.value(step_flops(step))),
                }

    def to_svg(self) -> str:
        """The rewritten graph as one SVG."""
        return to_svg(self.stages.rewritten)

    def __str__(self) -> str:
        return to_text(self)


@dataclass(frozen=True)
class _Scope:
    """A plan with values (or symbols of the root layer) for its dynamic sizes."""

    plan: Plan
    sizes: Sizes

    def value(self, cost: Monomials) -> Count:
        total: Count = 0
        for monomial, coefficient in cost.items():
            term: Count = coefficient
            for name, power in monomial:
                term = term * self._named(name) ** power
            total = total + term
        return total if isinstance(total, int) else sympy.expand(total)

    def _named(self, name: str) -> Count:
        if name in self.sizes:
            return self.sizes[name]
        return self.size(self._opaque[name])

    @cached_property
    def _opaque(self) -> dict[str, sympy.Expr]:
        """Sizes that are no polynomials, by the text that names them in costs."""
        found = {}
        for shape in self.plan.shapes.values():
            for size in shape:
                if isinstance(size, sympy.Expr):
                    found.update({str(part): part for part in sympy.preorder_traversal(size)})
        return found

    def size(self, size: Size) -> Count:
        if isinstance(size, int):
            return size
        known = {symbol: self.sizes[symbol.name] for symbol in size.free_symbols}
        value = size.subs(known)
        return int(value) if value.is_Integer else value

    def regime(self, regimes: Sequence[Regime]) -> Regime:
        """The first whose thresholds hold; the last one where the sizes are not known."""
        for regime in regimes:
            values = [self.value(dict(threshold.form)) for threshold in regime.thresholds]
            if all(isinstance(value, int) and value >= 0 for value in values):
                return regime
        return regimes[-1]


def _totals(compiled: Compiled, name: str, signature: str, sizes: Sizes) -> dict[str, Count]:
    scope = _Scope(compiled.stages[name, signature].plan, sizes)
    flops: Count = 0
    moved: Count = 0
    peaks: list[Count] = [0]
    for region in scope.plan.regions:
        regime = scope.regime(region.regimes)
        flops, moved = (
            flops + scope.value(regime.cost.flops),
            moved + scope.value(regime.cost.bytes),
        )
        peaks.append(scope.value(regime.cost.peak_bytes))
        for step in regime.steps:
            if (
                isinstance(step, Step)
                and isinstance(step.node.op, Call)
                and not step.node.op.output
            ):
                inner = _call_totals(compiled, name, step.node.op, step, scope)
                flops, moved = flops + inner["flops"], moved + inner["bytes"]
                peaks.append(inner["peak_bytes"])
    return {"flops": flops, "bytes": moved, "peak_bytes": _largest(peaks)}


def _call_totals(
    compiled: Compiled, caller: str, call: Call, step: Step, scope: _Scope
) -> dict[str, Count]:
    (unit,) = (unit for unit in compiled.units if unit.class_name == caller)
    ((_, callee, stages),) = (sub for sub in unit.subs if sub[0] == call.sub)
    program = compiled.stages[callee, call.signature].program
    sizes: dict[str, Size] = {}
    for given, read in zip(program.inputs, step.node.reads, strict=True):
        for axis, size in zip(given.axes, scope.plan.shapes[read.node], strict=True):
            if isinstance(axis.size, sympy.Symbol):
                sizes[axis.size.name] = scope.size(size)
    inner = _totals(compiled, callee, call.signature, sizes)
    times = 1 if stages is None else stages
    return {**inner, "flops": inner["flops"] * times, "bytes": inner["bytes"] * times}


def _largest(counts: Sequence[Count]) -> Count:
    numbers = [count for count in counts if isinstance(count, int)]
    others = [count for count in counts if not isinstance(count, int)]
    return max(numbers) if not others else sympy.Max(*counts)


def count_parameters(program: Program) -> int:
    """Number of parameters, those of sub-layers included."""
    own = 0
    for param in program.params:
        count = 1
        for axis in param.axes:
            count *= int(axis.size)
        own += count
    subs = ((count_parameters(sub.program), sub.count) for sub in program.subs)
    return own + sum(inner * (1 if count is None else count) for inner, count in subs)


def lines(spans: Sequence[Span]) -> tuple[int, ...]:
    """Line numbers, in order, once each."""
    return tuple(sorted({span.line for span in spans}))


def _name(step: AnyStep) -> str:
    if isinstance(step, ProjectionsStep):
        return ", ".join(projection.name for projection in step.projections)
    return step.name


def _spans(step: AnyStep) -> tuple[Span, ...]:
    if isinstance(step, ProjectionsStep):
        return tuple(span for projection in step.projections for span in projection.spans)
    return step.spans


def _plain(count: Count) -> int | str:
    return count if isinstance(count, int) else str(count)
