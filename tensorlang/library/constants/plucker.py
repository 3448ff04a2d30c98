"""Antisymmetric selection of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, OpenSlot, Slot
from tensorlang.size import Size, simplest


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    p, i, j = (slot.size for slot in slots)
    if i != j:
        return f"its last two axes are of one size, here {i} and {j}"
    if 2 * p != i * (i - 1):
        return f"there are {i * (i - 1) // 2} pairs of {i}, its first axis has size {p}"
    return None


def first(slots: tuple[OpenSlot, ...], arguments: dict[str, Number]) -> Size | None:
    size = slots[0].size
    if size is None:
        return None
    if isinstance(size, int):
        return size * (size - 1) // 2
    return simplest(sympy.expand(size * (size - 1) / 2))


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    i, j = np.triu_indices(slots[1].size, 1)
    out = np.zeros((len(i), slots[1].size, slots[1].size))
    out[np.arange(len(i)), i, j] = 1
    out[np.arange(len(i)), j, i] = -1
    return out


ROW = Constant(
    name="plucker",
    axes=(3, 3),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    first=first,
    doc=(
        "[n (n - 1) / 2, n, n]: +1 at [p, i, j] and -1 at [p, j, i] for the p-th pair i < j in "
        "lexicographic order, so that it maps x and y to the Plücker coordinates of their span"
    ),
    example="const C[p, i, j] = plucker(p, i, j)",
)
