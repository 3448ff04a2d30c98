"""Power."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any, y: Any) -> Any:
    if not np.issubdtype(np.result_type(x, y), np.integer):
        return np.power(x, y)
    whole = np.power(x, np.maximum(y, 0))
    inverse = np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), 0)
    return np.where(y < 0, inverse, whole)


ROW = Function(
    name="pow",
    arity=(2, 2),
    dtype=signature.number,
    numpy=compute,
    derivative=("0 if y == 0 else y * x ^ (y - 1)", "0 if x == 0 else f * log(x)"),
    torch="({0} ** {1})",
    triton=None,
    doc=(
        "Power. A literal integer exponent differentiates by lowering it, so x^2 has "
        "every derivative at 0. An int to a negative int is 0 but for the bases 1 and -1"
    ),
    example="Y[i] = X[i] ^ 2",
    partial=True,
    reserved=True,
)
