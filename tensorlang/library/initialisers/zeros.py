"""All 0."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="zeros",
    parameters=(),
    law=Law.CONSTANT,
    numbers=lambda args, fan: (0.0,),
    doc="All 0",
    example="param W[i] ~ zeros",
)
