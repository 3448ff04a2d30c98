"""Regions and their regimes: branches on sizes, weights kept apart, code of other backends."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.home import home_of
from tensorlang.backends.torch.infinite import infinite
from tensorlang.backends.torch.kernel_indices import check_indices
from tensorlang.backends.torch.names import Names, comment_text, identifier, tuple_text
from tensorlang.backends.torch.operand import Value
from tensorlang.backends.torch.steps import Method, Steps, fresh_value
from tensorlang.dtype import Dtype
from tensorlang.order.grid import middle
from tensorlang.plan.cost import used
from tensorlang.plan.plan import (
    AnyStep,
    AttentionStep,
    Plan,
    ProjectionsStep,
    Regime,
    Region,
    Slot,
    Step,
    Threshold,
)
from tensorlang.plan.regimes import regime_at
from tensorlang.plan.weights import weight_steps
from tensorlang.size import Size


class Regions(Steps):
    """Prints the regions of a plan. `weights` names methods for what is of parameters alone."""

    def __init__(self, method: Method, plan: Plan, body: Body, weights: str = "") -> None:
        super().__init__(method, plan, body)
        self.weights = weights
        self.asked: tuple[str, str] | None = None  # variables: parameters, whether they are kept
        self.methods: list[str] = []
        self.named: set[str] = set()

    def region(self, region: Region) -> None:
        if region.backend != "torch" and self.method.foreign is not None:
            self._foreign(region)
            return
        if len(region.regimes) == 1:
            self.steps(region.regimes[0].steps, region.outputs)
            return
        self._regimes(region)

    def _regimes(self, region: Region) -> None:
        body = self.body
        made = [slot for slot in region.outputs if slot not in body.values]
        wanted = {slot: name for slot, name in _names_of(region.regimes[0]).items() if slot in made}
        body.results.update({slot: body.names.fresh(name) for slot, name in wanted.items()})
        dynamic = [dim.name for dim in self.plan.program.dynamic]
        middle_of = middle(dynamic, self.method.options)
        exported = region.regimes.index(regime_at(region.regimes, middle_of))
        self.asked = self._keeps(region.regimes)
        types: dict[Slot, Dtype] = {}
        for number, regime in enumerate(region.regimes):
            head = self._condition(regime, number, exported, len(region.regimes))
            with body.block(head):
                self.steps(regime.steps, region.outputs, regime.kept is not False)
                types = {slot: body.values[slot].dtype for slot in made}
        for slot in made:
            shape = tuple(self.plan.shapes[slot])
            body.values[slot] = fresh_value(body.results[slot], shape, types[slot])

    def _keeps(self, regimes: Sequence[Regime]) -> tuple[str, str] | None:
        """Variables for the parameters and for whether this call keeps weights, if one asks."""
        if not any(regime.asks for regime in regimes):
            return None
        body, found = (
            self.body,
            dict.fromkeys(
                slot for regime in regimes for slot in self._weight_steps(regime.steps)[1]
            ),
        )
        params, kept = body.names.fresh("params"), body.names.fresh("kept")
        body.line(f"{params} = {tuple_text(body.values[slot].text for slot in sorted(found))}")
        body.line(f"{kept} = {self.method.file.require('_keeps')}(self, {params})")
        return params, kept

    def _condition(self, regime: Regime, number: int, exported: int, count: int) -> str:
        kept = self.asked[1] if self.asked else ""
        if number == count - 1:
            return "else:"
        word = "if" if number == 0 else "elif"
        wanted = {None: [], True: [kept], False: [f"not {kept}"]}[regime.kept]
        both = zip(regime.thresholds, regime.when(kept=True), strict=True)
        tests = " and ".join([*wanted, *(self._threshold(t, k, kept) for t, k in both)])
        if regime.kept:  # never where anything is traced
            return f"{word} {tests}:"
        if number < exported:
            return f"{word} not torch.compiler.is_exporting() and {tests}:"
        if number == exported:
            tests = f"({tests})" if " and " in tests else tests
            return f"{word} torch.compiler.is_exporting() or {tests}:"
        return f"{word} {tests}:"

    def _threshold(self, threshold: Threshold, if_kept: Threshold, kept: str) -> str:
        """sum >= 0, the negative terms on the right; the bound by whether weights are kept."""
        sides: tuple[list[str], list[str]] = ([], [])
        bounds = dict(if_kept.form)
        for monomial, coefficient in threshold.form:
            if not monomial and bounds.get((), 0) != coefficient:
                other = abs(bounds.get((), 0))
                sides[coefficient < 0].append(f"({other} if {kept} else {abs(coefficient)})")
                continue
            factors = [str(abs(coefficient))] if abs(coefficient) != 1 or not monomial else []
            for symbol, power in monomial:
                name = self.body.symbol(symbol)
                factors.append(name if power == 1 else f"{name} ** {power}")
            sides[coefficient < 0].append(" * ".join(factors))
        left, right = (" + ".join(side) or "0" for side in sides)
        if right != "0" and (left.isdecimal() or left.startswith("(")):
            return f"{right} <= {left}"
        return f"{left} >= {right}"

    def _foreign(self, region: Region) -> None:
        """A region of another backend; its torch code goes to a function of the module."""
        body, file = self.body, self.method.file
        assert self.method.foreign is not None
        name = file.fresh(f"_{self.method.unit.class_name}_{_label(region)}")
        step_names = _names_of(region.regimes[0])
        covered = check_indices(body, region, self.plan.shapes, step_names)
        symbols = self._region_function(region, name, covered)
        for slot in region.outputs:
            step_name = step_names.get(slot, "value")
            fresh = body.names.fresh(step_name)
            shape = tuple(self.plan.shapes[slot])
            body.values[slot] = fresh_value(fresh, shape, _dtype_of(region.regimes[0], slot))
        self.infinite = infinite(region.regimes[0].steps, self.infinite)
        self.comments(region.spans)

        def value(slot: Slot) -> str:
            return body.values[slot].text

        def size(size: Size) -> str:
            return body.size_text(size)[0]

        plan, unit, variables = self.plan, self.method.unit, [body.symbols[s] for s in symbols]
        for line in self.method.foreign(region, plan, unit, value, size, name, variables):
            body.line(line) if "\n" not in line else body.lines.append(line)

    def _region_function(
        self, region: Region, name: str, covered: Sequence[tuple[Slot, Size]]
    ) -> list[str]:
        """Print the region's torch code as `name(inputs..., sizes...)`; returns the symbols.

        Index tensors that are `covered` have been checked against the sizes beside them.
        """
        outer = self.body
        names = Names(self.method.file.taken())
        inner = Body(self.method.file, names, indent=4, index_checks=outer.index_checks)
        inner.training = "training"
        arguments = []
        for slot in region.inputs:
            value = outer.values[slot]
            wanted = outer.source_names.get(slot) or value.text
            fresh = names.fresh(re.sub(r"\W", "_", wanted.removeprefix("self.")))
            inner.values[slot] = Value(fresh, value.shape, value.memory, value.dtype)
            inner.source_names[slot] = outer.source_names.get(slot, fresh)
            arguments.append(f"{fresh}: Tensor")
        first = next(iter(inner.values.values()), None)
        reals = [v for v in inner.values.values() if v.dtype is Dtype.REAL]
        inner.device = f"{first.text}.device" if first is not None else '"cpu"'
        inner.dtype = f"{reals[0].text}.dtype" if reals else "torch.get_default_dtype()"
        symbols = list(outer.symbols)
        for symbol in symbols:
            inner.symbols[symbol] = names.fresh(outer.symbols[symbol])
            arguments.append(f"{inner.symbols[symbol]}: int")
        inner.checked |= {
            f"{inner.values[slot].text}, {inner.size_text(size)[0]}" for slot, size in covered
        }
        other = Regions(self.method, self.plan, inner)
        other.infinite = self.infinite
        plain = Region(
            region.inputs, region.outputs, region.regimes, "torch", region.reason, region.spans
        )
        other.region(plain)
        results = [inner.values[slot].text for slot in region.outputs]
        inner.line(f"return {', '.join(results)}")
        kind = "Tensor" if len(results) == 1 else "tuple[Tensor, ...]"
        head = Body(self.method.file, names, indent=0)
        head.line(f"def {name}({', '.join(arguments)}) -> {kind}:")
        doc = f'    """{comment_text(region.backend)}: what the kernel computes, in torch."""'
        self.method.file.define("\n".join([*head.lines, doc, *tidied(inner.lines)]))
        return symbols

    def without_weights(
        self, steps: Sequence[AnyStep], outputs: Sequence[Slot]
    ) -> Sequence[AnyStep]:
        """Print the steps that read no input as a method of their own; gives the others."""
        found, params = self._weight_steps(steps)
        made = {step.out for step in found}
        others = [step for step in steps if not (isinstance(step, Step) and step.out in made)]
        wanted = {slot for step in others for slot in used(step)} | {*outputs, *self.plan.outputs}
        results = [step for step in found if step.out in wanted]
        if not results:
            return steps
        own = {param.name for param in self.plan.program.params}
        name = next(n for n in _numbered(self.weights) if n not in own | self.named)
        self.named.add(name)
        inner = Body(self.method.file, Names(self.method.file.taken()))
        inner.values = {
            slot: value for slot, value in self.body.values.items() if "self" in value.text
        }
        inner.source_names = dict(self.body.source_names)
        inner.device, inner.dtype = home_of([self.body.values[slot] for slot in params], inner)
        printer = Regions(self.method, self.plan, inner)
        printer.infinite = self.infinite
        printer.steps(found, [step.out for step in results])
        laid = [_laid_out(inner.values[step.out]) for step in results]
        texts = [value.text for value in laid]
        inner.line(f"return {', '.join(texts)}")
        kind = "Tensor" if len(results) == 1 else f"tuple[{', '.join(['Tensor'] * len(results))}]"
        self.methods += [
            f"    def {name}(self) -> {kind}:",
            '        """What is made of parameters alone."""',
            *tidied(inner.lines),
            "",
        ]
        fresh = []
        for step, value in zip(results, laid, strict=True):
            fresh.append(self.body.results.get(step.out) or self.body.names.fresh(step.name))
            self.body.values[step.out] = replace(value, text=fresh[-1], joined=None)
            self.body.source_names.setdefault(step.out, step.name)
        reads = tuple_text(self.body.values[slot].text for slot in params)
        if self.asked:
            reads = ", ".join(self.asked)
        kept = self.method.file.require("_kept")
        self.body.line(f"{', '.join(fresh)} = {kept}(self, self.{name}, {reads})")
        return others

    def _weight_steps(self, steps: Sequence[AnyStep]) -> tuple[list[Step], list[Slot]]:
        if not self.weights:
            return [], []
        plan = self.plan
        params, consts = [slot for _, slot in plan.params], [slot for _, slot, _ in plan.consts]
        return weight_steps(plan.program, steps, params, consts, plan.outputs)


def tidied(lines: Sequence[str]) -> list[str]:
    """Join `name = value` and `return name` where the name is used nowhere else."""
    if len(lines) >= 2 and (found := re.fullmatch(r" +return (\w+)", lines[-1])):
        name = found.group(1)
        indent = lines[-1].index("return")
        previous = lines[-2]
        if previous.startswith(" " * indent + f"{name} = "):
            text = previous.strip().removeprefix(f"{name} = ")
            return [*lines[:-2], f"{' ' * indent}return {text}"]
    return list(lines)


def _label(region: Region) -> str:
    names = _names_of(region.regimes[0])
    return "_".join(identifier(names.get(slot, "value")) for slot in region.outputs[:2])


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def _names_of(regime: Regime) -> dict[Slot, str]:
    out: dict[Slot, str] = {}
    for step in regime.steps:
        match step:
            case ProjectionsStep(made):
                out.update((p.out, p.name) for p in made)
            case Step() | AttentionStep():
                out[step.out] = step.name
    return out


def _dtype_of(regime: Regime, slot: Slot) -> Dtype:
    for step in regime.steps:
        if isinstance(step, Step) and step.out == slot:
            return step.node.dtype
    return Dtype.REAL


def _laid_out(value: Value) -> Value:
    """A value that is kept, in memory as its axes are: matrices are read either way."""
    axes = tuple(range(value.rank))
    if value.memory == axes or value.rank < 3:
        return value
    return replace(value, text=f"{value.text}.contiguous()", memory=axes)
