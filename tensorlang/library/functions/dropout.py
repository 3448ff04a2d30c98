"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any, p: Any) -> Any:
    return np.asarray(x)


ROW = Function(
    name="dropout",
    arity=(2, 2),
    dtype=signature.dropped,
    numpy=compute,
    derivative=(None, None),
    torch="torch.nn.functional.dropout({0}, {1}, {training})",
    triton=None,
    doc=(
        "x with each cell set to 0 with probability p and the others divided by 1 - p; "
        "the identity in eval()"
    ),
    example="Y[i] = dropout(X[i], 0.1)",
    promotes=False,
)
