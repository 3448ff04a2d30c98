"""Identity."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, Slot, square


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    size = slots[0].size
    out = np.zeros((size,) * len(slots))
    out[(np.arange(size),) * len(slots)] = 1
    return out


ROW = Constant(
    name="eye",
    axes=(2, None),
    dtype=Dtype.REAL,
    numpy=build,
    check=square,
    doc="[n, n] or more axes: 1 where all positions are equal, else 0",
    example="const C[i, i'] = eye(i, i')",
)
