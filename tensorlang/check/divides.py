"""Whether one size divides another for all values of their symbols."""

from __future__ import annotations

from itertools import product

import sympy

from tensorlang.size import Size, expression

_CASES = 4096  # residues tried


def always_divides(numerator: Size, divisor: Size) -> bool:
    """Prove that divisor divides numerator for all integer values; False is "not proved".

    A polynomial with integer coefficients takes values divisible by k iff it does so on all
    residues modulo k, e.g. r * (r - 1) by 2.
    """
    quotient = sympy.cancel(expression(numerator) / divisor)
    if quotient.is_integer:
        return True
    over, under = sympy.fraction(sympy.together(quotient))
    symbols = sorted(over.free_symbols, key=lambda symbol: symbol.name)
    if not under.is_Integer or not over.is_polynomial(*symbols):
        return False
    if not all(symbol.is_integer for symbol in symbols):
        return False
    polynomial, modulus = sympy.Poly(over, *symbols) if symbols else None, int(under)
    if polynomial is None or modulus ** len(symbols) > _CASES:
        return False
    if not all(coefficient.is_Integer for coefficient in polynomial.coeffs()):
        return False
    return all(
        polynomial(*residues) % modulus == 0
        for residues in product(range(modulus), repeat=len(symbols))
    )
