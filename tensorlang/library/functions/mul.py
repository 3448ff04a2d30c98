"""Product of two or more factors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(*args: Any) -> Any:
    return functools.reduce(np.multiply, args)


ROW = Function(
    name="mul",
    arity=(2, None),
    dtype=signature.number,
    numpy=compute,
    derivative=("y", "x"),
    torch="({0} * {1})",
    triton="({0} * {1})",
    doc="Product of two or more factors",
    example="Y[i] = X[i] * A[i]",
    reserved=True,
)
