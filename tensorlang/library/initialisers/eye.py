"""Identity."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="eye",
    parameters=(("value", 1.0),),
    law=Law.EYE,
    numbers=lambda args, fan: (args["value"],),
    doc="value where all axes have the same position, else 0",
    example="param W[i, i'] ~ eye",
)
