"""Cholesky factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library.transform import Transform, matrix


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return np.linalg.cholesky((a + np.conj(np.swapaxes(a, -1, -2))) / 2)


ROW = Transform(
    name="cholesky",
    sources=2,
    targets=2,
    arguments=1,
    dtype=matrix,
    numpy=compute,
    torch="torch.linalg.cholesky(0.5 * ({0} + {0}.mH))",
    doc="Lower triangular L with L L^H = A, where A stands for its Hermitian part",
    example="Y[i, i'] = cholesky[i, i'](M[i, i'])",
    square=True,
)
