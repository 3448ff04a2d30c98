"""Hadamard matrix of a power of two."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, Slot, square


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    size = slots[0].size
    if square(slots, arguments) is None and size & (size - 1):
        return f"its size is a power of two, here {size}"
    return square(slots, arguments)


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    out = np.ones((1, 1))
    while len(out) < slots[0].size:
        out = np.block([[out, out], [out, -out]])
    return out


ROW = Constant(
    name="hadamard",
    axes=(2, 2),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    doc=(
        "[n, n], n a power of two: (-1)^(number of ones that i and i' share in binary), in "
        "Sylvester's order; its square is n times the identity"
    ),
    example="dim i = 8; const C[i, i'] = hadamard(i, i')",
)
