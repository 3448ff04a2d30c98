"""Remainder with the sign of the divisor, Python's % on ints and reals."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="mod",
    arity=(2, 2),
    dtype=signature.ordered_number,
    numpy=np.remainder,
    derivative=("1", "-(x // y)"),
    torch="({0} % {1})",
    triton=None,
    doc="Remainder with the sign of the divisor, Python's % on ints and reals",
    example="Y[i] = X[i] % A[i]",
    partial=True,
    reserved=True,
)
