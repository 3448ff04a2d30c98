"""Inverse tangent."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="atan",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.arctan,
    derivative=("1 / (1 + x ^ 2)",),
    torch="torch.atan({0})",
    triton=None,
    doc="Inverse tangent",
    example="Y[i] = atan(X[i])",
)
