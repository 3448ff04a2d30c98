"""Sizes as Python integer arithmetic over the local variables that hold the dynamic ones."""

from __future__ import annotations

from collections.abc import Callable

import sympy

from tensorlang.size import Size

OR, COMPARE, BITS, SUM, PRODUCT, UNARY, POWER, PRIMARY = range(8)
"""Precedences of Python's operators, loosest first (BITS: `&` and `|`)."""

Text = tuple[str, int]


def size_text(size: Size, symbol: Callable[[str], str]) -> Text:
    """(text, precedence); `symbol` names the variable of a dynamic size."""
    if isinstance(size, int):
        return (str(size), PRIMARY if size >= 0 else UNARY)
    match size:
        case sympy.Integer():
            return size_text(int(size), symbol)
        case sympy.Symbol():
            return symbol(size.name), PRIMARY
        case sympy.Add() | sympy.Mul():
            top, bottom = sympy.fraction(sympy.together(size))
            if bottom != 1:
                # an exact quotient: the checker proved that it divides
                over = bound(size_text(bottom, symbol), UNARY)
                return f"{bound(size_text(top, symbol), PRODUCT)} // {over}", PRODUCT
            return (_sum if isinstance(size, sympy.Add) else _product)(size, symbol)
        case sympy.Pow(base=base, exp=sympy.Integer() as exponent) if exponent > 0:
            return f"{bound(size_text(base, symbol), PRIMARY)} ** {int(exponent)}", POWER
        case sympy.Mod():
            left, right = (size_text(arg, symbol) for arg in size.args)
            return f"{bound(left, PRODUCT)} % {bound(right, UNARY)}", PRODUCT
        case sympy.Max() | sympy.Min():
            name = "max" if isinstance(size, sympy.Max) else "min"
            args = sorted((size_text(arg, symbol)[0] for arg in size.args), key=_constants_last)
            return f"{name}({', '.join(args)})", PRIMARY
        case sympy.floor():
            top, bottom = sympy.fraction(sympy.together(size.args[0]))
            if bottom == 1:
                return size_text(top, symbol)
            over = bound(size_text(bottom, symbol), UNARY)
            return f"{bound(size_text(top, symbol), PRODUCT)} // {over}", PRODUCT
        case sympy.ceiling():
            top, bottom = sympy.fraction(sympy.together(size.args[0]))
            over = bound(size_text(bottom, symbol), UNARY)
            return f"-(-{bound(size_text(top, symbol), UNARY)} // {over})", UNARY
    raise AssertionError(("a size that no Python text stands for", size))


def bound(text: Text, least: int) -> str:
    """The text, in parentheses if it binds looser than `least`."""
    return text[0] if text[1] >= least else f"({text[0]})"


def _sum(size: sympy.Expr, symbol: Callable[[str], str]) -> Text:
    terms = sorted(size.args, key=lambda term: (term.is_number, str(term)))
    terms.sort(key=lambda term: term.could_extract_minus_sign() and not term.is_number)
    terms.sort(key=lambda term: bool(term.is_number))
    out = bound(size_text(terms[0], symbol), SUM)
    for term in terms[1:]:
        if term.could_extract_minus_sign():
            out += f" - {bound(size_text(-term, symbol), PRODUCT)}"
        else:
            out += f" + {bound(size_text(term, symbol), PRODUCT)}"
    return out, SUM


def _product(size: sympy.Expr, symbol: Callable[[str], str]) -> Text:
    sign, factors = 1, list(size.args)
    if factors[0] == -1:
        sign, factors = -1, factors[1:]
    if sign < 0 and len(factors) == 1:
        return f"-{bound(size_text(factors[0], symbol), UNARY)}", UNARY
    factors.sort(key=lambda factor: (not factor.is_number, str(factor)))
    # a floor division that is not first needs its parentheses: a * (b // c)
    texts = [
        bound(size_text(f, symbol), PRODUCT if k == 0 else UNARY) for k, f in enumerate(factors)
    ]
    out = " * ".join(texts)
    return (out, PRODUCT) if sign > 0 else (f"-({out})", UNARY)


def _constants_last(text: str) -> tuple[bool, str]:
    return text.lstrip("-").isdecimal(), text
