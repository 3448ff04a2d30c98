"""Polynomials with rational coefficients in integer atoms, and what is known of the atoms.

Atoms are sizes, indices and whatever else is an integer (a floor, a minimum, a value read); a
`System` collects the inequalities that define them and decides what follows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import gcd, lcm

import sympy

from tensorlang.check.elimination import infeasible
from tensorlang.size import Size

Monomial = tuple[int, ...]  # atoms, sorted, repeated for powers
Poly = dict[Monomial, Fraction | int]
Case = list[Poly]  # all of them >= 0

_CASES = 64  # combinations of alternatives that are tried
_PRODUCTS = 60  # products of inequalities that are added


def constant(value: int | Fraction) -> Poly:
    return {(): value} if value else {}


def add(a: Poly, b: Poly, scale: int | Fraction = 1) -> Poly:
    """Give a + scale * b."""
    out = dict(a)
    for monomial, coefficient in b.items():
        total = out.get(monomial, 0) + scale * coefficient
        if total:
            out[monomial] = total
        else:
            del out[monomial]
    return out


def multiply(a: Poly, b: Poly) -> Poly:
    out: Poly = {}
    for m, c in a.items():
        for n, d in b.items():
            monomial = tuple(sorted(m + n))
            total = out.get(monomial, 0) + c * d
            if total:
                out[monomial] = total
            else:
                out.pop(monomial, None)
    return out


def scale_of(poly: Poly) -> int:
    """Give the least positive integer that makes all coefficients integers."""
    return lcm(*(c.denominator for c in poly.values()), 1)


def number_of(poly: Poly) -> int | Fraction | None:
    """Give the value of a constant polynomial."""
    if not poly:
        return 0
    return poly[()] if len(poly) == 1 and () in poly else None


def strictly(poly: Poly) -> Poly:
    """Give the polynomial that is >= 0 where this one is > 0."""
    scale = scale_of(poly)
    return add({m: c * scale for m, c in poly.items()}, constant(-1))


class System:
    """Integer atoms, inequalities that always hold, and alternatives one of which holds."""

    def __init__(self) -> None:
        self.atoms: dict[Hashable, int] = {}
        self.known: list[Poly] = []
        self.alternatives: list[list[Case]] = []
        self.nonnegative: set[int] = set()

    # --- atoms -----------------------------------------------------------------------------------
    def atom(self, key: Hashable, nonnegative: bool = False) -> tuple[Poly, bool]:
        """Give the atom of a key as a polynomial, and whether it is new."""
        new = key not in self.atoms
        number = self.atoms.setdefault(key, len(self.atoms))
        if new and nonnegative:
            self.nonnegative.add(number)
        return {(number,): 1}, new

    def floor(self, over: Poly, under: Poly) -> Poly:
        """Give floor(over / under): q with under q <= over <= under q + under - 1."""
        divisor = number_of(under)
        if divisor is not None and divisor != 0:
            return self._floor(over, divisor)
        q, new = self.atom(("floor", _key(over), _key(under)))
        if new and self.positive(under):
            rest = add(over, multiply(q, under), -1)
            self.known += [rest, add(add(under, rest, -1), constant(-1))]
            if self.sign(over) >= 0:
                self.nonnegative.update(q_atom for (q_atom,) in q)
        return q

    def _floor(self, over: Poly, divisor: int | Fraction) -> Poly:
        over = {m: Fraction(c) / divisor for m, c in over.items()}
        scale = scale_of(over)
        whole: Poly = {m: c.numerator for m, c in over.items() if c.denominator == 1 and m != ()}
        part = add(over, whole, -1)
        if (shift := part.get((), 0) // 1) != 0:
            part, whole = add(part, constant(-shift)), add(whole, constant(shift))
        if number_of(part) is not None:
            return whole
        q, new = self.atom(("floor", _key(part)))
        if new:
            rest = {m: c * scale for m, c in add(part, q, -1).items()}
            self.known += [rest, add(constant(scale - 1), rest, -1)]
            if self.sign(part) >= 0:
                self.nonnegative.update(q_atom for (q_atom,) in q)
        return add(whole, q)

    def modulo(self, a: Poly, b: Poly) -> Poly:
        return add(a, multiply(b, self.floor(a, b)), -1)

    def extreme(self, parts: Sequence[Poly], sign: int) -> Poly:
        """Give the maximum (sign 1) or the minimum (sign -1)."""
        first, *others = parts
        for other in others:
            difference = add(first, other, -1)
            if (number := number_of(difference)) is not None:
                first = first if number * sign >= 0 else other
                continue
            m, new = self.atom(("max" if sign > 0 else "min", _key(first), _key(other)))
            if new:
                slack = [{k: c * sign for k, c in add(m, p, -1).items()} for p in (first, other)]
                self.known += slack
                self.alternatives.append([[_negative(slack[0])], [_negative(slack[1])]])
                if all(self.sign(part) >= 0 for part in (first, other)):
                    self.nonnegative.update(atom for (atom,) in m)
            first = m
        return first

    def choice(self, key: Hashable, cases: Iterable[tuple[list[Case], Poly]]) -> Poly:
        """Give an atom that equals one of several values, each under its condition."""
        value, new = self.atom(key)
        if new:
            alternatives: list[Case] = []
            for conditions, poly in cases:
                same = [add(value, poly, -1), add(poly, value, -1)]
                alternatives += [[*condition, *same] for condition in conditions]
            self.alternatives.append(alternatives)
        return value

    def sign(self, poly: Poly) -> int:
        """Give 0 or 1 if the polynomial is plainly never negative (1: positive), else -1."""
        plain = all(c >= 0 and self.nonnegative.issuperset(m) for m, c in poly.items())
        return -1 if not plain else int(poly.get((), 0) > 0)

    def positive(self, poly: Poly) -> bool:
        return self.sign(poly) == 1 or self.proves(add(poly, constant(-1)))

    # --- sizes -----------------------------------------------------------------------------------
    def size(self, size: Size) -> Poly:
        """Give a size as a polynomial; the size as a whole is known to be an integer."""
        if isinstance(size, int):
            return constant(size)
        match size:
            case sympy.Rational():
                value = Fraction(int(size.p), int(size.q))
                return constant(int(value) if value.denominator == 1 else value)
            case sympy.Symbol():
                poly, new = self.atom(size, bool(size.is_nonnegative))
                if new and size.is_positive:
                    self.known.append(add(poly, constant(-1)))
                return poly
            case sympy.Add():
                # Only all terms with a denominator together are known to be an integer.
                broken = [arg for arg in size.args if not _denominator(arg).is_Integer]
                total: Poly = self._exact(*_fraction(sympy.Add(*broken))) if broken else {}
                for arg in size.args:
                    if arg not in broken:
                        total = add(total, self.size(arg))
                return total
            case sympy.Mul():
                if not _denominator(size).is_Integer:
                    return self._exact(*_fraction(size))
                out = constant(1)
                for arg in size.args:
                    out = multiply(out, self.size(arg))
                return out
            case sympy.Pow() if size.exp.is_Integer and 1 < size.exp <= 8:
                out, base = constant(1), self.size(size.base)
                for _ in range(int(size.exp)):
                    out = multiply(out, base)
                return out
            case sympy.Pow() if size.exp == -1:
                return self._exact(sympy.Integer(1), size.base)
            case sympy.floor():
                over, under = _fraction(size.args[0])
                return self.floor(self.size(over), self.size(under))
            case sympy.Mod():
                return self.modulo(self.size(size.args[0]), self.size(size.args[1]))
            case sympy.Max() | sympy.Min():
                parts = [self.size(arg) for arg in sorted(size.args, key=str)]
                return self.extreme(parts, 1 if isinstance(size, sympy.Max) else -1)
            case _:
                return self.atom(size, bool(size.is_nonnegative))[0]

    def _exact(self, over: sympy.Expr, under: sympy.Expr) -> Poly:
        """Give over / under, known to divide: q with under q = over."""
        a, b = self.size(over), self.size(under)
        never_negative = self.sign(a) >= 0 and self.sign(b) >= 0
        q, new = self.atom(("exact", over, under), never_negative)
        if new:
            rest = add(a, multiply(b, q), -1)
            self.known += [rest, _negative(rest)]
            if self.sign(b) >= 0 and self.positive(a):
                self.known.append(add(q, constant(-1)))
        return q

    # --- what follows ----------------------------------------------------------------------------
    def proves(self, goal: Poly) -> bool:
        """Prove goal >= 0 from all that is known."""
        if self.sign(goal) >= 0:
            return True
        refused = strictly(_negative(goal))
        if self._closed([refused], products=False) or self._closed([refused]):
            return True
        if not self.alternatives:
            return False
        count, used = 1, []
        for alternative in sorted(self.alternatives, key=len):
            if count * max(1, len(alternative)) > _CASES:
                break
            count *= max(1, len(alternative))
            used.append(alternative)
        return all(
            self._closed([refused, *(poly for case in cases for poly in case)])
            for cases in product(*used)
        )

    def _closed(self, extra: Case, products: bool = True) -> bool:
        """Prove that `extra` contradicts what is known."""
        polys = [*self.known, *extra]
        if products:
            polys += self._products(polys)
        monomials = {m for poly in polys for m in poly if m != ()}
        rows = [_row(poly) for poly in polys]
        rows += [({m: 1}, 0) for m in monomials if self.nonnegative.issuperset(m)]
        return infeasible(rows)

    def _products(self, polys: Sequence[Poly]) -> list[Poly]:
        """Multiply inequalities by atoms that are never negative, towards the monomials at hand."""
        linear = [poly for poly in polys if any(len(m) == 1 for m in poly)]
        made: dict[tuple[tuple[Monomial, Fraction | int], ...], Poly] = {}
        wanted = sorted({m for poly in polys for m in poly if len(m) > 1})
        for _ in range(2):
            for monomial in wanted:
                for place in range(len(monomial)):
                    factor = monomial[:place] + monomial[place + 1 :]
                    if not self.nonnegative.issuperset(factor):
                        continue
                    for poly in linear:
                        if (monomial[place],) in poly and len(made) < _PRODUCTS:
                            new = multiply(poly, {factor: 1})
                            made.setdefault(_key(new), new)
            seen = set(wanted)
            wanted = sorted({m for poly in made.values() for m in poly if len(m) > 1} - seen)
            if not wanted:
                break
        return list(made.values())


@lru_cache(4096)
def _fraction(size: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    over, under = sympy.fraction(sympy.together(size))
    return over, under


@lru_cache(4096)
def _denominator(size: sympy.Expr) -> sympy.Expr:
    return sympy.fraction(size)[1]


def _key(poly: Poly) -> tuple[tuple[Monomial, Fraction | int], ...]:
    return tuple(sorted(poly.items()))


def _negative(poly: Poly) -> Poly:
    return {m: -c for m, c in poly.items()}


def _row(poly: Poly) -> tuple[dict[Monomial, int], int]:
    scale = scale_of(poly)
    whole = {m: int(c * scale) for m, c in poly.items()}
    rest = whole.pop((), 0)
    divisor = gcd(*whole.values()) if whole else 1
    return ({m: c // divisor for m, c in whole.items()}, rest // divisor) if whole else ({}, rest)
