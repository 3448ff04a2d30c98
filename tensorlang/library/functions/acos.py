"""Inverse cosine."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="acos",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.arccos,
    derivative=("-rsqrt(1 - x ^ 2)",),
    torch="torch.acos({0})",
    triton=None,
    doc="Inverse cosine",
    example="Y[i] = acos(X[i] / (1 + abs(X[i])))",
    partial=True,
)
