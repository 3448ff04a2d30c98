"""Larger of two."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="max",
    arity=(2, 2),
    dtype=signature.ordered,
    numpy=np.maximum,
    derivative=("1 if x > y else 0.5 if x == y else 0", "0 if x > y else 0.5 if x == y else 1"),
    torch="torch.maximum({0}, {1})",
    triton="tl.maximum({0}, {1})",
    doc="Larger of two numbers; a tie shares its gradient evenly",
    example="Y[i] = max(X[i], 0)",
)
