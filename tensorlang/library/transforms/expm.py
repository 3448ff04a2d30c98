"""Matrix exponential."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from tensorlang.library.transform import Transform, matrix


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return scipy.linalg.expm(a) if a.size else np.zeros_like(a)


ROW = Transform(
    name="expm",
    sources=2,
    targets=2,
    arguments=1,
    dtype=matrix,
    numpy=compute,
    torch="torch.linalg.matrix_exp({0})",
    doc="Matrix exponential",
    example="Y[i, i'] = expm[i, i'](M[i, i'])",
    square=True,
)
