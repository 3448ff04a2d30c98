"""Complex conjugate."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="conj",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.conj,
    derivative=(None,),
    torch="torch.conj({0})",
    triton=None,
    doc="Complex conjugate",
    example="Y[i] = real(conj(Z[i]) * Z[i])",
)
