"""Inverse of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library.transform import Transform, matrix


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return np.linalg.inv(a)


ROW = Transform(
    name="inv",
    sources=2,
    targets=2,
    arguments=1,
    dtype=matrix,
    numpy=compute,
    torch="torch.linalg.inv({0})",
    doc="Inverse; the first index counts rows, the second columns",
    example="Y[i, i'] = inv[i, i'](M[i, i'])",
    square=True,
)
