"""A plan as the body of a method: every step under the lines of the source that it computes."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import assert_never

from tensorlang.backends.torch.attention import attention, unprinted
from tensorlang.backends.torch.body import Body, Module
from tensorlang.backends.torch.contract import contract
from tensorlang.backends.torch.fusion import Fusion, biases
from tensorlang.backends.torch.given import unset_params
from tensorlang.backends.torch.infinite import infinite
from tensorlang.backends.torch.interface import Interface, axes_text
from tensorlang.backends.torch.names import (
    Names,
    attribute,
    comment_text,
    dotted,
    identifier,
    quoted,
)
from tensorlang.backends.torch.norms import Norm, norms, printed
from tensorlang.backends.torch.numbers import numbers, with_numbers
from tensorlang.backends.torch.operand import Operand, Value, permuted
from tensorlang.backends.torch.pointwise import pointwise
from tensorlang.backends.torch.projections import projections
from tensorlang.backends.torch.reads import read_operand
from tensorlang.backends.torch.scatter import scatter
from tensorlang.backends.torch.structure import merge, reduce, scan, softmax, transform
from tensorlang.check.program import Axis, Equation, Program, Scatter, SubCall
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes
from tensorlang.options import Options
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
    Unit,
)
from tensorlang.plan.regimes import regime_at
from tensorlang.plan.weights import weight_steps
from tensorlang.size import Size
from tensorlang.source import Span

SizeText = Callable[[Size], str]
Foreign = Callable[
    [Region, Plan, Unit, Callable[[Slot], str], SizeText, str, Sequence[str]], list[str]
]


LIKE = "_like"
"""An empty buffer, in modules that would not know their device or dtype without it."""


@dataclass(frozen=True)
class Method:
    """What a printed method needs besides its plan. `foreign` prints regions of other backends."""

    file: Module
    unit: Unit
    options: Options
    consts: Mapping[Slot, str]
    foreign: Foreign | None


def forward(method: Method, plan: Plan, name: str, forms: Sequence[tuple[str, str]]) -> list[str]:
    """The lines of a method, indented as in a class; `forms` are (signature, method) to go to."""
    program = plan.program
    names = Names(method.file.taken())
    form = names.fresh("form") if forms else ""
    variables = [names.fresh(given.name) for given in program.inputs]
    body = _body(method, plan, names, variables)
    interface = Interface(body, program, variables, checks=not program.signature)
    interface.bind()
    steps = _Steps(method, plan, body, "_weights" if name == "forward" else f"_weights{name}")
    for region in plan.regions:
        steps.region(region)
    consts = {slot for _, slot, _ in plan.consts}  # callers may write into what they are given
    results = [
        interface.result(body.values[slot].text + ".clone()" * (slot in consts), axes)
        for slot, axes in zip(plan.outputs, _output_axes(program), strict=True)
    ]
    _return(body, results)
    lines, body.lines = body.lines, []
    for line in interface.head(lines):
        deeper = len(line) - len(line.lstrip())
        body.indent += deeper
        body.line(line.lstrip())
        body.indent -= deeper
    head = body.lines
    arguments = [f"{variable}: Tensor" for variable in variables]
    if forms:
        arguments.append(f'{form}: str = ""')
    kind = "Tensor" if len(results) == 1 else f"tuple[{', '.join(['Tensor'] * len(results))}]"
    body.lines, body.indent = [], 4
    body.line(f"def {name}({', '.join(['self', *arguments])}) -> {kind}:")
    out = body.lines
    out.append(f'        """{_signature_text(program)}"""')
    if name == "forward" and unset_params(program):
        out.append("        if self._unset:")
        out.append(f"            {method.file.require('_check_given')}(self)")
    for signature, other in forms:
        out.append(f"        if {form} == {quoted(signature)}:")
        out.append(f"            return self.{other}({', '.join(variables)})")
    out += head
    if head and lines and not lines[0].lstrip().startswith("return"):
        out.append("")
    return [*steps.methods, *out, *_tidied(lines)]


def _tidied(lines: Sequence[str]) -> list[str]:
    """Join `name = value` and `return name` where the name is used nowhere else."""
    if len(lines) >= 2 and (found := re.fullmatch(r" +return (\w+)", lines[-1])):
        name = found.group(1)
        indent = lines[-1].index("return")
        previous = lines[-2]
        if previous.startswith(" " * indent + f"{name} = "):
            text = previous.strip().removeprefix(f"{name} = ")
            return [*lines[:-2], f"{' ' * indent}return {text}"]
    return list(lines)


def _return(body: Body, results: Sequence[str]) -> None:
    body.line(f"return {', '.join(results)}")


def _signature_text(program: Program) -> str:
    given = [f"{identifier(i.name)}[{axes_text(i.axes)}]" for i in program.inputs]
    made = [
        f"{identifier(name)}[{axes_text(axes)}]"
        for name, axes in zip(program.outputs, _output_axes(program), strict=True)
    ]
    return dotted(f"{', '.join(given)} -> {', '.join(made)}.", 84)


def _output_axes(program: Program) -> list[tuple[Axis, ...]]:
    axes: dict[str, tuple[Axis, ...]] = {given.name: given.axes for given in program.inputs}
    for statement in program.body:
        match statement:
            case Equation() | Scatter():
                axes[statement.name] = statement.axes
            case SubCall():
                axes.update((output.name, output.axes) for output in statement.outputs)
    return [axes[name] for name in program.outputs]


def _body(method: Method, plan: Plan, names: Names, variables: Sequence[str]) -> Body:
    program = plan.program
    body = Body(method.file, names, index_checks=method.options.index_checks)
    for slot, given, variable in zip(plan.inputs, program.inputs, variables, strict=True):
        shape = tuple(axis.size for axis in given.axes)
        body.values[slot] = _value(variable, shape, given.dtype)
        body.source_names[slot] = given.name
        body.axis_names[slot] = tuple(" ".join(i.name for i in axis.indices) for axis in given.axes)
    by_name = {param.name: param for param in program.params}
    for name, slot in plan.params:
        param = by_name[name]
        shape = tuple(axis.size for axis in param.axes)
        body.values[slot] = _value(attribute(name), shape, param.dtype)
        body.source_names[slot] = name
        body.axis_names[slot] = tuple(" ".join(i.name for i in axis.indices) for axis in param.axes)
    for name, slot, _ in plan.consts:
        leaf = plan.leaves[slot]
        body.values[slot] = _value(method.consts[slot], leaf.shape, leaf.dtype)
        body.source_names[slot] = name
    body.device, body.dtype = _home(plan, body)
    return body


def _value(text: str, shape: tuple[Size, ...], dtype: Dtype) -> Value:
    return Value(text, shape, tuple(range(len(shape))), dtype)


def _home(plan: Plan, body: Body) -> tuple[str, str]:
    """Expressions for the module's device and dtype; of an empty buffer where it has no others."""
    slots = [
        *plan.inputs,
        *(slot for _, slot in plan.params),
        *(slot for _, slot, _ in plan.consts),
    ]
    return _home_of([body.values[slot] for slot in slots], body)


def _home_of(values: Sequence[Value], body: Body) -> tuple[str, str]:
    device = next((f"{value.text}.device" for value in values), f"self.{LIKE}.device")
    for value in values:
        if value.dtype is Dtype.REAL:
            return device, f"{value.text}.dtype"
    for value in values:
        if value.dtype is Dtype.COMPLEX:
            return device, f"{body.file.require('_real_dtype')}({value.text}.dtype)"
    return device, f"self.{LIKE}.dtype"


class _Steps:
    """Prints regions, regimes and steps in order."""

    def __init__(self, method: Method, plan: Plan, body: Body, weights: str = "") -> None:
        self.method, self.plan, self.body = method, plan, body
        self.weights = weights  # the name of methods for what is made of parameters alone
        self.asked: tuple[str, str] | None = None  # variables: parameters, whether they are kept
        self.methods: list[str] = []
        self.named: set[str] = set()
        self.fusion = Fusion({}, {})
        self.absorbed: frozenset[Slot] = frozenset()
        self.defined: dict[Slot, Step] = {}
        self.norms: dict[Slot, Norm] = {}
        self.numbers: dict[Slot, nodes.Scalar] = {}
        self.infinite: set[Slot] = set()

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
            body.values[slot] = _value(body.results[slot], shape, types[slot])

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
        body.line(f"{params} = {_tuple(body.values[slot].text for slot in sorted(found))}")
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
        symbols = self._region_function(region, name)
        for slot in region.outputs:
            step_name = _names_of(region.regimes[0]).get(slot, "value")
            fresh = body.names.fresh(step_name)
            shape = tuple(self.plan.shapes[slot])
            body.values[slot] = _value(fresh, shape, _dtype_of(region.regimes[0], slot))
        self.infinite = infinite(region.regimes[0].steps, self.infinite)
        self._comments(region.spans)

        def value(slot: Slot) -> str:
            return body.values[slot].text

        def size(size: Size) -> str:
            return body.size_text(size)[0]

        plan, unit, variables = self.plan, self.method.unit, [body.symbols[s] for s in symbols]
        for line in self.method.foreign(region, plan, unit, value, size, name, variables):
            body.line(line) if "\n" not in line else body.lines.append(line)

    def _region_function(self, region: Region, name: str) -> list[str]:
        """Print the region's torch code as `name(inputs..., sizes...)`; returns the symbols."""
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
        other = _Steps(self.method, self.plan, inner)
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
        self.method.file.define("\n".join([*head.lines, doc, *_tidied(inner.lines)]))
        return symbols

    def _split_weights(
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
        inner.device, inner.dtype = _home_of([self.body.values[slot] for slot in params], inner)
        printer = _Steps(self.method, self.plan, inner)
        printer.infinite = self.infinite
        printer.steps(found, [step.out for step in results])
        laid = [_laid_out(inner.values[step.out]) for step in results]
        texts = [value.text for value in laid]
        inner.line(f"return {', '.join(texts)}")
        kind = "Tensor" if len(results) == 1 else f"tuple[{', '.join(['Tensor'] * len(results))}]"
        self.methods += [
            f"    def {name}(self) -> {kind}:",
            '        """What is made of parameters alone."""',
            *_tidied(inner.lines),
            "",
        ]
        fresh = []
        for step, value in zip(results, laid, strict=True):
            fresh.append(self.body.results.get(step.out) or self.body.names.fresh(step.name))
            self.body.values[step.out] = replace(value, text=fresh[-1], joined=None)
            self.body.source_names.setdefault(step.out, step.name)
        reads = _tuple(self.body.values[slot].text for slot in params)
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

    # --- steps ---
    def steps(self, steps: Sequence[AnyStep], outputs: Sequence[Slot], keeps: bool = True) -> None:
        self.infinite = infinite(steps, self.infinite)
        steps = self._split_weights(steps, outputs) if keeps else steps
        kept = (*outputs, *self.plan.outputs)
        self.defined = {step.out: step for step in steps if isinstance(step, Step)}
        self.absorbed = unprinted(steps, kept)
        self.norms = norms(steps, kept, self.body.values)
        self.absorbed |= {slot for norm in self.norms.values() for slot in norm.absorbed}
        self.numbers = numbers(steps, kept)
        self.fusion = biases(steps, kept, self.body.values)
        reads = Counter(slot for step in steps for slot in used(step))
        self.body.once = frozenset(s for s, n in reads.items() if n == 1 and s not in kept)
        last: tuple[str, ...] = ()
        done: set[Slot] = set()
        for place, step in enumerate(steps):
            if isinstance(step, Step) and (step.out in self.absorbed or step.out in done):
                continue
            if isinstance(step, Step) and step.out in self.numbers:
                continue
            spans = _spans(step)
            text = self._comment_lines(spans)
            if text and text != last:
                for line in text:
                    self.body.comment(line)
                last = text
            match step:
                case Step(node=nodes.Node(op=nodes.Call())):
                    done.update(self._call(steps, place))
                case Step():
                    self._step(step)
                case AttentionStep():
                    self._attention(step)
                case ProjectionsStep():
                    projections(self.body, step, self.fusion)
                case _:
                    assert_never(step)

    def _attention(self, step: AttentionStep) -> None:
        a = step.attention
        operand = attention(self.body, step, self.defined, step.name)
        shape = tuple(a.sizes[label] for label in a.out_axes)
        axes = tuple(range(len(a.out_axes)))
        names = {label: k for k, label in enumerate(a.out_axes)}
        moved = permuted(operand, a.out_axes)
        memory = tuple(names[label] for label in operand.memory)
        self.body.store(
            step.out, step.name, Operand(moved.text, axes, memory, Dtype.REAL), axes, shape
        )

    def _step(self, step: Step) -> None:
        body, node = self.body, step.node
        axes = tuple(range(node.rank))
        alias = self.fusion.aliases.get(step.out)
        if alias is not None:
            body.values[step.out] = body.values[alias]
            return
        node = with_numbers(self.fusion.nodes.get(step.out, node), self.numbers)
        match node.op:
            case nodes.Contract():
                bias = self.fusion.vectors.get(step.out)
                fixed = step.out in self.plan.outputs or self.fusion.target(step.out) in (
                    *self.plan.outputs,
                )
                operand = contract(body, node, bias, ordered=not fixed)
            case nodes.Pointwise() if step.out in self.norms:
                operand = printed(body, self.norms[step.out], node.rank)
            case nodes.Pointwise():
                operand = pointwise(body, node, step.name)
            case nodes.Reduce():
                operand = reduce(body, node, node.reads[0].node in self.infinite)
            case nodes.Softmax():
                operand = softmax(body, node)
            case nodes.Scan():
                operand = scan(body, node)
            case nodes.Transform():
                operand = transform(body, node)
            case nodes.Scatter():
                operand = scatter(body, node, step.name)
            case nodes.Merge():
                operand = merge(body, node, body.values[node.reads[0].node].rank)
            case nodes.Input() | nodes.Param() | nodes.Const() | nodes.Call():
                raise AssertionError(("no step of its own", node))
            case _:
                assert_never(node.op)
        operand = permuted(operand, axes)
        name = self.fusion.name(step.out, step.name)
        target = self.fusion.target(step.out)
        if target in body.results:  # the variable of all branches for what is nothing more
            body.results[step.out] = body.results[target]
        body.store(step.out, name, operand, axes, node.shape)
        body.source_names.setdefault(step.out, step.name)

    def _call(self, steps: Sequence[AnyStep], place: int) -> list[Slot]:
        """All outputs of one call of a sub-layer: steps that are adjacent."""
        first = steps[place]
        assert isinstance(first, Step) and isinstance(first.node.op, nodes.Call)
        op, body = first.node.op, self.body
        group: list[Step] = []
        for step in steps[place:]:
            if not isinstance(step, Step) or not isinstance(step.node.op, nodes.Call):
                break
            other = step.node.op
            same = (other.sub, other.signature) == (op.sub, op.signature)
            if not same or step.node.reads != first.node.reads or other.output < len(group):
                break
            group.append(step)
        arguments = []
        for read in first.node.reads:
            operand = read_operand(body, read, first.node.sizes)
            arguments.append(permuted(operand, sorted(operand.labels)).text)
        sub = next(s for s in self.plan.program.subs if s.name == op.sub)
        count = len(self._callee_outputs(op.sub))
        form = [f"form={quoted(op.signature)}"] if op.signature else []
        targets = ["_"] * count
        for step in group:
            assert isinstance(step.node.op, nodes.Call)
            fresh = body.results.get(step.out) or body.names.fresh(step.name)
            targets[step.node.op.output] = fresh
            body.values[step.out] = _value(fresh, step.node.shape, step.node.dtype)
            body.source_names.setdefault(step.out, step.name)
        owner = attribute(op.sub)
        if sub.count is None:
            call = f"{owner}({', '.join([*arguments, *form])})"
            body.line(f"{', '.join(targets)} = {call}")
            return [step.out for step in group]
        # a stack: the first input goes through all stages
        (target,) = targets[:1]
        stage = body.names.fresh("stage")
        body.line(f"{target} = {arguments[0]}")
        with body.block(f"for {stage} in {owner}:"):
            body.line(f"{target} = {stage}({', '.join([target, *arguments[1:], *form])})")
        for step in group:
            fresh = targets[0]
            body.values[step.out] = _value(fresh, step.node.shape, step.node.dtype)
        return [step.out for step in group]

    def _callee_outputs(self, sub: str) -> tuple[str, ...]:
        return next(s for s in self.plan.program.subs if s.name == sub).program.outputs

    # --- comments ---
    def _comments(self, spans: Sequence[Span]) -> None:
        for line in self._comment_lines(spans):
            self.body.comment(line)

    def _comment_lines(self, spans: Sequence[Span]) -> tuple[str, ...]:
        """The lines of the source, one comment each, in the order of the source."""
        places: dict[tuple[str, int], None] = {}
        for span in spans:
            places[span.source.path, span.line] = None
        texts = {(s.source.path, s.line): s for s in spans}
        out = []
        for path, line in sorted(places):
            source = texts[path, line].source
            shown = comment_text(source.statement(line))
            where = comment_text(PurePath(path).name)
            out.append(dotted(f"{where}:{line}: {shown}", 98 - self.body.indent))
        return tuple(out)


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


def _spans(step: AnyStep) -> tuple[Span, ...]:
    match step:
        case ProjectionsStep(made):
            return tuple(span for p in made for span in p.spans)
        case Step() | AttentionStep():
            return step.spans


def _tuple(texts: Iterable[str]) -> str:
    parts = list(texts)
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _laid_out(value: Value) -> Value:
    """A value that is kept, in memory as its axes are: matrices are read either way."""
    axes = tuple(range(value.rank))
    if value.memory == axes or value.rank < 3:
        return value
    return replace(value, text=f"{value.text}.contiguous()", memory=axes)
