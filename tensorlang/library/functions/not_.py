"""True where the condition is not."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="not",
    arity=(1, 1),
    dtype=signature.logical,
    numpy=np.logical_not,
    derivative=(None,),
    torch="torch.logical_not({0})",
    triton="({0} == 0)",
    doc="True where the condition is not",
    example="Y[i] = 1 if not B[i] else 0",
    reserved=True,
)
