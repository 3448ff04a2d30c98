"""Quotient; of ints it is real."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="div",
    arity=(2, 2),
    dtype=signature.field,
    numpy=np.true_divide,
    derivative=("1 / y", "-f / y"),
    torch="({0} / {1})",
    triton="({0} / {1})",
    doc="Quotient; of ints it is real",
    example="Y[i] = X[i] / A[i]",
    partial=True,
    reserved=True,
)
