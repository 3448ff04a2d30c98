"""Stop of the gradient."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="stopgrad",
    arity=(1, 1),
    dtype=signature.same,
    numpy=np.asarray,
    derivative=(None,),
    torch="{0}.detach()",
    triton="{0}",
    doc="x, whose gradient stops here",
    example="Y[i] = X[i] * stopgrad(X[i])",
)
