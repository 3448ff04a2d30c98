"""Sum of two or more terms."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(*args: Any) -> Any:
    return functools.reduce(np.add, args)


ROW = Function(
    name="add",
    arity=(2, None),
    dtype=signature.number,
    numpy=compute,
    derivative=("1", "1"),
    torch="({0} + {1})",
    triton="({0} + {1})",
    doc="Sum of two or more terms",
    example="Y[i] = X[i] + A[i]",
    reserved=True,
)
