"""Multilinear forms with few terms.

result[cell 0] = sum over terms of coefficient * operand 1[cell 1] * … * operand r[cell r], at every
point of some free axes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.plan.plan import Slot
from tensorlang.size import Size

Cell = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Free:
    """An axis of the space."""

    axis: int


@dataclass(frozen=True, slots=True)
class Picked:
    """The position that an integer tensor holds, itself read at axes of the space."""

    slot: Slot
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """An axis whose cells the terms name."""

    size: int


Dim = Free | Picked | Component


@dataclass(frozen=True, slots=True)
class Operand:
    slot: Slot
    dims: tuple[Dim, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of the space along which it may vary."""
        out: dict[int, None] = {}
        for dim in self.dims:
            match dim:
                case Free(axis):
                    out[axis] = None
                case Picked(axes=axes):
                    out.update(dict.fromkeys(axes))
                case Component():
                    pass
        return tuple(out)


@dataclass(frozen=True, slots=True)
class Term:
    """`cells` give the components of the result and of every operand, each in order of its dims."""

    coefficient: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """`operands[0]` is the result. `sizes` are those of the free axes."""

    sizes: tuple[Size, ...]
    operands: tuple[Operand, ...]
    terms: tuple[Term, ...]

    @property
    def scattered(self) -> bool:
        return any(isinstance(dim, Picked) for dim in self.operands[0].dims)
