"""Sign."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="sign",
    arity=(1, 1),
    dtype=signature.ordered_number,
    numpy=np.sign,
    derivative=(None,),
    torch="torch.sign({0})",
    triton="(({0} > 0).to({0}.dtype) - ({0} < 0).to({0}.dtype))",
    doc="-1, 0 or 1",
    example="Y[i] = sign(X[i])",
)
