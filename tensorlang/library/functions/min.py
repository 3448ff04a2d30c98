"""Smaller of two."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="min",
    arity=(2, 2),
    dtype=signature.ordered,
    numpy=np.minimum,
    derivative=("1 if x < y else 0.5 if x == y else 0", "0 if x < y else 0.5 if x == y else 1"),
    torch="torch.minimum({0}, {1})",
    triton="tl.minimum({0}, {1})",
    doc="Smaller of two numbers; a tie shares its gradient evenly",
    example="Y[i] = min(X[i], 0)",
)
