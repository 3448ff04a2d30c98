"""The law of nn.Linear and nn.Conv2d: uniform within 1 / sqrt(fan_in)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tensorlang.library.initialiser import Fan, Initialiser, Law


def numbers(args: Mapping[str, float], fan: Fan) -> tuple[float, ...]:
    bound = args["gain"] / math.sqrt(max(1, fan.fan_in))
    return (-bound, bound)


ROW = Initialiser(
    name="kaiming",
    parameters=(("gain", 1.0),),
    law=Law.UNIFORM,
    numbers=numbers,
    doc=(
        "Uniform within gain / sqrt(fan_in), so the std is gain / sqrt(3 fan_in): what torch's "
        "nn.Linear and nn.Conv2d start from. He et al. (2015) for relu is gain = 6^0.5"
    ),
    example="param W[i] ~ kaiming",
)
