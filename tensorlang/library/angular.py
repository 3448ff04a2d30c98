"""Coupling coefficients of O(3) in the real basis of e3nn (Geiger and Smidt, 2022).

The basis: m = -l … l with polar axis y, so that degree 1 is (x, y, z). Each table comes from exact
rational sums (Racah's formula) and the two-term change from complex to real harmonics.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import factorial, pi, sqrt

import numpy as np
import numpy.typing as npt

from tensorlang.library.irreps import Irrep, Irreps

Real = npt.NDArray[np.float64]
Path = tuple[int, int, int]


def triangle(a: int, b: int, c: int) -> bool:
    """Whether degrees a and b couple to c."""
    return abs(a - b) <= c <= a + b


def clebsch_gordan(j1: int, m1: int, j2: int, m2: int, j3: int) -> float:
    """<j1 m1 j2 m2 | j3 m1+m2> by Racah's formula (Varshalovich et al., 1988, 8.2.1)."""
    m3 = m1 + m2
    if abs(m3) > j3:
        return 0.0
    f = factorial
    square = Fraction(
        (2 * j3 + 1)
        * f(j3 + j1 - j2)
        * f(j3 - j1 + j2)
        * f(j1 + j2 - j3)
        * f(j3 + m3)
        * f(j3 - m3),
        f(j1 + j2 + j3 + 1) * f(j1 - m1) * f(j1 + m1) * f(j2 - m2) * f(j2 + m2),
    )
    total = Fraction(0)
    for v in range(max(0, j2 - j1 + m3, m1 - j1), min(j2 + j3 + m1, j3 - j1 + j2, j3 + m3) + 1):
        total += (-1) ** (v + j2 + m2) * Fraction(
            f(j2 + j3 + m1 - v) * f(j1 - m1 + v),
            f(v) * f(j3 - j1 + j2 - v) * f(j3 + m3 - v) * f(v + j1 - j2 - m3),
        )
    exact = square * total * total
    return (1 if total > 0 else -1) * sqrt(exact) if exact else 0.0


@cache
def wigner_3j(l1: int, l2: int, l3: int) -> Real:
    """e3nn's wigner_3j: [2 l1 + 1, 2 l2 + 1, 2 l3 + 1], of Frobenius norm 1, invariant under SO(3).

    Cyclic permutations leave it as it is, odd ones multiply it by (-1)^(l1 + l2 + l3).
    """
    assert triangle(l1, l2, l3), (l1, l2, l3)
    coupling = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                value = clebsch_gordan(l1, m1, l2, m2, l3)
                coupling[l1 + m1, l2 + m2, l3 + m1 + m2] = value
    a, b, c = _real_basis(l1), _real_basis(l2), np.conj(_real_basis(l3))
    real = np.tensordot(coupling, a, (0, 0))  # m2 m3 i
    real = np.tensordot(real, b, (0, 0))  # m3 i j
    table: Real = np.tensordot(real, c, (0, 0)).real / sqrt(2 * l3 + 1)
    table[np.abs(table) < 1e-13] = 0
    table.setflags(write=False)
    return table


def _real_basis(degree: int) -> npt.NDArray[np.complex128]:
    """Columns: e3nn's real harmonics in terms of the complex ones, rows m = -l … l."""
    out = np.zeros((2 * degree + 1, 2 * degree + 1), np.complex128)
    half = sqrt(0.5)
    out[degree, degree] = 1
    for m in range(1, degree + 1):
        out[degree - m, degree + m] = half
        out[degree - m, degree - m] = -1j * half
        out[degree + m, degree + m] = (-1) ** m * half
        out[degree + m, degree - m] = 1j * (-1) ** m * half
    return out * (-1j) ** degree


@cache
def gaunt_factor(l1: int, l2: int, l3: int) -> float:
    """gamma in: integral of three orthonormal harmonics = gamma * wigner_3j, 0 for odd sums."""
    if (l1 + l2 + l3) % 2:
        return 0.0
    zero = abs(clebsch_gordan(l1, 0, l2, 0, l3)) / sqrt(2 * l3 + 1)
    return sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1) / (4 * pi)) * zero


def couplings(
    one: Irreps, two: Irreps, three: Irreps, parity: bool
) -> Iterator[tuple[int, int, int]]:
    """Positions of irreps that couple, ordered by (l1, l2, l3); with their parities if asked."""

    def key(found: tuple[int, int, int]) -> tuple[int, ...]:
        parts = (one.parts[found[0]], two.parts[found[1]], three.parts[found[2]])
        return (*(part.degree for part in parts), *found)

    found = [
        (a, b, c)
        for a, first in enumerate(one.parts)
        for b, second in enumerate(two.parts)
        for c, third in enumerate(three.parts)
        if couples(first, second, third, parity)
    ]
    yield from sorted(found, key=key)


def couples(one: Irrep, two: Irrep, three: Irrep, parity: bool) -> bool:
    fits = not parity or one.parity * two.parity == three.parity
    return fits and triangle(one.degree, two.degree, three.degree)
