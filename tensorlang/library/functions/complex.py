"""Complex number from its parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any, y: Any) -> Any:
    # not x + 1j * y: that is NaN for infinite y
    out = np.empty(np.broadcast(x, y).shape, np.complex128)
    out.real, out.imag = x, y
    return out


ROW = Function(
    name="complex",
    arity=(2, 2),
    dtype=signature.pair,
    numpy=compute,
    derivative=("1", "complex(0, 1)"),
    torch="torch.complex({0}, {1})",
    triton=None,
    doc="The complex number with the real part x and the imaginary part y",
    example="Y[i] = abs(complex(X[i], A[i]))",
)
