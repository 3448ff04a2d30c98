"""Imaginary part."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="imag",
    arity=(1, 1),
    dtype=signature.imaginary_part,
    numpy=np.imag,
    derivative=(None,),
    torch="torch.imag({0})",
    triton=None,
    doc="Imaginary part",
    example="Y[i] = imag(Z[i])",
)
