"""Uniform distribution."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="uniform",
    parameters=(("low", 0.0), ("high", 1.0)),
    law=Law.UNIFORM,
    numbers=lambda args, fan: (args["low"], args["high"]),
    doc="Uniform distribution in [low, high)",
    example="param W[i] ~ uniform(-1, 1)",
)
