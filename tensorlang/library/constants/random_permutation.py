"""Seeded permutation."""

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
    return generator.permutation(slots[0].size).astype(np.int64)


ROW = Constant(
    name="random_permutation",
    axes=(1, 1),
    dtype=Dtype.INT,
    numpy=build,
    check=check,
    doc=(
        "0 … n-1 in random order (PCG64), the same for the same size and seed: positions to read "
        "at, as in X[P[i]]"
    ),
    example="const P[i] = random_permutation(i, seed = 0)",
    arguments=(("seed", 0),),
)
