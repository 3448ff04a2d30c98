"""Orthogonal matrix."""

from __future__ import annotations

from tensorlang.library.initialiser import Initialiser, Law

ROW = Initialiser(
    name="orthogonal",
    parameters=(("gain", 1.0),),
    law=Law.ORTHOGONAL,
    numbers=lambda args, fan: (args["gain"],),
    doc=(
        "gain times a random matrix with orthonormal rows or columns, the first axis against the "
        "rest (Saxe et al., 2013)"
    ),
    example="param W[i, i'] ~ orthogonal",
)
