"""The shape of an initialiser's row: which law the values of a param follow, with which numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum


class Law(Enum):
    """How values are drawn, and what `Initialiser.numbers` are. Closed: targets match on it.

    A complex value of a random law is (a + i b) / sqrt(2) about the mean, a and b drawn alike: the
    spread of |W - mean| is the law's.
    """

    NORMAL = "normal"  # mean, standard deviation
    UNIFORM = "uniform"  # low, high
    CONSTANT = "constant"  # value
    EYE = "eye"  # value on the diagonal, where all axes have the same position; 0 elsewhere
    ORTHOGONAL = "orthogonal"  # gain; rows (first axis by the rest) or columns orthonormal
    GIVEN = "given"  # no value: the caller supplies it


@dataclass(frozen=True, slots=True)
class Fan:
    """Sizes that scale a law: `fan_in` is summed in the first use, `fan_out` is the rest."""

    fan_in: int
    fan_out: int


@dataclass(frozen=True, slots=True)
class Initialiser:
    """`parameters` are (name, default), None where there is no default. `numbers` are the law's."""

    name: str
    parameters: tuple[tuple[str, float | None], ...]
    law: Law
    numbers: Callable[[Mapping[str, float], Fan], tuple[float, ...]]
    doc: str
    example: str

    def bound(self, args: Mapping[str, float], fan: Fan) -> tuple[float, ...]:
        """Numbers of the law when the arguments are `args` and defaults fill the rest."""
        values = {name: args.get(name, default) for name, default in self.parameters}
        missing = [name for name, value in values.items() if value is None]
        assert not missing and args.keys() <= values.keys(), (self.name, args)
        return self.numbers({k: v for k, v in values.items() if v is not None}, fan)
