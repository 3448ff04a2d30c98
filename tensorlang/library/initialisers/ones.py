"""All 1."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="ones",
    parameters=(),
    law=Law.CONSTANT,
    numbers=lambda args, fan: (1.0,),
    doc="All 1",
    example="param W[i] ~ ones",
)
