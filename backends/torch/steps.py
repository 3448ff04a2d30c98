"""The steps of a regime in order, each under the lines of the source that it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import assert_never

from tensorlang.backends.torch.attention import attention, unprinted
from tensorlang.backends.torch.body import Body, Module
from tensorlang.backends.torch.contract import contract
from tensorlang.backends.torch.fusion import Fusion, biases
from tensorlang.backends.torch.infinite import infinite
from tensorlang.backends.torch.names import attribute, comment_text, dotted, quoted
from tensorlang.backends.torch.norms import Norm, norms, printed
from tensorlang.backends.torch.numbers import numbers, with_numbers
from tensorlang.backends.torch.operand import Operand, Value, permuted
from tensorlang.backends.torch.pointwise import pointwise
from tensorlang.backends.torch.projections import projections
from tensorlang.backends.torch.reads import read_operand
from tensorlang.backends.torch.scatter import scatter
from tensorlang.backends.torch.structure import merge, reduce, scan, softmax, transform
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes
from tensorlang.options import Options
from tensorlang.plan.cost import used
from tensorlang.plan.plan import (
    AnyStep,
    AttentionStep,
    Plan,
    ProjectionsStep,
    Region,
    Slot,
    Step,
    Unit,
)
from tensorlang.size import Size
from tensorlang.source import Span

SizeText = Callable[[Size], str]
Foreign = Callable[
    [Region, Plan, Unit, Callable[[Slot], str], SizeText, str, Sequence[str]], list[str]
]


@dataclass(frozen=True)
class Method:
    """What a printed method needs besides its plan. `foreign` prints regions of other backends."""

    file: Module
    unit: Unit
    options: Options
    consts: Mapping[Slot, str]
    foreign: Foreign | None


class Steps:
    """Prints the steps of one body."""

    def __init__(self, method: Method, plan: Plan, body: Body) -> None:
        self.method, self.plan, self.body = method, plan, body
        self.fusion = Fusion({}, {})
        self.absorbed: frozenset[Slot] = frozenset()
        self.defined: dict[Slot, Step] = {}
        self.norms: dict[Slot, Norm] = {}
        self.numbers: dict[Slot, nodes.Scalar] = {}
        self.infinite: set[Slot] = set()

    def without_weights(
        self, steps: Sequence[AnyStep], outputs: Sequence[Slot]
    ) -> Sequence[AnyStep]:
        """The steps that are left when those of parameters alone are printed elsewhere: all."""
        return steps

    def steps(self, steps: Sequence[AnyStep], outputs: Sequence[Slot], keeps: bool = True) -> None:
        self.infinite = infinite(steps, self.infinite)
        steps = self.without_weights(steps, outputs) if keeps else steps
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
            body.values[step.out] = fresh_value(fresh, step.node.shape, step.node.dtype)
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
            body.values[step.out] = fresh_value(fresh, step.node.shape, step.node.dtype)
        return [step.out for step in group]

    def _callee_outputs(self, sub: str) -> tuple[str, ...]:
        return next(s for s in self.plan.program.subs if s.name == sub).program.outputs

    # --- comments ---
    def comments(self, spans: Sequence[Span]) -> None:
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


def fresh_value(text: str, shape: tuple[Size, ...], dtype: Dtype) -> Value:
    """A variable whose axes lie as they are declared."""
    return Value(text, shape, tuple(range(len(shape))), dtype)


def _spans(step: AnyStep) -> tuple[Span, ...]:
    match step:
        case ProjectionsStep(made):
            return tuple(span for p in made for span in p.spans)
        case Step() | AttentionStep():
            return step.spans
