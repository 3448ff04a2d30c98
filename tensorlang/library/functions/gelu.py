"""Gaussian error linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.functions.erf import compute as erf
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


ROW = Function(
    name="gelu",
    arity=(1, 1),
    dtype=signature.real,
    numpy=compute,
    derivative=("0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x ^ 2 / 2) / sqrt(2 * pi)",),
    torch="torch.nn.functional.gelu({0})",
    triton="(0.5 * {0} * (1 + tl.erf(0.7071067811865476 * {0})))",
    doc="x times the normal distribution function, by erf (Hendrycks and Gimpel, 2016)",
    example="Y[i] = gelu(X[i])",
)
