"""Real part."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="real",
    arity=(1, 1),
    dtype=signature.real_part,
    numpy=np.real,
    derivative=(None,),
    torch="torch.real({0})",
    triton=None,
    doc="Real part",
    example="Y[i] = real(Z[i])",
)
