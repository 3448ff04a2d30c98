"""The space of a K3 kernel: a form's axes as rows and lanes, its tensors and their sizes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tensorlang.backends.triton.kernel_ir import Expr
from tensorlang.backends.triton.operands import size_argument
from tensorlang.plan.form import Component, Form, Free, Operand, Picked
from tensorlang.size import Size

FEWEST = 8
"""Axes that are shorter are rows if there is another."""


@dataclass
class Space:
    """A form's axes as rows and lanes, its tensors' extents, the sizes that a call gives."""

    form: Form
    extents: Sequence[Sequence[Size]]
    sizes: dict[str, Size] = field(default_factory=dict)

    @cached_property
    def lane(self) -> int:
        """The axis that lies innermost in most tensors, of equals the last; few lanes are none."""
        last = [[d.axis for d in o.dims if isinstance(d, Free)][-1:] for o in self.operands]
        sizes = self.form.sizes
        long = [axis for axis, s in enumerate(sizes) if not isinstance(s, int) or s >= FEWEST]
        return max(long or range(len(sizes)), key=lambda axis: (last.count([axis]), axis))

    @property
    def operands(self) -> Sequence[Operand]:
        return self.form.operands

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.form.sizes)) if axis != self.lane)

    @cached_property
    def picks(self) -> tuple[Picked, ...]:
        """Tensors of positions, each once."""
        dims = (dim for operand in self.operands for dim in operand.dims)
        return tuple(dict.fromkeys(dim for dim in dims if isinstance(dim, Picked)))

    def position_tensor(self, picked: Picked) -> str:
        return f"I{self.picks.index(picked) + 1}"

    def axis_name(self, axis: int) -> str:
        return "u" if axis == self.lane else f"r{self.rows.index(axis)}"

    def extent(self, axis: int) -> Expr:
        return self.size(self.form.sizes[axis], self.axis_name(axis).upper())

    def size(self, size: Size, name: str) -> Expr:
        return size_argument(self.sizes, size, name)

    def shape(self, operand: int) -> tuple[Expr, ...]:
        """The extents of a tensor."""
        dims = enumerate(zip(self.operands[operand].dims, self.extents[operand], strict=True))
        return tuple(
            self.extent(dim.axis) if isinstance(dim, Free) else self.size(size, f"N{operand}_{k}")
            for k, (dim, size) in dims
        )

    def lost(self, operand: int) -> tuple[int, ...]:
        """Rows over which the gradient of an operand is summed after the kernel."""
        if self.atomic(operand):
            return ()
        return tuple(axis for axis in self.rows if axis not in self.operands[operand].axes)

    def atomic(self, operand: int) -> bool:
        """Whether several programs add to a cell."""
        return any(isinstance(dim, Picked) for dim in self.operands[operand].dims)

    def landing(self, operand: int) -> Picked | None:
        """The one dim of an operand whose position is picked, row by row."""
        picks = [dim for dim in self.operands[operand].dims if isinstance(dim, Picked)]
        alone = len(picks) == 1 and len(picks[0].axes) == 1 and picks[0].axes[0] in self.rows
        return picks[0] if alone else None

    def full(self, operand: int) -> bool:
        """Whether the terms mention every component of an operand."""
        count = 1
        for dim in self.operands[operand].dims:
            count *= dim.size if isinstance(dim, Component) else 1
        return len({term.cells[operand] for term in self.form.terms}) == count
