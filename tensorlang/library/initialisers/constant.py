"""One value."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="constant",
    parameters=(("value", None),),
    law=Law.CONSTANT,
    numbers=lambda args, fan: (args["value"],),
    doc="All the same value",
    example="param W[i] ~ constant(0.5)",
)
