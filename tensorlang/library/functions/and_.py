"""True where all conditions are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(*args: Any) -> Any:
    return functools.reduce(np.logical_and, args)


ROW = Function(
    name="and",
    arity=(2, None),
    dtype=signature.logical,
    numpy=compute,
    derivative=(None, None),
    torch="({0} & {1})",
    triton="({0} & {1})",
    doc="True where all conditions are",
    example="Y[i] = 1 if B[i] and X[i] > 0 else 0",
    reserved=True,
)
