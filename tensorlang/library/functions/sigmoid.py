"""Logistic sigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    if np.iscomplexobj(x):
        return 1 / (1 + np.exp(-x))
    return np.exp(-np.logaddexp(0, -x))


ROW = Function(
    name="sigmoid",
    arity=(1, 1),
    dtype=signature.field,
    numpy=compute,
    derivative=("f * (1 - f)",),
    torch="torch.sigmoid({0})",
    triton="(1 / (1 + tl.exp(-{0})))",
    doc="1 / (1 + exp(-x))",
    example="Y[i] = sigmoid(X[i])",
)
