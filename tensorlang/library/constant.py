"""The shape of a constant's row: a tensor known when compiling, built from its axes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorlang.dtype import Dtype
from tensorlang.library.irreps import Irreps
from tensorlang.size import Size

Number = bool | int | float


@dataclass(frozen=True, slots=True)
class Slot:
    """An axis of a constant: its size, and the irreps of its dim where it is declared with some."""

    size: int
    irreps: Irreps | None = None


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """An axis as the checker knows it: the size may hold symbols, None where it is asked for."""

    size: Size | None
    irreps: Irreps | None = None


def fine(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    """Any axes will do."""
    return None


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant, called with the names of its indices: `const E[p, i, j] = plucker(p, i, j)`.

    `axes` counts them, most None for any number from the least up. `check` says in a sentence why
    axes or arguments do not fit, None if they do. `numpy` builds it in float64 or complex128, one
    axis a slot. `first` gives the size of the first axis from the others where nothing else
    does, None where that takes values that are not known yet. `arguments` are keywords with their
    defaults. `doc` gives shapes and the formula with its source.
    """

    name: str
    axes: tuple[int, int | None]
    dtype: Dtype
    numpy: Callable[[tuple[Slot, ...], dict[str, Number]], Any]
    doc: str
    example: str
    check: Callable[[tuple[Slot, ...], dict[str, Number]], str | None] = fine
    first: Callable[[tuple[OpenSlot, ...], dict[str, Number]], Size | None] | None = None
    arguments: tuple[tuple[str, Number], ...] = ()


def square(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    """All axes are of one size."""
    if len({slot.size for slot in slots}) == 1:
        return None
    return f"its axes are of one size, here {' x '.join(str(slot.size) for slot in slots)}"
