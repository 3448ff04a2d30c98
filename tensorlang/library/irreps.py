"""Representation types of dims: copies of irreps of O(3) laid end to end, in e3nn's order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isqrt

_TERM = re.compile(r"\s*(?:(\d+)\s*x\s*)?(\d+)\s*([eoy])\s*", re.ASCII)
MOST_DEGREE = 20


@dataclass(frozen=True, slots=True)
class Irrep:
    """One irrep of O(3): its degree l and its sign under inversion; 2l + 1 components."""

    degree: int
    parity: int

    @property
    def size(self) -> int:
        return 2 * self.degree + 1

    @property
    def natural(self) -> bool:
        return self.parity == (-1 if self.degree % 2 else 1)

    def __str__(self) -> str:
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"


@dataclass(frozen=True, slots=True)
class Irreps:
    """Irreps, one copy each, laid end to end along an axis; components in order m = -l … l."""

    parts: tuple[Irrep, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each irrep starts on the axis."""
        sizes = [part.size for part in self.parts]
        return tuple(sum(sizes[:k]) for k in range(len(sizes)))

    def __str__(self) -> str:
        return " + ".join(map(str, self.parts))


def natural(most: int) -> Irreps:
    """One copy of each degree 0 … most, with the parity of the spherical harmonics."""
    return Irreps(tuple(Irrep(degree, (-1) ** degree) for degree in range(most + 1)))


def natural_degree(size: int) -> int | None:
    """L, where `size` is (L + 1)²."""
    root = isqrt(max(size, 0))
    return root - 1 if root and root * root == size else None


def parse(text: str) -> Irreps | str:
    """Irreps from `0e + 1o`, as e3nn writes them (y: natural parity), or what is wrong with it."""
    parts: list[Irrep] = []
    for term in text.split("+"):
        found = _TERM.fullmatch(term)
        if found is None:
            return f"{term.strip()!r} is no irrep: write a degree and e, o or y, as in 0e + 1o"
        copies, degree, letter = found.groups()
        if len(degree) > 2 or int(degree) > MOST_DEGREE:
            return f"degrees go up to {MOST_DEGREE}"
        if copies is not None and copies != "1":
            return "one copy of each irrep; put copies on an axis of their own beside this one"
        parity = (-1) ** int(degree) if letter == "y" else 1 if letter == "e" else -1
        parts.append(Irrep(int(degree), parity))
    return Irreps(tuple(parts))
