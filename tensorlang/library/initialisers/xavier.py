"""Glorot and Bengio (2010): uniform with variance 2 / (fan_in + fan_out)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tensorlang.library.initialiser import Fan, Initialiser, Law


def numbers(args: Mapping[str, float], fan: Fan) -> tuple[float, ...]:
    bound = args["gain"] * math.sqrt(6 / max(1, fan.fan_in + fan.fan_out))
    return (-bound, bound)


ROW = Initialiser(
    name="xavier",
    parameters=(("gain", 1.0),),
    law=Law.UNIFORM,
    numbers=numbers,
    doc="Uniform with variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio, 2010)",
    example="param W[i] ~ xavier",
)
