"""The iteration space of pointwise steps and row reductions that one kernel can compute together.

Every step's local indices are placed on the axes of one space, rows × lanes: lanes are reduced (or
are the last axis), rows are independent. Any placing that agrees on the values passed from step to
step is right; this one follows the tensors that several steps read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    At,
    Contract,
    Group,
    Lit,
    Node,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Semiring,
    Softmax,
)
from tensorlang.ir.reads import read_indices
from tensorlang.plan.plan import Slot, Step
from tensorlang.registry import functions
from tensorlang.size import Size, product, same

MOST_LANES = 8192
WHOLE_ROW = 4096
MOST_READS = 12
REDUCTIONS = (ReduceOp.MAX, ReduceOp.MIN, ReduceOp.LOGSUMEXP)
LARGEST_POWER = 8


@dataclass(frozen=True, slots=True)
class Space:
    """`rows` and `lanes` are axes of the space; `places[k][i]` is the axis of local index i of step
    k; `values` gives the axes of every value made."""

    sizes: tuple[Size, ...]
    rows: tuple[int, ...]
    lanes: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    values: dict[Slot, tuple[int, ...]]
    reduces: bool

    @property
    def whole(self) -> bool:
        """Whether one tile holds all lanes; else programs share them out."""
        return self.reduces or _short(self.sizes, self.lanes)


def alone(step: Step) -> str | None:
    """Why a step can be no part of such a kernel; None if it can."""
    node = step.node
    if Dtype.COMPLEX is node.dtype:
        return "complex numbers stay with torch"
    for read in node.reads:
        if read.fill is not None or not all(isinstance(s, At | Group) for s in read.subscripts):
            return "shifted, fixed and gathered reads stay with torch"
        if len(set(read_indices(read))) != len(read_indices(read)):
            return "diagonals stay with torch"
    match node.op:
        case Pointwise(expr):
            return _spelled(expr)
        case Contract(semiring=semiring):
            if semiring is not Semiring.SUM_PRODUCT or node.dtype is not Dtype.REAL:
                return "only sums of real products are fused"
            if node.bound and not any(_covers(read, node) for read in node.reads):
                return "matrix products stay with torch (cuBLAS)"
            if not node.reads:
                return "a constant"
        case Reduce(op):
            if op not in REDUCTIONS or node.dtype is not Dtype.REAL:
                return f"{op.value} stays with torch"
            if not _covers(node.reads[0], node):
                return "it repeats its operand"
        case Softmax():
            if not all(
                i in read_indices(node.reads[0]) or i not in node.op.axes for i in range(node.rank)
            ):
                return "it repeats its operand"
        case _:
            return f"{type(node.op).__name__.lower()} stays with torch"
    return None


def operations(step: Step) -> int:
    """How many passes over memory the step is in plain torch, about."""
    node = step.node
    match node.op:
        case Pointwise(expr):
            return sum(1 for _ in _apps(expr))
        case Contract(coefficient=coefficient):
            return max(len(node.reads) - 1, 0) + bool(node.bound) + (coefficient != 1)
        case Softmax(log=log):
            return 2 + len(node.reads) + log
        case Reduce(op):
            return 2 if op is ReduceOp.LOGSUMEXP else 1
        case _:
            return 1


def space(steps: Sequence[Step], needed: frozenset[Slot]) -> Space | str:
    """The common space of steps in order, or why there is none. `needed`: read from outside."""
    frame = Frame()
    for step in steps:
        problem = frame.place(step)
        if problem is not None:
            return problem
    return frame.finish(steps, needed)


@dataclass(slots=True)
class Frame:
    """Places the local indices of one step after the other on common axes."""

    sizes: list[Size] = field(default_factory=list)
    places: list[tuple[int, ...]] = field(default_factory=list)
    values: dict[Slot, tuple[int, ...]] = field(default_factory=dict)
    hints: dict[tuple[Slot, int], int] = field(default_factory=dict)

    def place(self, step: Step, barred: frozenset[int] = frozenset()) -> str | None:
        """Place a step; why that is impossible. Only values take their indices to `barred` axes."""
        node = step.node
        place: dict[int, int] = {}
        for read in node.reads:
            axes = self.values.get(read.node)
            if axes is None:
                continue
            for subscript, axis in zip(read.subscripts, axes, strict=True):
                if not isinstance(subscript, At):
                    return "a value is read at other positions than it is made"
                if place.setdefault(subscript.index, axis) != axis:
                    return "a value is read at other positions than it is made"
        if len(set(place.values())) != len(place):
            return "a value is read at other positions than it is made"
        for read in node.reads:
            if read.node in self.values:
                continue
            for k, subscript in enumerate(read.subscripts):
                axis = self.hints.get((read.node, k), -1)
                free = axis >= 0 and axis not in barred
                if isinstance(subscript, At) and subscript.index not in place and free:
                    self._take(place, subscript.index, axis, node.sizes[subscript.index])
        for index, size in enumerate(node.sizes):
            for axis in range(len(self.sizes)):
                if index not in place and axis not in barred:
                    self._take(place, index, axis, size)
            if index not in place:
                place[index] = len(self.sizes)
                self.sizes.append(size)
        for read in node.reads:
            if read.node not in self.values:
                for k, subscript in enumerate(read.subscripts):
                    if isinstance(subscript, At):
                        self.hints.setdefault((read.node, k), place[subscript.index])
        self.places.append(tuple(place[index] for index in range(len(node.sizes))))
        self.values[step.out] = self.places[-1][: node.rank]
        return None

    def _take(self, place: dict[int, int], index: int, axis: int, size: Size) -> None:
        if axis not in place.values() and same(self.sizes[axis], size):
            place[index] = axis

    def finish(self, steps: Sequence[Step], needed: frozenset[Slot]) -> Space | str:
        reduced = [_reduced(step.node) for step in steps]
        sets = {
            frozenset(place[index] for index in indices)
            for place, indices in zip(self.places, reduced, strict=True)
            if indices
        }
        if len(sets) > 1:
            return "they reduce over different indices"
        order = self._order(steps)
        if not order:
            return "scalars stay with torch"
        if sets:
            (chosen,) = sets
        else:
            chosen = frozenset(order[-1:])
        lanes = tuple(axis for axis in order if axis in chosen)
        rows = tuple(axis for axis in order if axis not in chosen)
        extent = product(self.sizes[axis] for axis in lanes)
        if sets and isinstance(extent, int) and extent > MOST_LANES:
            return f"a row of {extent} does not fit in registers"
        for step in steps:
            axes = set(self.values[step.out])
            if not axes.issuperset(rows) and not axes <= set(lanes):
                return "a value lacks some of the rows"
            if step.out in needed:
                if not axes.issuperset(rows):
                    return "a result lacks the rows"
                if axes.issuperset(lanes) is False and axes & set(lanes):
                    return "a result has some of the lanes"
                if not axes & set(lanes) and not (sets or _short(self.sizes, lanes)):
                    return "a result lacks the lanes"
                if step.node.dtype is not Dtype.REAL:
                    return "only real results are stored"
        external = {r.node for step in steps for r in step.node.reads} - set(self.values)
        if len(external) + len(needed) > MOST_READS:
            return "too many tensors for one kernel"
        if not external:
            return "it reads no tensor"
        return Space(
            tuple(self.sizes), rows, lanes, tuple(self.places), dict(self.values), bool(sets)
        )

    def _order(self, steps: Sequence[Step]) -> tuple[int, ...]:
        """Axes as the widest value or operand lies in memory, results before operands."""
        best: tuple[int, ...] = ()
        for step, place in reversed(list(zip(steps, self.places, strict=True))):
            made = self.values[step.out]
            if len(made) > len(best):
                best = made
            for read in step.node.reads:
                axes = tuple(place[index] for index in read_indices(read))
                if len(axes) > len(best):
                    best = axes
        rest = tuple(axis for axis in range(len(self.sizes)) if axis not in best)
        return (*rest, *best)


def _short(sizes: Sequence[Size], lanes: Sequence[int]) -> bool:
    extent = product(sizes[axis] for axis in lanes)
    return isinstance(extent, int) and extent <= WHOLE_ROW


def _reduced(node: Node) -> tuple[int, ...]:
    if isinstance(node.op, Softmax):
        return node.op.axes
    return tuple(node.bound)


def _covers(read: Read, node: Node) -> bool:
    return set(read_indices(read)) == set(range(len(node.sizes)))


def _apps(expr: Scalar) -> Iterator[App]:
    if isinstance(expr, App):
        yield expr
        for arg in expr.args:
            yield from _apps(arg)


def _spelled(expr: Scalar) -> str | None:
    """Why an expression cannot be spelled in Triton, None if it can."""
    for app in _apps(expr):
        if app.dtype is Dtype.COMPLEX:
            return "complex numbers stay with torch"
        if app.function in ("to_real", "to_int"):
            continue
        if app.function == "pow":
            match app.args[1]:
                case Lit(value) if not isinstance(value, complex) and (
                    value in (0.5, -0.5) or (value == int(value) and abs(value) <= LARGEST_POWER)
                ):
                    if app.dtype is Dtype.REAL:
                        continue
            return "powers that are no small integers stay with torch"
        if functions()[app.function].triton is None:
            return f"{app.function} has no spelling in Triton"
    return None
