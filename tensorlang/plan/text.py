"""A plan as text: regions, regimes and their thresholds, one step a line with its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from tensorlang.ir.cost import to_text as cost_text
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Call,
    Const,
    Contract,
    Gather,
    Group,
    Input,
    Iota,
    Lit,
    Merge,
    Node,
    Param,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Scan,
    Scatter,
    Semiring,
    SizeOf,
    Softmax,
    Subscript,
    Transform,
)
from tensorlang.plan.cost import flops, made
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    Monomials,
    Plan,
    ProjectionsStep,
    Regime,
    Slot,
    Step,
    Threshold,
)

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SIGNS = {"add": " + ", "mul": " * ", "div": " / ", "and": " and ", "or": " or "}
_SIGNS |= {"lt": " < ", "le": " <= ", "gt": " > ", "ge": " >= ", "eq": " == ", "ne": " != "}


def to_text(plan: Plan) -> str:
    """The plan, readable, the same for equal plans."""
    return "\n".join(_Printer(plan).lines()) + "\n"


def threshold_text(threshold: Threshold) -> str:
    """A threshold as a comparison, e.g. `b*n >= 4096`."""
    left = {monomial: c for monomial, c in threshold.form if monomial}
    bound = -sum(c for monomial, c in threshold.form if not monomial)
    if left and all(c < 0 for c in left.values()):
        return f"{_sum({m: -c for m, c in left.items()})} <= {-bound}"
    return f"{_sum(left)} >= {bound}"


def _sum(form: Monomials) -> str:
    parts = []
    for monomial, c in form.items():
        text = "*".join(n if p == 1 else f"{n}^{p}" for n, p in monomial)
        parts.append(text if c == 1 else f"{c}*{text}")
    return " + ".join(parts)


class _Printer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names: dict[Slot, str] = {}
        for slot, program_input in zip(plan.inputs, plan.program.inputs, strict=True):
            self.names[slot] = program_input.name
        self.names.update((slot, name) for name, slot in plan.params)
        self.names.update((slot, name) for name, slot, _ in plan.consts)
        for region in plan.regions:
            for regime in region.regimes:
                for step in regime.steps:
                    self.names.update(_named(step))

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
            when = " and ".join(threshold_text(t) for t in regime.thresholds)
            yield f"  when {when}:" if when else "  otherwise:"
        for step in regime.steps:
            yield from (f"    {line}" for line in self._step(step))
        yield f"    flops {cost_text(regime.cost.flops)}"
        yield f"    bytes {cost_text(regime.cost.bytes)}"
        yield f"    peak  {cost_text(regime.cost.peak_bytes)}"

    def _declared(self, slot: Slot) -> str:
        return f"{self.names[slot]}[{', '.join(str(s) for s in self.plan.shapes.get(slot, ()))}]"

    def _step(self, step: AnyStep) -> Iterator[str]:
        cost = cost_text(flops(step))
        match step:
            case AttentionStep():
                yield f"{step.name} = {self._attention(step.attention)}  # {cost} flops"
            case ProjectionsStep(projections):
                yield f"one product:  # {cost} flops"
                for p in projections:
                    yield f"  {_left(p.name, p.node)} = {self._node(p.node)}"
            case Step():
                yield f"{_left(step.name, step.node)} = {self._node(step.node)}  # {cost} flops"
            case _:
                assert_never(step)

    def _attention(self, a: Attention) -> str:
        parts = [f"{n}={self._read(r)}" for n, r in (("q", a.q), ("k", a.k), ("v", a.v))]
        if a.mask is not None:
            parts.append(f"mask={self._read(a.mask)}")
        if a.bias is not None:
            parts.append(f"bias={self._read(a.bias)}")
        keys, out = _letters(a.key), _letters(a.out_axes)
        return f"attention[{keys} -> {out}]({', '.join(parts)}, scale={a.scale!r})"

    def _node(self, node: Node) -> str:
        reads = [self._read(read) for read in node.reads]
        match node.op:
            case Contract(coefficient, semiring):
                factor = "" if coefficient == 1 else f"{coefficient!r} * "
                bound = f"sum[{_letters(node.bound)}] " if node.bound else ""
                ring = "" if semiring is Semiring.SUM_PRODUCT else f"{semiring.value} "
                return f"{factor}{ring}{bound}" + " * ".join(reads)
            case Pointwise(expr):
                return self._scalar(expr, reads)
            case Reduce(op):
                return f"{op.value}[{_letters(node.bound)}] {reads[0]}"
            case Softmax(axes, log):
                name = "log_softmax" if log else "softmax"
                return f"{name}[{_letters(axes)}]({', '.join(reads)})"
            case Scan(op, axis):
                return f"{op.value}[{_letters((axis,))}] {reads[0]}"
            case Transform(op, source, target):
                return f"{op.value}[{_letters(source)} -> {_letters(target)}]({', '.join(reads)})"
            case Scatter(op, targets):
                lands = ", ".join(
                    f"[{', '.join(self._subscript(s) for s in target)}] {op.value}= {read}"
                    for target, read in zip(targets, reads, strict=True)
                )
                return f"scatter {lands}"
            case Merge():
                return f"merge {reads[0]}"
            case Call(sub, signature, output):
                form = f" as {signature}" if signature else ""
                return f"{sub}({', '.join(reads)}){form} output {output}"
            case Input() | Param() | Const():
                return type(node.op).__name__.lower()
        assert_never(node.op)

    def _read(self, read: Read) -> str:
        fill = "" if read.fill is None else f" else {read.fill!r}"
        name = self.names.get(read.node, f"slot{read.node}")
        return f"{name}[{', '.join(self._subscript(s) for s in read.subscripts)}{fill}]"

    def _subscript(self, subscript: Subscript) -> str:
        match subscript:
            case At(index):
                return _letters((index,))
            case Group(indices):
                return f"({_letters(indices)})"
            case Affine(terms, offset, boundary):
                parts = [f"{c}*{_letters((i,))}" if c != 1 else _letters((i,)) for i, c in terms]
                if offset != 0 or not parts:
                    parts.append(str(offset))
                return f"{' + '.join(parts)} {boundary.value}"
            case Gather(read, boundary):
                return f"{self._read(read)} {boundary.value}"
        assert_never(subscript)

    def _scalar(self, expr: Scalar, reads: Sequence[str]) -> str:
        match expr:
            case Arg(position):
                return reads[position]
            case Lit(value):
                return repr(value)
            case Iota(index):
                return _letters((index,))
            case SizeOf(size):
                return f"|{size}|"
            case App(function, args):
                inner = [self._scalar(arg, reads) for arg in args]
                if function in _SIGNS:
                    return f"({_SIGNS[function].join(inner)})"
                return f"{function}({', '.join(inner)})"
        assert_never(expr)


def _named(step: AnyStep) -> Iterator[tuple[Slot, str]]:
    if isinstance(step, ProjectionsStep):
        yield from ((p.out, p.name) for p in step.projections)
    else:
        yield from ((slot, step.name) for slot in made(step))


def _left(name: str, node: Node) -> str:
    return f"{name}[{_letters(range(node.rank), ', ')}]"


def _letters(indices: Sequence[int], between: str = " ") -> str:
    return between.join(_LETTERS[i] if i < len(_LETTERS) else f"i{i}" for i in indices)
