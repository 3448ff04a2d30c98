"""Comparison x != y."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="ne",
    arity=(2, 2),
    dtype=signature.comparison,
    numpy=np.not_equal,
    derivative=(None, None),
    torch="({0} != {1})",
    triton="({0} != {1})",
    doc="True where x != y",
    example="Y[i] = 1 if X[i] != A[i] else 0",
    reserved=True,
)
