"""Cosine."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="cos",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.cos,
    derivative=("-sin(x)",),
    torch="torch.cos({0})",
    triton="tl.cos({0})",
    doc="Cosine",
    example="Y[i] = cos(X[i])",
)
