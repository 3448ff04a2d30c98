"""How a position stays inside its axis: proved, else, wrap, clamp, reflect, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np

from tensorlang.check.program import Boundary
from tensorlang.reference.field import Field, meet


@dataclass(frozen=True, slots=True)
class Place:
    """An axis of a tensor that is read or written, and the tensors that its position comes from."""

    tensor: str
    axis: int
    indices: tuple[str, ...]
    size: int
    via: tuple[str, ...]

    def __str__(self) -> str:
        names = f" ({' '.join(self.indices)})" if self.indices else ""
        via = f", a position that {', '.join(self.via)} gives" if self.via else ""
        return f"axis {self.axis}{names} of {self.tensor}, of size {self.size}{via}"


def bring_inside(
    position: Field, boundary: Boundary, place: Place, mask: Field | None
) -> tuple[Field, Field | None]:
    """Positions inside the axis, and for ELSE the mask of those that were inside before.

    Raises IndexError where a CHECKED position is outside in a cell of the mask, and ValueError for
    wrap, clamp and reflect into an empty axis.
    """
    size = place.size
    clipped = Field(position.indices, np.clip(position.values, 0, max(size - 1, 0)))
    match boundary:
        case Boundary.INSIDE:
            assert (bad := _outside(position, size, mask)) is None, (place, bad)
            return clipped, None
        case Boundary.CHECKED:
            if (bad := _outside(position, size, mask)) is not None:
                raise IndexError(f"position {bad} is out of range for {place}")
            return clipped, None
        case Boundary.ELSE:
            inside = (position.values >= 0) & (position.values < size)
            return clipped, Field(position.indices, inside)
        case Boundary.WRAP | Boundary.CLAMP | Boundary.REFLECT:
            if size == 0:
                if _outside(position, size, mask) is not None:
                    raise ValueError(f"{boundary.value} has nowhere to go: {place}")
                return clipped, None
            return Field(position.indices, _moved(position.values, boundary, size)), None
        case _:
            assert_never(boundary)


def _outside(position: Field, size: int, mask: Field | None) -> int | None:
    """The first position outside the axis, in row-major order of the cells."""
    bad = (position.values < 0) | (position.values >= size)
    values = position.values
    if mask is not None:
        _, (bad, active, values) = meet((Field(position.indices, bad), mask, position))
        bad = bad & active
    if not bad.any():
        return None
    return int(np.broadcast_to(values, bad.shape)[bad][0])


def _moved(position: Any, boundary: Boundary, size: int) -> Any:
    match boundary:
        case Boundary.WRAP:
            return position % size
        case Boundary.CLAMP:
            return np.clip(position, 0, size - 1)
        case _:
            # the mirror image repeats with period 2 (size - 1)
            period = max(1, 2 * (size - 1))
            folded = position % period
            return np.where(folded < size, folded, period - folded)
