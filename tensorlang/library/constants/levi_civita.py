"""The antisymmetric tensor."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, Slot

_MOST = 6


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    rank = len(slots)
    if rank > _MOST:
        return f"it has at most {_MOST} axes"
    if any(slot.size != rank for slot in slots):
        sizes = " x ".join(str(slot.size) for slot in slots)
        return f"with {rank} axes each has size {rank}, here {sizes}"
    return None


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    out = np.zeros((len(slots),) * len(slots))
    for order in itertools.permutations(range(len(slots))):
        swaps = sum(a > b for a, b in itertools.combinations(order, 2))
        out[order] = (-1) ** swaps
    return out


ROW = Constant(
    name="levi_civita",
    axes=(2, None),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    doc="[n, …, n] with n axes: the sign of a permutation of 0 … n - 1, 0 where one repeats",
    example="dim x = 3; const C[x, x', x''] = levi_civita(x, x', x'')",
)
