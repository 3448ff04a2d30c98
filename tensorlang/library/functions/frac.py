"""Fractional part."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return x - np.floor(x)


ROW = Function(
    name="frac",
    arity=(1, 1),
    dtype=signature.real,
    numpy=compute,
    derivative=("1",),
    torch="({0} - torch.floor({0}))",
    triton="({0} - tl.floor({0}))",
    doc="x - floor(x), in [0, 1)",
    example="Y[i] = frac(X[i])",
)
