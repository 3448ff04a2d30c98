"""The space of a map over pairs (i, j) of samples that ends in reductions over j.

A step pairs its operands if no operand has all of its indices; indices that some operand lacks are
paired. What follows stays on pairs until a reduction over a paired index ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import At, Contract, Group, Node, Pointwise, Reduce, Semiring
from tensorlang.ir.reads import read_indices
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.rows import Frame, alone
from tensorlang.size import Size, product

MOST_COORDINATES = 16
MOST_READS = 12
FEWEST_SAMPLES = 4096
FEWEST_ROWS = 1024
WIDEST = 64
NARROWEST_PRODUCT = 5
REDUCTIONS = (ReduceOp.MAX, ReduceOp.MIN, ReduceOp.LOGSUMEXP)


@dataclass(frozen=True, slots=True)
class MapSpace:
    """Axes of the space: `batch` that both sides have, `rows` of the results, `columns` reduced.

    Of the small axes, `unrolled` are written out; `lane` is one whose length only the call knows;
    `wide` are of matrix products: summed in pairs of points, or of the results. `places[k][i]` is
    the axis of local index i of step k, `values` gives the axes of every value.
    """

    sizes: tuple[Size, ...]
    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    unrolled: tuple[int, ...]
    lane: int | None
    wide: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    values: dict[Slot, tuple[int, ...]]

    def is_end(self, step: Step) -> bool:
        """Whether a step reduces over the columns."""
        return not set(self.values[step.out]) & set(self.columns)


def reduced(node: Node) -> tuple[int, ...]:
    """Indices that a step sums over or reduces."""
    return tuple(node.bound)


def paired(node: Node, operands: Mapping[Slot, frozenset[int]]) -> frozenset[int]:
    """Output indices over which a step pairs samples. `operands`: paired axes of values read."""
    found: set[int] = set()
    for read in node.reads:
        axes = operands.get(read.node, frozenset())
        for axis, subscript in enumerate(read.subscripts):
            if axis in axes:
                found |= set(_indices(subscript))
    if not found:
        reads = [set(read_indices(read)) for read in node.reads]
        reads = [indices for indices in reads if indices]
        if len(reads) > 1 and not any(indices >= set(range(node.rank)) for indices in reads):
            found = {i for i in range(node.rank) if not all(i in indices for indices in reads)}
    return frozenset(i for i in found if i < node.rank)


def ends(node: Node, operands: Mapping[Slot, frozenset[int]]) -> bool:
    """Whether a step reduces over a paired index."""
    bound = set(reduced(node))
    return any(
        axis in operands.get(read.node, frozenset()) and bound & set(_indices(subscript))
        for read in node.reads
        for axis, subscript in enumerate(read.subscripts)
    )


def mappable(step: Step) -> str | None:
    """Why a step can be no part of such a kernel; None if it can."""
    node = step.node
    for read in node.reads:
        if read.fill is not None or not all(isinstance(s, At | Group) for s in read.subscripts):
            return "shifted, fixed and gathered reads stay with torch"
        if len(set(read_indices(read))) != len(read_indices(read)):
            return "diagonals stay with torch"
    match node.op:
        case Pointwise():
            return alone(step)
        case Contract(semiring=Semiring.SUM_PRODUCT) if node.dtype is Dtype.REAL and node.reads:
            covered = {i for read in node.reads for i in read_indices(read)}
            return None if covered == set(range(len(node.sizes))) else "it repeats its operand"
        case Reduce(op) if op in REDUCTIONS and node.dtype is Dtype.REAL:
            whole = set(read_indices(node.reads[0])) == set(range(len(node.sizes)))
            return None if whole else "it repeats its operand"
    return "it is no map and no reduction"


def map_space(steps: Sequence[Step], wanted: frozenset[Slot]) -> MapSpace | str:
    """The space of a group of steps in order, or why there is none."""
    frame = Frame()
    pairs: dict[Slot, frozenset[int]] = {}
    columns: set[int] | None = None
    inner: set[int] = set()
    of_pairs: set[int] = set()
    for step in steps:
        last = ends(step.node, pairs)
        every = set(range(len(frame.sizes)))
        problem = frame.place(step, frozenset(of_pairs if last else every - of_pairs))
        if problem is not None:
            return problem
        place = frame.places[-1]
        bound = {place[index] for index in reduced(step.node)}
        if last:
            if columns is not None and columns != bound:
                return "they reduce over different indices"
            columns = bound
        else:
            inner |= bound
            of_pairs.update(place)
            pairs[step.out] = paired(step.node, pairs)
    if columns is None:
        return "nothing is reduced"
    finals = [step for step in steps if step.out not in pairs]
    if {step.out for step in finals} != wanted:
        return "a value per pair is read elsewhere"
    return _Sides(frame, steps, finals, columns, inner).space()


@dataclass(frozen=True, slots=True)
class _Sides:
    frame: Frame
    steps: Sequence[Step]
    finals: Sequence[Step]
    columns: set[int]
    inner: set[int]

    def space(self) -> MapSpace | str:
        values, sizes = self.frame.values, self.frame.sizes
        pairs = [step for step in self.steps if step not in self.finals]
        mapped = {axis for step in pairs for axis in values[step.out]} - self.inner
        rows = mapped - self.columns
        of_results = {axis for step in self.finals for axis in values[step.out]} - rows
        if self.inner & (self.columns | of_results) or any(
            not set(values[step.out]) >= rows for step in self.finals
        ):
            return "the axes of its values do not fit together"
        operands = self._operands()
        if len(set(operands)) + len(self.finals) > MOST_READS:
            return "too many tensors for one kernel"
        batch = {
            axis
            for _, axes in operands
            if axes & self.columns and not axes >= rows
            for axis in axes & rows
        }
        if rows <= batch:
            return "every row has samples of its own"
        if not any(axes & self.columns for _, axes in operands):
            return "it has no samples"
        extent = product(sizes[axis] for axis in self.columns)
        if isinstance(extent, int) and extent <= FEWEST_SAMPLES:
            return f"{extent} samples: matrix products do better"
        few = product(sizes[axis] for axis in rows)
        if isinstance(few, int) and few < FEWEST_ROWS:
            return f"{few} results are too few"
        small = self._small(self.inner, of_results, rows - batch)
        if isinstance(small, str):
            return small
        unrolled, lane, wide = small
        order = self._order()
        return MapSpace(
            tuple(sizes),
            tuple(axis for axis in order if axis in batch),
            tuple(axis for axis in order if axis in rows - batch),
            tuple(axis for axis in order if axis in self.columns),
            unrolled,
            lane,
            wide,
            tuple(self.frame.places),
            dict(values),
        )

    def _operands(self) -> list[tuple[Slot, frozenset[int]]]:
        return [
            (read.node, frozenset(place[index] for index in read_indices(read)))
            for step, place in zip(self.steps, self.frame.places, strict=True)
            for read in step.node.reads
            if read.node not in self.frame.values
        ]

    def _small(
        self, inner: set[int], of_results: set[int], own: set[int]
    ) -> tuple[tuple[int, ...], int | None, tuple[int, ...]] | str:
        """Which of the small axes are unrolled, a lane, or of matrix products."""
        if not all(map(self._written_out, self.steps)):
            return "a reduction for each pair that no kernel writes out"
        grouped = {
            place[index]
            for step, place in zip(self.steps, self.frame.places, strict=True)
            for read in step.node.reads
            for subscript in read.subscripts
            if isinstance(subscript, Group)
            for index in subscript.indices
        }
        unrolled: list[int] = []
        lanes: list[int] = []
        wide: list[int] = []
        for axis in sorted(inner | of_results):
            size = self.frame.sizes[axis]
            if not isinstance(size, int):
                lanes.append(axis)
            elif self._in_product(axis, own, axis in inner) and size >= NARROWEST_PRODUCT:
                if size > WIDEST:
                    return f"points of {size} numbers"
                wide.append(axis)
            elif 0 < size <= MOST_COORDINATES and axis not in grouped:
                unrolled.append(axis)
            elif axis in grouped:
                return "points lie beside other numbers in one axis"
            else:
                return f"points of {size} numbers"
        if len(lanes) > 1 or (lanes and (wide or lanes[0] in of_results)):
            return "several small axes have sizes that only the call knows"
        count = written_out(self.frame.sizes, self.frame.places, unrolled)
        if count > 2 * MOST_COORDINATES:
            return f"{count} values for each pair"
        if sum(axis in inner for axis in wide) > 1 or sum(axis in of_results for axis in wide) > 1:
            return "several wide axes"
        return tuple(unrolled), lanes[0] if lanes else None, tuple(wide)

    def _written_out(self, step: Step) -> bool:
        """Whether a reduction inside a pair is a sum, or an extreme of a known number of values."""
        if step in self.finals or not isinstance(step.node.op, Reduce):
            return True
        known = all(isinstance(step.node.sizes[index], int) for index in step.node.bound)
        return known and step.node.op.op is not ReduceOp.LOGSUMEXP

    def _in_product(self, axis: int, own: set[int], inner: bool) -> bool:
        """Whether an axis belongs to plain products of two tensors alone: of points of both sides,
        or of a value per pair with a tensor over the samples."""
        for step, place in zip(self.steps, self.frame.places, strict=True):
            node = step.node
            if axis not in place:
                continue
            sides = [{place[i] for i in read_indices(read)} for read in node.reads]
            made = [read.node in self.frame.values for read in node.reads]
            if not isinstance(node.op, Contract) or len(sides) != 2:
                return False
            bound = {place[i] for i in reduced(node)}
            if inner:
                split = [bool(side & self.columns) for side in sides]
                if any(made) or bound != {axis} or sorted(split) != [False, True]:
                    return False
                row, column = sides[split.index(False)], sides[split.index(True)]
                if not row & own or column & own or axis not in row & column:
                    return False
            else:
                if sorted(made) != [False, True]:
                    return False
                value, tensor = sides[made.index(True)], sides[made.index(False)]
                if axis in value or not value & own or tensor & own:
                    return False
                if not value & tensor >= self.columns:
                    return False
        return True

    def _order(self) -> tuple[int, ...]:
        """Axes as results and operands lie in memory."""
        order: dict[int, None] = {}
        for step in self.finals:
            order.update(dict.fromkeys(self.frame.values[step.out]))
        for step, place in zip(self.steps, self.frame.places, strict=True):
            for read in step.node.reads:
                if read.node not in self.frame.values:
                    order.update(dict.fromkeys(place[i] for i in read_indices(read)))
        return (*order, *(a for a in range(len(self.frame.sizes)) if a not in order))


def written_out(
    sizes: Sequence[Size], places: Sequence[tuple[int, ...]], unrolled: Sequence[int]
) -> int:
    """The most values for each pair that a step writes out."""
    counts = [product(sizes[axis] for axis in unrolled if axis in place) for place in places]
    return max(count for count in counts if isinstance(count, int))


def _indices(subscript: object) -> tuple[int, ...]:
    match subscript:
        case At(index):
            return (index,)
        case Group(indices):
            return indices
    return ()
