"""Largest integer <= x, an int."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    if np.issubdtype(np.asarray(x).dtype, np.integer):
        return x
    return np.floor(x).astype(np.int64)


ROW = Function(
    name="floor",
    arity=(1, 1),
    dtype=signature.rounded,
    numpy=compute,
    derivative=(None,),
    torch="torch.floor({0}).to(torch.int64)",
    triton="tl.floor({0}).to(tl.int64)",
    doc="Largest integer <= x, an int",
    example="Y[i] = floor(X[i])",
)
