"""Hyperbolic cosine."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="cosh",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.cosh,
    derivative=("sinh(x)",),
    torch="torch.cosh({0})",
    triton="(0.5 * (tl.exp({0}) + tl.exp(-{0})))",
    doc="Hyperbolic cosine",
    example="Y[i] = cosh(X[i])",
    partial=True,
)
