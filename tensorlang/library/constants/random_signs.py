"""Seeded signs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, Slot


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    seed = arguments["seed"]
    good = isinstance(seed, int) and seed >= 0
    return None if good else f"seed is an integer from 0 up, here {seed}"


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    generator = np.random.Generator(np.random.PCG64(int(arguments["seed"])))
    return 2.0 * generator.integers(0, 2, [slot.size for slot in slots]) - 1


ROW = Constant(
    name="random_signs",
    axes=(1, None),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    doc="Independent signs, +1 or -1 (PCG64), the same for the same sizes and seed",
    example="const C[i] = random_signs(i, seed = 0)",
    arguments=(("seed", 0),),
)
