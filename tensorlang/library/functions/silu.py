"""Sigmoid linear unit, also called swish."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return x * np.exp(-np.logaddexp(0, -x))


ROW = Function(
    name="silu",
    arity=(1, 1),
    dtype=signature.real,
    numpy=compute,
    derivative=("sigmoid(x) * (1 + x * (1 - sigmoid(x)))",),
    torch="torch.nn.functional.silu({0})",
    triton="({0} / (1 + tl.exp(-{0})))",
    doc="x * sigmoid(x)",
    example="Y[i] = silu(X[i])",
)
