"""Whether integer linear inequalities have no solution: Fourier-Motzkin, rounded to integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import TypeVar

V = TypeVar("V")

_ROWS = 240  # inequalities on the way; beyond that nothing is proved

Row = tuple[tuple[int, int], ...]  # (variable, coefficient), by variable


def infeasible(constraints: Iterable[tuple[Mapping[V, int], int]]) -> bool:
    """Prove that no integers satisfy all `sum coefficient * variable + constant >= 0`.

    False is "not proved". Every row is divided by the gcd of its coefficients and its constant
    rounded down, which only cuts off fractions (Gomory).
    """
    ids: dict[V, int] = {}
    rows: dict[Row, int] = {}
    for coefficients, constant in constraints:
        row = tuple(sorted((ids.setdefault(v, len(ids)), c) for v, c in coefficients.items() if c))
        if not _add(rows, row, constant):
            return True
    while rows:
        if len(rows) > _ROWS:
            return False
        variable = _cheapest(rows)
        upper, lower, rest = [], [], {}
        for row, constant in rows.items():
            coefficient = dict(row).get(variable, 0)
            if coefficient > 0:
                lower.append((row, constant, coefficient))
            elif coefficient < 0:
                upper.append((row, constant, -coefficient))
            else:
                rest[row] = constant
        for low, low_constant, a in lower:
            for up, up_constant, b in upper:
                scale = a * b // gcd(a, b)
                p, q = scale // a, scale // b
                total = {v: p * c for v, c in low}
                for v, c in up:
                    total[v] = total.get(v, 0) + q * c
                row = tuple(sorted((v, c) for v, c in total.items() if c))
                if not _add(rest, row, p * low_constant + q * up_constant):
                    return True
        rows = rest
    return False


def _add(rows: dict[Row, int], row: Row, constant: int) -> bool:
    """Add an inequality, the strongest of its direction; False if it is false."""
    if not row:
        return constant >= 0
    divisor = gcd(*(c for _, c in row))
    if divisor > 1:
        row = tuple((v, c // divisor) for v, c in row)
        constant = constant // divisor
    known = rows.get(row)
    if known is None or constant < known:
        rows[row] = constant
        opposite = rows.get(tuple((v, -c) for v, c in row))
        return opposite is None or constant + opposite >= 0
    return True


def _cheapest(rows: Mapping[Row, int]) -> int:
    """Give the variable whose elimination makes the fewest new rows."""
    counts: dict[int, list[int]] = {}
    for row in rows:
        for variable, coefficient in row:
            count = counts.setdefault(variable, [0, 0])
            count[coefficient > 0] += 1
    return min(counts, key=lambda v: (counts[v][0] * counts[v][1] - sum(counts[v]), v))
