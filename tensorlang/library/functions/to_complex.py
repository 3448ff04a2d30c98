"""A number with imaginary part 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return np.asarray(x).astype(np.complex128)


ROW = Function(
    name="to_complex",
    arity=(1, 1),
    dtype=signature.to_complex,
    numpy=compute,
    derivative=("1",),
    torch="{0}.to({complex_dtype})",
    triton=None,
    doc="A number with imaginary part 0",
    example="Y[i] = Z[i] + X[i]",
    reserved=True,
    promotes=False,
)
