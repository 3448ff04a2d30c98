"""Normal distribution."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="normal",
    parameters=(("mean", 0.0), ("std", 1.0)),
    law=Law.NORMAL,
    numbers=lambda args, fan: (args["mean"], args["std"]),
    doc="Normal distribution",
    example="param W[i] ~ normal(std = 0.02)",
)
