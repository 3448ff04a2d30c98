"""What the steps of a map over pairs compute for a tile of pairs, and what its ends reduce."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tensorlang.backends.triton.build import real
from tensorlang.backends.triton.kernel_ir import Const, DType, Expr
from tensorlang.backends.triton.map_space import Coordinates, MapAxes
from tensorlang.backends.triton.operands import HELD
from tensorlang.backends.triton.row_values import Scalars
from tensorlang.backends.triton.ssa import Values
from tensorlang.check.program import ReduceOp
from tensorlang.ir.nodes import Contract, Pointwise, Read, Reduce
from tensorlang.ir.reads import read_indices
from tensorlang.plan.plan import Slot, Step
from tensorlang.size import Size


@dataclass(frozen=True, slots=True)
class End:
    """One reduction over the columns, of result number `result` at `at`: of `value` per pair, or a
    Dot of it with a tensor [j, e]. None stands for a sum."""

    result: int
    at: Coordinates
    op: ReduceOp | None
    value: Expr
    tensor: Expr | None
    coefficient: float


@dataclass(frozen=True, slots=True)
class _Here:
    """A group at coordinates of its unrolled axes, as Scalars asks for it."""

    axes: MapAxes
    at: Coordinates

    def local(self, step: int, index: int) -> Expr:
        return self.axes.position(self.axes.space.places[step][index], self.at)

    def size(self, size: Size, name: str) -> Expr:
        return self.axes.size(size, name)

    @property
    def sizes(self) -> dict[str, Size]:
        return self.axes.sizes


@dataclass(slots=True)
class MapValues:
    """Adds the values of a group to a kernel, each once per coordinates of its unrolled axes."""

    axes: MapAxes
    values: Values
    made: dict[tuple[Slot, Coordinates], Expr] = field(default_factory=dict)

    def ends(self) -> list[End]:
        """All ends, in the order of results and coordinates."""
        out: list[End] = []
        finals = [k for k, step in enumerate(self.axes.steps) if self.axes.space.is_end(step)]
        for number, k in enumerate(finals):
            step = self.axes.steps[k]
            for at in self.coordinates(self.axes.space.values[step.out]):
                out.append(self.end(step, k, number, at))
        return out

    def end(self, step: Step, k: int, number: int, at: Coordinates) -> End:
        node, values = step.node, self.values
        match node.op:
            case Contract(coefficient=coefficient):
                assert not isinstance(coefficient, complex), node
                wide = [r for r in node.reads if self._is_wide(r, k)]
                factors = [self.read(r, k, at) for r in node.reads if r not in wide]
                value = values.map("mul", *(self.real(factor) for factor in factors))
                tensor = self.real(self.read(wide[0], k, at)) if wide else None
                return End(number, at, None, value, tensor, float(coefficient))
            case Reduce(op):
                return End(number, at, op, self.real(self.read(node.reads[0], k, at)), None, 1.0)
        raise AssertionError(node)

    def _is_wide(self, read: Read, k: int) -> bool:
        """Whether an end reads a tensor over a wide axis of the results."""
        place = self.axes.space.places[k]
        return any(place[index] in self.axes.space.wide for index in read_indices(read))

    def real(self, value: Expr) -> Expr:
        return self.values.cast(value, DType.ACCUMULATE)

    def coordinates(self, axes: Sequence[int]) -> list[Coordinates]:
        """Positions on those of the axes that are unrolled, row-major."""
        spans = [
            [(axis, k) for k in range(self._length(axis))]
            for axis in axes
            if axis in self.axes.space.unrolled
        ]
        return [tuple(chosen) for chosen in itertools.product(*spans)]

    def _length(self, axis: int) -> int:
        size = self.axes.space.sizes[axis]
        assert isinstance(size, int), size
        return size

    # --- values ----------------------------------------------------------------------------------
    def read(self, read: Read, step: int, at: Coordinates) -> Expr:
        space = self.axes.space
        if read.node not in space.values:
            operand = self.axes.operand(read, step)
            index = self.axes.index(operand.dims, at)
            return self.values.load(operand.name, index, HELD[operand.dtype])
        kept = tuple(c for c in at if c[0] in space.values[read.node])
        key = (read.node, kept)
        if key not in self.made:
            (k,) = (k for k, s in enumerate(self.axes.steps) if s.out == read.node)
            self.made[key] = self.step(self.axes.steps[k], k, kept)
        return self.made[key]

    def step(self, step: Step, k: int, at: Coordinates) -> Expr:
        node, values = step.node, self.values
        match node.op:
            case Pointwise(expr):
                reads = [self.read(read, k, at) for read in node.reads]
                kinds = [self.axes.dtype(read.node) for read in node.reads]
                value, dtype = Scalars(_Here(self.axes, at), values, k, reads, kinds).value(expr)
                return values.cast(value, HELD[max(dtype, node.dtype)])
            case Contract(coefficient=coefficient):
                assert not isinstance(coefficient, complex), node
                bound = [self.axes.space.places[k][index] for index in node.bound]
                if set(bound) & set(self.axes.space.wide):
                    a, b = (self.real(self.read(read, k, at)) for read in node.reads)
                    dot = values.let(values.dot(a, b, "d"))
                    return values.map("mul", dot, real(coefficient))
                terms = [self._product(step, k, (*at, *here)) for here in self.coordinates(bound)]
                total = values.map("add", *terms)
                if self.axes.space.lane in bound:
                    total = values.sum(total, "d")
                return values.map("mul", total, real(coefficient))
            case Reduce(op):
                return self._reduced(step, k, op, at)
        raise AssertionError(node)

    def _product(self, step: Step, k: int, at: Coordinates) -> Expr:
        factors = [self.real(self.read(read, k, at)) for read in step.node.reads]
        return self.values.map("mul", *factors)

    def _reduced(self, step: Step, k: int, op: ReduceOp, at: Coordinates) -> Expr:
        """The largest or smallest over unrolled axes."""
        bound = [self.axes.space.places[k][index] for index in step.node.bound]
        parts = [self._product(step, k, (*at, *here)) for here in self.coordinates(bound)]
        out = parts[0]
        for part in parts[1:]:
            out = self.values.map({ReduceOp.MAX: "max", ReduceOp.MIN: "min"}[op], out, part)
        return out


def zero(axes: Sequence[str]) -> Const:
    return Const(0.0, DType.ACCUMULATE, tuple(axes))
