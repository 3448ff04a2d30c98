"""Softplus."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return np.logaddexp(0, x)


ROW = Function(
    name="softplus",
    arity=(1, 1),
    dtype=signature.real,
    numpy=compute,
    derivative=("sigmoid(x)",),
    torch="torch.nn.functional.softplus({0}, threshold=40.0)",
    triton="(tl.maximum({0}, 0) + tl.log(1 + tl.exp(-tl.abs({0}))))",
    doc="log(1 + exp(x)), exact for large x too",
    example="Y[i] = softplus(X[i])",
)
