"""True where a condition is."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(*args: Any) -> Any:
    return functools.reduce(np.logical_or, args)


ROW = Function(
    name="or",
    arity=(2, None),
    dtype=signature.logical,
    numpy=compute,
    derivative=(None, None),
    torch="({0} | {1})",
    triton="({0} | {1})",
    doc="True where a condition is",
    example="Y[i] = 1 if B[i] or X[i] > 0 else 0",
    reserved=True,
)
