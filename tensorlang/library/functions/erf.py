"""Error function."""

from __future__ import annotations

import math

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

compute = np.vectorize(math.erf, otypes=[np.float64])


ROW = Function(
    name="erf",
    arity=(1, 1),
    dtype=signature.real,
    numpy=compute,
    derivative=("2 / sqrt(pi) * exp(-x ^ 2)",),
    torch="torch.erf({0})",
    triton="tl.erf({0})",
    doc="Error function",
    example="Y[i] = erf(X[i])",
)
