"""No initial value."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="given",
    parameters=(),
    law=Law.GIVEN,
    numbers=lambda args, fan: (),
    doc="No initial value: it must be supplied or loaded before the first call",
    example="param W[i] ~ given",
)
