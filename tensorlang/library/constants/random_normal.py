"""Seeded normal numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, Slot


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    seed, std = arguments["seed"], arguments["std"]
    if not isinstance(seed, int) or seed < 0:
        return f"seed is an integer from 0 up, here {seed}"
    return None if std > 0 else f"std is positive, here {std}"


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    generator = np.random.Generator(np.random.PCG64(int(arguments["seed"])))
    return generator.standard_normal([slot.size for slot in slots]) * arguments["std"]


ROW = Constant(
    name="random_normal",
    axes=(1, None),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    doc="Independent normal numbers of mean 0 (PCG64), the same for the same sizes and seed",
    example="const C[i, i'] = random_normal(i, i', seed = 0)",
    arguments=(("seed", 0), ("std", 1.0)),
)
