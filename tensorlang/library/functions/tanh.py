"""Hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="tanh",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.tanh,
    derivative=("1 - f ^ 2",),
    torch="torch.tanh({0})",
    triton=(
        "tl.where(tl.abs({0}) < 0.15, {0} * (1 - {0} * {0} * (1 / 3 - {0} * {0} * (2 / 15"
        " - {0} * {0} * (17 / 315 - {0} * {0} * (62 / 2835 - {0} * {0} * (1382 / 155925 -"
        " {0} * {0} * (21844 / 6081075))))))), 2 / (1 + tl.exp(-2 * {0})) - 1)"
    ),
    doc="Hyperbolic tangent",
    example="Y[i] = tanh(X[i])",
)
