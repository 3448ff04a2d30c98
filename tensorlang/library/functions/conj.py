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
    # torch.conj is a view; torch.imag of it has no vmap, nor has the gradient of torch.complex
    torch="torch.conj_physical({0})",
    triton=None,
    doc="Complex conjugate",
    example="Y[i] = real(conj(Z[i]) * Z[i])",
)
