"""The space of a K5 kernel: its rows and lanes, the sizes and tensors that its steps read there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tensorlang.backends.triton.build import add, integer, product, scale
from tensorlang.backends.triton.kernel_ir import (
    Axis,
    AxisKind,
    Expr,
    Iota,
    Part,
    Role,
    Tensor,
)
from tensorlang.backends.triton.operands import (
    STORED,
    Dims,
    dtype_of,
    read_dims,
    size_argument,
)
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Pointwise, Read
from tensorlang.ir.reads import applied
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.rows import Space
from tensorlang.size import Size

_ANGLES = {"sin", "cos", "tan"}


class Gradient(Enum):
    """How the gradient of an operand leaves the kernel."""

    DIRECT = "direct"  # stored in place, one cell per cell of the operand
    PARTIAL = "partial"  # one copy per program, [P, lanes…]: summed over the first axis
    SPREAD = "spread"  # over the whole space: summed over the axes that the operand lacks


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor at one index. `axes` are the axes of the space that it has, in its order."""

    name: str
    slot: Slot
    dtype: Dtype
    dims: Dims
    gradient: Gradient | None

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(axis for dim in self.dims for axis in dim)


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    slot: Slot
    axes: tuple[int, ...]


def spread(space: Space, operand: Operand) -> tuple[int, ...]:
    """Axes of the tensor that holds a SPREAD gradient: all, or the rows if lanes are summed."""
    if space.whole and not set(operand.axes) & set(space.lanes):
        return space.rows
    return (*space.rows, *space.lanes)


@dataclass(slots=True)
class RowSpace:
    """Steps in their space. `dtypes` of the slots that are read from outside."""

    steps: tuple[Step, ...]
    space: Space
    needed: tuple[Slot, ...]
    dtypes: Mapping[Slot, Dtype]
    sizes: dict[str, Size] = field(default_factory=dict)
    operands: dict[tuple[Slot, Dims], Operand] = field(default_factory=dict)

    def axis_name(self, axis: int) -> str:
        letter, axes = (
            ("r", self.space.rows) if axis in self.space.rows else ("l", self.space.lanes)
        )
        return f"{letter}{axes.index(axis)}" if len(axes) > 1 else letter

    def extent(self, axis: int) -> Expr:
        return self.size(self.space.sizes[axis], self.axis_name(axis).upper())

    def size(self, size: Size, name: str) -> Expr:
        """A size as an expression: a number, or an argument of that name."""
        return size_argument(self.sizes, size, name)

    def split(self, axes: Sequence[int]) -> tuple[Part, ...]:
        if len(axes) < 2:
            return ()
        return tuple(Part(self.axis_name(axis), self.extent(axis)) for axis in axes)

    def rows(self, kind: AxisKind) -> Axis:
        extent = product(*(self.extent(axis) for axis in self.space.rows))
        if not self.space.rows:
            return Axis("r", AxisKind.GRID, integer(1))
        return Axis("r", kind, extent, "BR", self.split(self.space.rows))

    def lanes(self) -> Axis:
        extent = product(*(self.extent(axis) for axis in self.space.lanes))
        kind = AxisKind.LANE if self.space.whole else AxisKind.TILE
        return Axis("l", kind, extent, "BL", self.split(self.space.lanes))

    # --- operands --------------------------------------------------------------------------------
    def operand(self, read: Read, step: int) -> Operand:
        dims = read_dims(read, self.space.places[step])
        key = (read.node, dims)
        if key not in self.operands:
            name = f"X{len(self.operands)}"
            self.operands[key] = Operand(name, read.node, self.dtypes[read.node], dims, None)
        return self.operands[key]

    def argument(self, operand: Operand) -> Tensor:
        extents = tuple(product(*map(self.extent, dim)) for dim in operand.dims)
        return Tensor(operand.name, Role.IN, STORED[operand.dtype], extents)

    def results(self) -> list[Result]:
        return [
            Result(f"Y{k}", slot, self.space.values[slot]) for k, slot in enumerate(self.needed)
        ]

    def gradient(self, operand: Operand) -> Gradient:
        axes = set(operand.axes)
        lanes = axes & set(self.space.lanes)
        if axes.issuperset(self.space.rows):
            if lanes == set(self.space.lanes) or (not lanes and self.space.whole):
                return Gradient.DIRECT
        elif not axes & set(self.space.rows) and (
            lanes == set(self.space.lanes) or (not lanes and self.space.whole)
        ):
            return Gradient.PARTIAL
        return Gradient.SPREAD

    def position(self, axis: int) -> Expr:
        return Iota(self.axis_name(axis))

    def local(self, step: int, index: int) -> Expr:
        return self.position(self.space.places[step][index])

    def positions(self, axes: Sequence[int]) -> tuple[Expr, ...]:
        return tuple(self.position(axis) for axis in axes)

    def index(self, dims: Sequence[Sequence[int]]) -> tuple[Expr, ...]:
        out = []
        for dim in dims:
            total: Expr = integer(0)
            for axis in dim:
                total = add(scale(total, self.extent(axis)), self.position(axis))
            out.append(total)
        return tuple(out)

    def has_angles(self) -> bool:
        """Whether a step takes a sine, cosine or tangent."""
        exprs = [step.node.op.expr for step in self.steps if isinstance(step.node.op, Pointwise)]
        return any(not _ANGLES.isdisjoint(applied(expr)) for expr in exprs)

    def dtype(self, slot: Slot) -> Dtype:
        return dtype_of(self.steps, self.dtypes, slot)
