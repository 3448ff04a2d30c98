"""Absolute value."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="abs",
    arity=(1, 1),
    dtype=signature.magnitude,
    numpy=np.abs,
    derivative=("sign(x)",),
    torch="torch.abs({0})",
    triton="tl.abs({0})",
    doc="Absolute value; its slope at 0 is 0. Of a complex number its modulus, which is real",
    example="Y[i] = abs(X[i])",
)
