"""Hyperbolic sine."""

from __future__ import annotations

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function

ROW = Function(
    name="sinh",
    arity=(1, 1),
    dtype=signature.field,
    numpy=np.sinh,
    derivative=("cosh(x)",),
    torch="torch.sinh({0})",
    triton=(
        "tl.where(tl.abs({0}) < 0.3, {0} * (1 + {0} * {0} * (1 / 6 + {0} * {0} * (1 / 120"
        " + {0} * {0} * (1 / 5040 + {0} * {0} * (1 / 362880 + {0} * {0} / 39916800))))), "
        "0.5 * (tl.exp({0}) - tl.exp(-{0})))"
    ),
    doc="Hyperbolic sine",
    example="Y[i] = sinh(X[i])",
    partial=True,
)
