"""A bool or int in the module's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return np.asarray(x).astype(np.float64)


ROW = Function(
    name="to_real",
    arity=(1, 1),
    dtype=signature.to_real,
    numpy=compute,
    derivative=("1",),
    torch="{0}.to({dtype})",
    triton=None,
    doc="A bool or int in the module's dtype",
    example="Y[i] = X[i] + K[i]",
    reserved=True,
    promotes=False,
)
