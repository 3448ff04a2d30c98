"""Sine."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="sin",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.sin,
    derivative=("cos(x)",),
    torch="torch.sin({0})",
    triton="tl.sin({0})",
    doc="Sine",
    example="Y[i] = sin(X[i])",
)
