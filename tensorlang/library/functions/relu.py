"""Rectifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return np.maximum(x, 0)


ROW = Function(
    name="relu",
    arity=(1, 1),
    dtype=signature.ordered_number,
    numpy=compute,
    derivative=("1 if f > 0 else 0",),
    torch="torch.relu({0})",
    triton="tl.maximum({0}, 0)",
    doc="max(x, 0); its slope at 0 is 0",
    example="Y[i] = relu(X[i])",
)
