"""Exponential."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="exp",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.exp,
    derivative=("f",),
    torch="torch.exp({0})",
    triton="tl.exp({0})",
    doc="Exponential",
    example="Y[i] = exp(X[i])",
    partial=True,
)
