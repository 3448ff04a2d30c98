"""Eigenvalues of a Hermitian matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library.transform import Transform, spectral


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return np.linalg.eigvalsh((a + np.conj(np.swapaxes(a, -1, -2))) / 2)


ROW = Transform(
    name="eigvals",
    sources=2,
    targets=1,
    arguments=1,
    dtype=spectral,
    numpy=compute,
    torch="torch.linalg.eigvalsh(0.5 * ({0} + {0}.mH))",
    doc="Eigenvalues, ascending, of the Hermitian part of a matrix",
    example="Y[k] = eigvals[i, i' -> k](M[i, i'])",
    square=True,
)
