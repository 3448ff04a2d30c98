"""Angle of a point."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="atan2",
    arity=(2, 2),
    dtype=signature.real,
    numpy=np.arctan2,
    derivative=("y / (x ^ 2 + y ^ 2)", "-x / (x ^ 2 + y ^ 2)"),
    torch="torch.atan2({0}, {1})",
    triton=None,
    doc="Angle of the point (y, x), the ordinate first, in (-pi, pi]",
    example="Y[i] = atan2(X[i], A[i])",
    partial=True,
)
