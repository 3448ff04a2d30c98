"""Where a map over pairs of samples stands in its kernels: axes, sizes and operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tensorlang.backends.triton.build import add, integer, product, scale
from tensorlang.backends.triton.kernel_ir import Axis, AxisKind, Expr, Iota, Part, Role, Tensor
from tensorlang.backends.triton.operands import (
    STORED,
    Dims,
    dtype_of,
    read_dims,
    size_argument,
)
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Read
from tensorlang.plan.map_reduce import MapSpace
from tensorlang.plan.plan import Slot, Step
from tensorlang.size import Size

Coordinates = tuple[tuple[int, int], ...]
"""Positions on unrolled axes, by axis."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor at one index. `grads` are the axes of the tensor that its gradient is left in, if it
    has one: those of the grid of the kernel that owns it, then its own small ones."""

    name: str
    slot: Slot
    dtype: Dtype
    dims: Dims
    grads: tuple[int, ...] | None

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(axis for dim in self.dims for axis in dim)

    @property
    def direct(self) -> bool:
        """Whether the gradient has the shape of the operand."""
        return self.grads == self.axes


@dataclass(slots=True)
class MapAxes:
    """Steps in their space. `dtypes` of the slots that are read from outside."""

    steps: tuple[Step, ...]
    space: MapSpace
    dtypes: Mapping[Slot, Dtype]
    sizes: dict[str, Size] = field(default_factory=dict)
    operands: dict[tuple[Slot, Dims], Operand] = field(default_factory=dict)

    def name(self, axis: int) -> str:
        space = self.space
        for letter, axes in (("b", space.batch), ("i", space.rows), ("j", space.columns)):
            if axis in axes:
                return f"{letter}{axes.index(axis)}" if len(axes) > 1 else letter
        made = any(axis in space.values[step.out] for step in self.steps if space.is_end(step))
        return "e" if made else "d"

    def extent(self, axis: int) -> Expr:
        letters = {"i": "N", "j": "M"}
        name = self.name(axis)
        return self.size(self.space.sizes[axis], letters.get(name, name.upper()))

    def size(self, size: Size, name: str) -> Expr:
        """A size as an expression: a number, or an argument of that name."""
        return size_argument(self.sizes, size, name)

    def axes(self, owner: str) -> list[Axis]:
        """The axes of a kernel whose programs own a block of rows "i" or of columns "j"."""
        space = self.space
        out: list[Axis] = []
        if space.batch:
            extent = product(*map(self.extent, space.batch))
            out.append(Axis("b", AxisKind.GRID, extent, parts=self.split(space.batch)))
        sides = [("i", space.rows, "BM"), ("j", space.columns, "BN")]
        for side, axes, block in sides if owner == "i" else sides[::-1]:
            kind = AxisKind.TILE if side == owner else AxisKind.CHUNK
            extent = product(*map(self.extent, axes))
            out.append(Axis(side, kind, extent, block, self.split(axes)))
        if space.lane is not None:
            out.append(Axis("d", AxisKind.LANE, self.extent(space.lane), "BD"))
        for wide in sorted(space.wide, key=lambda axis: self.name(axis)):
            length = space.sizes[wide]
            assert isinstance(length, int), length
            power = max(16, 1 << (length - 1).bit_length())
            out.append(Axis(self.name(wide), AxisKind.LANE, integer(length), power))
        return out

    def split(self, axes: Sequence[int]) -> tuple[Part, ...]:
        if len(axes) < 2:
            return ()
        return tuple(Part(self.name(axis), self.extent(axis)) for axis in axes)

    # --- positions -------------------------------------------------------------------------------
    def position(self, axis: int, at: Coordinates = ()) -> Expr:
        for known, coordinate in at:
            if known == axis:
                return integer(coordinate)
        return Iota(self.name(axis))

    def index(self, dims: Sequence[Sequence[int]], at: Coordinates) -> tuple[Expr, ...]:
        out = []
        for dim in dims:
            total: Expr = integer(0)
            for axis in dim:
                total = add(scale(total, self.extent(axis)), self.position(axis, at))
            out.append(total)
        return tuple(out)

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

    def owner(self, operand: Operand) -> str:
        """Whose programs sum its gradient: of rows "i" or of columns "j"."""
        axes = set(operand.axes)
        of_samples = axes & set(self.space.columns) and not axes & set(self.space.rows)
        return "j" if of_samples else "i"

    def left_in(self, operand: Operand) -> tuple[int, ...]:
        """The axes of the tensor that the gradient of an operand is left in."""
        space = self.space
        grid = (*space.batch, *(space.columns if self.owner(operand) == "j" else space.rows))
        every = (*grid, *(axis for axis in operand.axes if axis not in grid))
        return operand.axes if set(every) == set(operand.axes) else every

    def dtype(self, slot: Slot) -> Dtype:
        return dtype_of(self.steps, self.dtypes, slot)
