"""What a group of linear steps around sparse constants computes, as one form.

However rewrites split a contraction with a sparse constant (into blocks, pairs, factors), its steps
multiply out to the same terms again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Contract,
    Gather,
    Group,
    Lit,
    Node,
    Pointwise,
    Read,
    Scalar,
    Scatter,
)
from tensorlang.ir.reads import subscript_indices
from tensorlang.plan.form import Cell, Component, Dim, Form, Free, Operand, Picked, Term
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.sparse import WIDEST, marks, stuck
from tensorlang.size import Size

MOST_TERMS = 6000
MOST_CELLS = 20000
"""Of a value on the way, terms counted."""
_ROUNDING = 1e-13
"""Terms that are smaller than the largest by this are what rounding leaves of zeros."""

Constants = Mapping[Slot, npt.NDArray[np.generic]]
Shapes = Mapping[Slot, tuple[tuple[Size, ...], Dtype]]
Poly = dict[tuple[Cell, ...], float]


@dataclass(frozen=True, slots=True)
class _Value:
    """Cells that are not zero, by their components: sums of products of operands, in order."""

    operands: tuple[Operand, ...]
    cells: dict[Cell, Poly]


@dataclass(frozen=True, slots=True)
class _Spread:
    """A value over component indices of a step."""

    indices: tuple[int, ...]
    value: _Value


class _Refused(Exception):
    """Why steps are no form."""


def form(steps: Sequence[Step], constants: Constants, shapes: Shapes) -> Form | str:
    """The form of what the last of some steps computes, or why there is none."""
    try:
        return _Expansion(steps, constants, shapes).form()
    except _Refused as refused:
        return str(refused)


class _Expansion:
    def __init__(self, steps: Sequence[Step], constants: Constants, shapes: Shapes) -> None:
        self.steps = steps
        self.constants = constants
        self.shapes = shapes
        self.marks = marks(steps, constants)
        self.made = {step.out: step for step in steps}
        self.places: dict[Slot, dict[int, int]] = {}
        self.sizes: list[Size] = []
        self.values: dict[Slot, _Value] = {}

    def form(self) -> Form:
        last = self.steps[-1]
        if any(stuck(step, self.marks) for step in self.steps):
            raise _Refused("a sum over an index that no constant has")
        self.place(last)
        for step in self.steps:
            self.values[step.out] = self.value(step)
        value = self.values[last.out]
        if not value.operands:
            raise _Refused("a constant")
        result = self.result(last)
        terms: dict[tuple[Cell, ...], float] = {}
        for cell, poly in value.cells.items():
            for cells, coefficient in poly.items():
                terms[cell, *cells] = coefficient
        most = max(map(abs, terms.values()), default=0.0)
        kept = tuple(
            Term(c, cells) for cells, c in sorted(terms.items()) if abs(c) > most * _ROUNDING
        )
        if not kept:
            raise _Refused("it is zero")
        if len(kept) > MOST_TERMS:
            raise _Refused(f"{len(kept)} terms are more than {MOST_TERMS}")
        return Form(tuple(self.sizes), (result, *value.operands), kept)

    # --- free axes ---
    def place(self, last: Step) -> None:
        """Free indices of every step as axes of the space, from the last step back."""
        node = last.node
        targets = node.op.targets[0] if isinstance(node.op, Scatter) else ()
        landed = [axis for axis, s in enumerate(targets) if isinstance(s, Gather)]
        order = [i for i in (*node.bound, *range(node.rank)) if i not in landed]
        mine: dict[int, int] = {}
        for index in order:
            if (last.out, index) not in self.marks.indices:
                mine[index] = len(self.sizes)
                self.sizes.append(node.sizes[index])
        self.places[last.out] = mine
        for step in reversed(self.steps):
            if step.out not in self.places:
                raise _Refused("a value that nobody reads")
            for read in step.node.reads:
                if read.node in self.made:
                    self.placed(step, read)

    def placed(self, step: Step, read: Read) -> None:
        here = self.places[step.out]
        wanted: dict[int, int] = {}
        for axis, subscript in enumerate(read.subscripts):
            if (read.node, axis) in self.marks.dims:
                continue
            if not isinstance(subscript, At):
                raise _Refused("a value is read at other positions than it is made")
            wanted[axis] = here[subscript.index]
        if self.places.setdefault(read.node, wanted) != wanted:
            raise _Refused("a value is read at other positions than it is made")

    def result(self, last: Step) -> Operand:
        node = last.node
        place = self.places[last.out]
        targets = (
            node.op.targets[0]
            if isinstance(node.op, Scatter)
            else tuple(At(axis) for axis in range(node.rank))
        )
        dims: list[Dim] = []
        for axis, subscript in enumerate(targets):
            if isinstance(subscript, Gather):
                dims.append(self.picked(subscript.read, place))
            elif (last.out, axis) in self.marks.dims:
                size = node.sizes[axis]
                assert isinstance(size, int), node
                dims.append(Component(size))
            else:
                assert isinstance(subscript, At), subscript
                dims.append(Free(place[subscript.index]))
        return Operand(last.out, tuple(dims))

    def picked(self, read: Read, place: Mapping[int, int]) -> Picked:
        axes = []
        for subscript in read.subscripts:
            if not isinstance(subscript, At) or subscript.index not in place:
                raise _Refused("positions are computed")
            axes.append(place[subscript.index])
        if read.node in self.made:
            raise _Refused("positions are computed")
        return Picked(read.node, tuple(axes))

    # --- values ---
    def value(self, step: Step) -> _Value:
        node = step.node
        match node.op:
            case Scatter():
                made = self.read(step, node.reads[0])
            case Contract(coefficient):
                assert not isinstance(coefficient, complex), node
                made = self.product(step, [self.read(step, read) for read in node.reads])
                made = _scaled(made, float(coefficient))
            case Pointwise(expr):
                made = self.scalar(step, expr)
            case _:
                raise AssertionError(node)
        wanted = [i for i in self.targets(node) if (step.out, i) in self.marks.indices]
        if not set(wanted) <= set(made.indices):
            raise _Refused("a value is the same along an unrolled axis")
        return _Value(made.value.operands, _onto(made, wanted))

    def targets(self, node: Node) -> list[int]:
        if isinstance(node.op, Scatter):
            return [s.index for s in node.op.targets[0] if isinstance(s, At)]
        return list(range(node.rank))

    def read(self, step: Step, read: Read) -> _Spread:
        """What a step reads, over its component indices."""
        found = self.source(step, read)
        subscripts = [
            s for axis, s in enumerate(read.subscripts) if (read.node, axis) in self.marks.dims
        ]
        indices = tuple(dict.fromkeys(i for s in subscripts for i in subscript_indices(s)))
        sizes = step.node.sizes
        cells: dict[Cell, Poly] = {}
        for cell, poly in found.cells.items():
            position = _positions(subscripts, cell, sizes)
            if position is not None:
                cells[tuple(position[i] for i in indices)] = poly
        return _Spread(indices, _Value(found.operands, cells))

    def source(self, step: Step, read: Read) -> _Value:
        if read.node in self.values:
            return self.values[read.node]
        if read.node in self.constants:
            array = self.constants[read.node]
            at = [tuple(map(int, cell)) for cell in np.argwhere(array)]
            return _Value((), {cell: {(): float(array[cell])} for cell in at})
        if self.shapes[read.node][1] is not Dtype.REAL:
            raise _Refused("an operand that is not real")
        place = self.places[step.out]
        dims: list[Dim] = []
        for axis, subscript in enumerate(read.subscripts):
            if isinstance(subscript, Gather):
                dims.append(self.picked(subscript.read, place))
            elif (read.node, axis) in self.marks.dims:
                size = self.shapes[read.node][0][axis]
                if not isinstance(size, int) or size > WIDEST:
                    raise _Refused("an axis too long to unroll")
                dims.append(Component(size))
            else:
                assert isinstance(subscript, At), subscript
                dims.append(Free(place[subscript.index]))
        operand = Operand(read.node, tuple(dims))
        shape = [dim.size for dim in dims if isinstance(dim, Component)]
        return _Value((operand,), {cell: {(cell,): 1.0} for cell in np.ndindex(*shape)})

    def product(self, step: Step, factors: Sequence[_Spread]) -> _Spread:
        out = factors[0]
        for factor in factors[1:]:
            out = _product(out, factor)
        return out

    def scalar(self, step: Step, expr: Scalar) -> _Spread:
        match expr:
            case Arg(position):
                return self.read(step, step.node.reads[position])
            case Lit(value):
                assert not isinstance(value, complex), expr
                return _Spread((), _Value((), {(): {(): float(value)}}))
            case App("neg", (arg,)):
                return _scaled(self.scalar(step, arg), -1.0)
            case App("sub", (a, b)):
                return _sum([self.scalar(step, a), _scaled(self.scalar(step, b), -1.0)])
            case App("mul", args):
                return self.product(step, [self.scalar(step, arg) for arg in args])
            case App("add", args):
                return _sum([self.scalar(step, arg) for arg in args])
        raise AssertionError(expr)


def _positions(
    subscripts: Sequence[object], cell: Cell, sizes: Sequence[Size]
) -> dict[int, int] | None:
    """The local indices at which subscripts read a cell, None if they do not."""
    out: dict[int, int] = {}
    for subscript, number in zip(subscripts, cell, strict=True):
        match subscript:
            case At(index):
                pairs = [(index, number)]
            case Group(indices):
                lengths = [size for i in indices if isinstance(size := sizes[i], int)]
                pairs = list(zip(indices, map(int, np.unravel_index(number, lengths)), strict=True))
            case Affine(((index, _),), int(offset)):
                pairs = [(index, number - offset)]
            case Affine((), offset):
                if number != offset:
                    return None
                pairs = []
            case _:
                raise AssertionError(subscript)
        for index, position in pairs:
            size = sizes[index]
            assert isinstance(size, int), subscript
            if not 0 <= position < size or out.setdefault(index, position) != position:
                return None
    return out


def _onto(made: _Spread, wanted: Sequence[int]) -> dict[Cell, Poly]:
    """The cells summed over the indices that are not wanted."""
    at = [made.indices.index(index) for index in wanted]
    out: dict[Cell, Poly] = {}
    for cell, poly in made.value.cells.items():
        into = out.setdefault(tuple(cell[k] for k in at), {})
        for cells, coefficient in poly.items():
            into[cells] = into.get(cells, 0.0) + coefficient
    return out


def _scaled(made: _Spread, factor: float) -> _Spread:
    if factor == 1:
        return made
    cells = {
        cell: {cells: factor * c for cells, c in poly.items()}
        for cell, poly in made.value.cells.items()
    }
    return _Spread(made.indices, _Value(made.value.operands, cells))


def _sum(parts: Sequence[_Spread]) -> _Spread:
    indices, operands = parts[0].indices, parts[0].value.operands
    out: dict[Cell, Poly] = {}
    for part in parts:
        if set(part.indices) != set(indices) or part.value.operands != operands:
            raise _Refused("a sum of products of different tensors")
        for cell, poly in _onto(part, indices).items():
            into = out.setdefault(cell, {})
            for cells, coefficient in poly.items():
                into[cells] = into.get(cells, 0.0) + coefficient
    return _Spread(indices, _Value(operands, out))


def _product(a: _Spread, b: _Spread) -> _Spread:
    shared = [index for index in a.indices if index in b.indices]
    extra = [k for k, index in enumerate(b.indices) if index not in shared]
    mine = [a.indices.index(index) for index in shared]
    theirs = [b.indices.index(index) for index in shared]
    operands = (*a.value.operands, *b.value.operands)
    order = sorted(range(len(operands)), key=lambda k: _rank(operands[k]))
    groups: dict[Cell, list[tuple[Cell, Poly]]] = {}
    for cell, poly in b.value.cells.items():
        at = tuple(cell[k] for k in theirs)
        groups.setdefault(at, []).append((tuple(cell[k] for k in extra), poly))
    out: dict[Cell, Poly] = {}
    count = 0
    for cell, poly in a.value.cells.items():
        for rest, other in groups.get(tuple(cell[k] for k in mine), ()):
            into = out.setdefault((*cell, *rest), {})
            for left, x in poly.items():
                for right, y in other.items():
                    both = (*left, *right)
                    key = _sorted(tuple(both[k] for k in order), operands, order)
                    into[key] = into.get(key, 0.0) + x * y
                    count += 1
        if count > 50 * MOST_CELLS:
            raise _Refused("too many terms on the way")
    indices = (*a.indices, *(b.indices[k] for k in extra))
    return _Spread(indices, _Value(tuple(operands[k] for k in order), out))


def _rank(operand: Operand) -> tuple[int, str]:
    return operand.slot, repr(operand.dims)


def _sorted(
    cells: tuple[Cell, ...], operands: Sequence[Operand], order: Sequence[int]
) -> tuple[Cell, ...]:
    """Cells of equal operands in order: their product does not tell them apart."""
    out = list(cells)
    for k in range(1, len(out)):
        j = k
        while j and operands[order[j]] == operands[order[j - 1]] and out[j] < out[j - 1]:
            out[j], out[j - 1] = out[j - 1], out[j]
            j -= 1
    return tuple(out)
