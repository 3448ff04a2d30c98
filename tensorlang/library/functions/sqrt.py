"""Square root."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="sqrt",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.sqrt,
    derivative=("0.5 / f",),
    torch="torch.sqrt({0})",
    triton="tl.sqrt({0})",
    doc="Square root; NaN for negative reals, the principal branch for complex numbers",
    example="Y[i] = sqrt(X[i]^2 + 1)",
    partial=True,
)
