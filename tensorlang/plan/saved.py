"""Bytes that stay for the backward pass: what the derivatives of the steps read.

As autograd does it: factors of products, values of functions, results of softmaxes, each once.
Inputs count, parameters are there anyway. A fused kernel keeps its inputs and outputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from tensorlang.check.program import Program, ReduceOp, ScatterOp, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.cost import ITEM_BYTES, add, scale, volume
from tensorlang.ir.nodes import (
    App,
    Arg,
    Call,
    Const,
    Contract,
    Input,
    Iota,
    Lit,
    Merge,
    Node,
    Param,
    Pointwise,
    Reduce,
    Scalar,
    Scan,
    ScanOp,
    Scatter,
    Semiring,
    SizeOf,
    Softmax,
    Transform,
)
from tensorlang.ir.reads import leaves, read_indices
from tensorlang.plan.cost import held_bytes, made, used
from tensorlang.plan.plan import AnyStep, AttentionStep, Monomials, ProjectionsStep, Slot, Step
from tensorlang.registry import functions
from tensorlang.size import Size

Shapes = Mapping[Slot, tuple[tuple[Size, ...], Dtype]]
_MANY = ("add", "mul", "and", "or")  # of any number of arguments
_LINEAR = (
    TransformOp.FFT,
    TransformOp.IFFT,
    TransformOp.RFFT,
    TransformOp.IRFFT,
    TransformOp.CONCAT,
)


def saved(
    steps: Sequence[AnyStep],
    inputs: Iterable[Slot],
    params: Iterable[tuple[str, Slot]],
    program: Program,
    shapes: Shapes,
) -> Monomials:
    """Bytes of inputs and values that the derivatives of these steps need; not those of calls.

    Every input is taken to need a derivative, every parameter that is not frozen.
    """
    frozen = {param.name for param in program.params if param.frozen}
    trained = {slot for name, slot in params if name not in frozen}
    grads = {slot for slot in (*inputs, *trained) if shapes[slot][1] >= Dtype.REAL}
    walk = _Walk(shapes, grads)
    for step in steps:
        walk.step(step)
    whole = [slot for slot in walk.slots if slot not in {slot for _, slot in params}]
    return add((*(held_bytes(slot, shapes) for slot in whole), *walk.inner))


class _Walk:
    """What is kept, in order: values with slots, and bytes of values inside of expressions."""

    def __init__(self, shapes: Shapes, grads: set[Slot]) -> None:
        self.shapes = shapes
        self.grads = grads
        self.slots: dict[Slot, None] = {}
        self.inner: list[Monomials] = []

    def step(self, step: AnyStep) -> None:
        below = used(step)
        if not any(slot in self.grads for slot in below):
            return
        self.grads.update(slot for slot in made(step) if self.shapes[slot][1] >= Dtype.REAL)
        if not any(slot in self.grads for slot in made(step)):
            return
        match step:
            case AttentionStep(out=out, attention=a):
                cells = (*a.batch, *a.query)
                self.keep((*(slot for slot in below if self.shapes[slot][1] >= Dtype.REAL), out))
                self.inner.append(scale(volume(a.sizes[i] for i in cells), ITEM_BYTES[Dtype.REAL]))
            case ProjectionsStep(projections):
                for projection in projections:
                    self._node(projection.out, projection.node)
            case Step(out=out, node=node):
                self._node(out, node)

    def keep(self, slots: Iterable[Slot]) -> None:
        self.slots.update(dict.fromkeys(slots))

    def _node(self, out: Slot, node: Node) -> None:
        reads = [read.node for read in node.reads]
        match node.op:
            case Contract(semiring=Semiring.SUM_PRODUCT):
                if len(reads) == 2:
                    for one, other in (reads, reads[::-1]):
                        self.keep([one] if other in self.grads else [])
            case Contract():
                self.keep(reads)
            case Pointwise(expr):
                self._expression(expr, out, node)
            case Softmax():
                self.keep([out])
            case Reduce(op):
                self.keep([*reads, out] if op not in (ReduceOp.ANY, ReduceOp.ALL) else [])
            case Scan(op):
                self.keep([*reads, out] if op is ScanOp.CUMPROD else [])
            case Transform(op):
                self.keep([*reads, out] if op not in _LINEAR else [])
            case Scatter(op):
                self.keep([*reads, out] if op is not ScatterOp.SUM else [])
            case Merge() | Call() | Input() | Param() | Const():
                pass
            case _:
                assert_never(node.op)

    # --- expressions ---
    def _expression(self, expr: Scalar, out: Slot, node: Node) -> None:
        """What the functions of an expression keep, each value once; that of the whole is `out`."""
        for value in dict.fromkeys(self._kept(expr, node)):
            match value:
                case Arg(position):
                    self.keep([node.reads[position].node])
                case App() if value == expr:
                    self.keep([out])
                case App():
                    indices = sorted(set(_indices(value, node)))
                    cells = volume(node.sizes[index] for index in indices)
                    self.inner.append(scale(cells, ITEM_BYTES[value.dtype]))
                case Lit() | Iota() | SizeOf():
                    pass
                case _:
                    assert_never(value)

    def _kept(self, expr: Scalar, node: Node) -> Iterator[Scalar]:
        if isinstance(expr, App):
            for arg in expr.args:
                yield from self._kept(arg, node)
            yield from self._needed(expr, node)

    def _needed(self, expr: App, node: Node) -> Iterator[Scalar]:
        """The arguments, and the value, that derivatives by arguments with a gradient mention."""
        row = functions()[expr.function]
        for place, arg in enumerate(expr.args):
            if not self._has_grad(arg, node):
                continue
            if expr.function in _MANY:
                if expr.function == "mul":
                    yield from (other for k, other in enumerate(expr.args) if k != place)
                continue
            slope = row.derivative[place]
            names = re.findall(r"\b[xyzf]\b", slope) if slope else []
            yield from (expr if name == "f" else expr.args["xyz".index(name)] for name in names)

    def _has_grad(self, expr: Scalar, node: Node) -> bool:
        return any(
            isinstance(leaf, Arg) and node.reads[leaf.position].node in self.grads
            for leaf in leaves(expr)
        )


def _indices(expr: Scalar, node: Node) -> Iterator[int]:
    for leaf in leaves(expr):
        if isinstance(leaf, Arg):
            yield from read_indices(node.reads[leaf.position])
        elif isinstance(leaf, Iota):
            yield leaf.index
