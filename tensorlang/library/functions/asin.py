"""Inverse sine."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="asin",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.arcsin,
    derivative=("rsqrt(1 - x ^ 2)",),
    torch="torch.asin({0})",
    triton=None,
    doc="Inverse sine",
    example="Y[i] = asin(X[i] / (1 + abs(X[i])))",
    partial=True,
)
