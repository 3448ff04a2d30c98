"""Natural logarithm."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="log",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.log,
    derivative=("1 / x",),
    torch="torch.log({0})",
    triton="tl.log({0})",
    doc="Natural logarithm; NaN for negative reals, the principal branch for complex numbers",
    example="Y[i] = log(X[i]^2 + 1)",
    partial=True,
)
