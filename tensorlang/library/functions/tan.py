"""Tangent."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="tan",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.tan,
    derivative=("1 + f ^ 2",),
    torch="torch.tan({0})",
    triton="(tl.sin({0}) / tl.cos({0}))",
    doc="Tangent",
    example="Y[i] = tan(X[i])",
    partial=True,
)
