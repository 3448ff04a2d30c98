"""Quotient rounded down, Python's // on ints and reals."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="floordiv",
    arity=(2, 2),
    dtype=signature.ordered_number,
    numpy=np.floor_divide,
    derivative=(None, None),
    torch='torch.div({0}, {1}, rounding_mode="floor")',
    triton=None,
    doc="Quotient rounded down, Python's // on ints and reals",
    example="Y[i] = X[i] // A[i]",
    partial=True,
    reserved=True,
)
