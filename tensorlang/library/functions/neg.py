"""Minus x."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="neg",
    arity=(1, 1),
    dtype=signature.number,
    numpy=np.negative,
    derivative=("-1",),
    torch="(-{0})",
    triton="(-{0})",
    doc="Minus x",
    example="Y[i] = -X[i]",
    reserved=True,
)
