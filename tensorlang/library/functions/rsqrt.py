"""Inverse square root."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return 1 / np.sqrt(x)


ROW = Function(
    name="rsqrt",
    arity=(1, 1),
    dtype=signature.field,
    numpy=compute,
    derivative=("-0.5 * f / x",),
    torch="torch.rsqrt({0})",
    triton="tl.rsqrt({0})",
    doc="1 / sqrt(x)",
    example="Y[i] = rsqrt(X[i]^2 + 1)",
    partial=True,
)
