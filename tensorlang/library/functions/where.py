"""Choice by a condition."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="where",
    arity=(3, 3),
    dtype=signature.choice,
    numpy=np.where,
    derivative=(None, "1 if x else 0", "0 if x else 1"),
    torch="torch.where({0}, {1}, {2})",
    triton="tl.where({0}, {1}, {2})",
    doc="`a if condition else b`: the branch not taken has no gradient",
    example="Y[i] = X[i] if X[i] > 0 else 2 * X[i]",
    reserved=True,
)
