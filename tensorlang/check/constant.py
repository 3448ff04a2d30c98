"""Constant expressions: sizes of dims, defaults, arguments of sub-layers, stack counts.

Exact and bounded: ints stay ints, floats appear only where the language says so, symbols of unbound
hyperparameters and of input sizes give sympy expressions. A mistake is reported and gives None.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias, assert_never

import sympy

from tensorlang.check.divides import always_divides
from tensorlang.check.errors.dims import (
    DividedByZero,
    DoesNotDivide,
    NotInSizes,
    TooLarge,
    UnknownDim,
)
from tensorlang.check.errors.layers import UnprovedDivision
from tensorlang.check.errors.names import UnknownName
from tensorlang.check.program import Value
from tensorlang.diagnostics import Diagnostic
from tensorlang.size import expression, simplest
from tensorlang.source import Span
from tensorlang.syntax import ast

Mode = Literal["size", "value"]
Number: TypeAlias = int | float | sympy.Expr
Report = Callable[[Diagnostic], None]

_BITS = 256  # of an int on the way; a result has 63 and a sign
_DEGREE = 32  # of a symbolic expression
_NODES = 400  # in a symbolic expression
_WORDS: dict[str, Value] = {"true": True, "false": False, "pi": math.pi, "inf": math.inf}


def evaluate(
    expr: ast.Expr,
    names: Mapping[str, Value],
    report: Report,
    mode: Mode = "size",
    unknown: Callable[[ast.Name], Diagnostic] | None = None,
) -> Value | None:
    """Give the value of a constant expression; None if a mistake was reported.

    In mode "size" `/` must divide; in mode "value" it gives a float where it doesn't. `unknown`
    makes the diagnostic for a name that `names` lacks.
    """
    try:
        value = _Evaluator(names, report, mode, unknown).value(expr)
        _check_range(value, expr.span)
    except _Wrong as wrong:
        report(wrong.diagnostic)
        return None
    return value


class _Wrong(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic)
        self.diagnostic = diagnostic


def _check_range(value: Value, span: Span) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_range(item, span)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _Wrong(TooLarge(span))


@dataclass(frozen=True)
class _Evaluator:
    names: Mapping[str, Value]
    report: Report
    mode: Mode
    unknown: Callable[[ast.Name], Diagnostic] | None

    def value(self, expr: ast.Expr) -> Value:
        match expr:
            case ast.Number(value):
                return self.bounded(value, expr.span)
            case ast.String(value):
                return value
            case ast.Name():
                return self.name(expr)
            case ast.SizeOf(name, span):
                return self.number(ast.Name(name, span))
            case ast.ListExpr(items):
                return tuple(self.value(item) for item in items)
            case ast.Sum():
                return self.sum(expr)
            case ast.Product():
                return self.product(expr)
            case ast.IntDivide():
                left, right = self.number(expr.left), self.number(expr.right)
                return self.int_divide(left, right, expr.modulo, expr.span)
            case ast.Power():
                return self.power(self.number(expr.base), self.number(expr.exponent), expr.span)
            case ast.Negate():
                return -self.number(expr.expr)
            case ast.Compare():
                return self.compare(expr)
            case ast.And(operands):
                return self.both([self.truth(operand) for operand in operands])
            case ast.Or(operands):
                values = [self.truth(operand) for operand in operands]
                return _opposite(self.both([_opposite(value) for value in values]))
            case ast.Not(operand):
                return _opposite(self.truth(operand))
            case ast.IfElse():
                return self.choose(expr)
            case ast.Call():
                return self.call(expr)
        assert_never(expr)

    def name(self, name: ast.Name) -> Value:
        if name.id in _WORDS:
            return _WORDS[name.id]
        if name.id in self.names:
            return self.names[name.id]
        if self.unknown is not None:
            raise _Wrong(self.unknown(name))
        close = next(iter(get_close_matches(name.id, sorted(self.names), 1)), None)
        unknown = UnknownDim if self.mode == "size" else UnknownName
        raise _Wrong(unknown(name.span, name.id, close))

    def number(self, expr: ast.Expr) -> Number:
        value = self.value(expr)
        if isinstance(value, bool | str | tuple):
            raise _Wrong(NotInSizes(expr.span, f"{_kind(value)} as a number"))
        return value

    def truth(self, expr: ast.Expr) -> bool | sympy.Expr:
        """Give a bool, or an expression that is 0 or 1 where symbols leave it open."""
        value = self.value(expr)
        if isinstance(value, bool | sympy.Expr):
            return value
        raise _Wrong(NotInSizes(expr.span, f"{_kind(value)} as a condition"))

    def sum(self, expr: ast.Sum) -> Number:
        total: Number = 0
        for term in expr.terms:
            value = self.number(term.expr)
            new = total - value if term.negative else total + value
            total = self.bounded(new, expr.span, total, value)
        return total

    def product(self, expr: ast.Product) -> Number:
        first, *rest = expr.factors
        out = self.number(first.expr)
        for factor in rest:
            value = self.number(factor.expr)
            span = first.expr.span.join(factor.expr.span)
            new = self.divide(out, value, span) if factor.divides else out * value
            out = self.bounded(new, span, out, value)
        return out

    def divide(self, a: Number, b: Number, span: Span) -> Number:
        self.refuse_zero(b, span)
        match a, b:
            case int(), int():
                if a % b == 0:
                    return a // b
                if self.mode == "size":
                    raise _Wrong(DoesNotDivide(span, a, b))
                return a / b
            case ((int() | float()), (int() | float())):
                return a / b
        quotient: Number = expression(a) / b
        if isinstance(simplest(quotient), int):
            return simplest(quotient)
        whole = isinstance(a, float) or isinstance(b, float) or always_divides(a, b)
        if self.mode == "size" and not whole:
            self.report(UnprovedDivision(span, str(a), str(b)))
        return quotient

    def int_divide(self, a: Number, b: Number, modulo: bool, span: Span) -> Number:
        self.refuse_zero(b, span)
        if isinstance(a, sympy.Expr) or isinstance(b, sympy.Expr):
            quotient = expression(a) / b
            return self.bounded(sympy.Mod(a, b) if modulo else sympy.floor(quotient), span)
        return self.bounded(a % b if modulo else a // b, span)

    def refuse_zero(self, divisor: Number, span: Span) -> None:
        """Refuse a divisor that is 0, or that a call may make 0."""
        if isinstance(divisor, sympy.Expr):
            by_call = any(not symbol.is_positive for symbol in divisor.free_symbols)
            if not by_call or sympy.expand(divisor).is_zero is False:
                return
        elif divisor != 0:
            return
        raise _Wrong(DividedByZero(span))

    def power(self, base: Number, exponent: Number, span: Span) -> Number:
        if isinstance(base, sympy.Expr) or isinstance(exponent, sympy.Expr):
            limit = 2**16 if isinstance(base, sympy.Expr) else _BITS
            if isinstance(exponent, int | float) and abs(exponent) > limit:
                raise _Wrong(TooLarge(span))
            return self.bounded(expression(base) ** exponent, span)
        if base == 0 and exponent < 0:
            raise _Wrong(DividedByZero(span))
        if isinstance(base, int) and isinstance(exponent, int):
            if abs(base) > 1 and abs(exponent) * (abs(base).bit_length() - 1) > _BITS:
                raise _Wrong(TooLarge(span))
            if exponent >= 0:
                return self.bounded(base**exponent, span)
            return self.divide(1, base**-exponent, span)
        if base < 0 and not float(exponent).is_integer():
            raise _Wrong(NotInSizes(span, "a root of a negative number"))
        try:
            return self.bounded(float(base) ** exponent, span)
        except OverflowError:
            raise _Wrong(TooLarge(span)) from None

    def compare(self, expr: ast.Compare) -> bool | sympy.Expr:
        values = [self.value(operand) for operand in expr.operands]
        out: list[bool | sympy.Expr] = []
        for i, comparison in enumerate(expr.operators):
            a, b = values[i], values[i + 1]
            span = expr.operands[i].span.join(expr.operands[i + 1].span)
            out.append(_compare(comparison, a, b, span))
        return self.both(out)

    def both(self, values: list[bool | sympy.Expr]) -> bool | sympy.Expr:
        if any(value is False for value in values):
            return False
        open_values = [value for value in values if not isinstance(value, bool)]
        return sympy.Mul(*open_values) if open_values else True

    def choose(self, expr: ast.IfElse) -> Value:
        condition = self.truth(expr.condition)
        if isinstance(condition, bool):
            return self.value(expr.then if condition else expr.otherwise)
        then, otherwise = self.value(expr.then), self.value(expr.otherwise)
        if then == otherwise and type(then) is type(otherwise):
            return then
        if isinstance(then, str | tuple) or isinstance(otherwise, str | tuple):
            found = f"a choice of {_kind(then)} that depends on {_symbols(condition)}"
            raise _Wrong(NotInSizes(expr.span, found))
        pieces = (_integer(then), sympy.Ne(condition, 0)), (_integer(otherwise), True)
        return self.bounded(sympy.Piecewise(*pieces), expr.span)

    def call(self, expr: ast.Call) -> Value:
        args = expr.args
        known = expr.name in ("len", "min", "max") and expr.slots is None and args is not None
        if not known or args is None or not args or any(arg.name is not None for arg in args):
            raise _Wrong(NotInSizes(expr.span, _shown(expr)))
        if expr.name == "len":
            value = self.value(args[0].expr)
            if len(args) != 1 or not isinstance(value, tuple):
                raise _Wrong(NotInSizes(expr.span, f"len of {_kind(value)}"))
            return len(value)
        if len(args) == 1:
            value = self.value(args[0].expr)
            if not isinstance(value, tuple) or not value:
                raise _Wrong(NotInSizes(expr.span, f"{expr.name} of {_kind(value)} alone"))
            numbers = [item for item in value if isinstance(item, int | float | sympy.Expr)]
            if len(numbers) < len(value) or any(isinstance(item, bool) for item in numbers):
                raise _Wrong(NotInSizes(expr.span, f"{expr.name} of such a list"))
        else:
            numbers = [self.number(arg.expr) for arg in args]
        if any(isinstance(number, sympy.Expr) for number in numbers):
            chosen = (sympy.Min if expr.name == "min" else sympy.Max)(*numbers)
            return self.bounded(chosen, expr.span)
        return min(numbers) if expr.name == "min" else max(numbers)

    def bounded(self, value: Number, span: Span, *operands: Number) -> Number:
        """Refuse what is too large to go on with; operands are those that may be inf."""
        if isinstance(value, sympy.Expr):
            if value.is_Integer or value.is_Float:
                return self.bounded(int(value) if value.is_Integer else float(value), span)
            too_large = value.has(sympy.zoo, sympy.nan, sympy.oo) or not _moderate(value)
        elif isinstance(value, int):
            too_large = value.bit_length() > _BITS
        else:
            infinite = any(
                isinstance(operand, float) and math.isinf(operand) for operand in operands
            )
            too_large = math.isnan(value) or (math.isinf(value) and not infinite)
        if too_large:
            raise _Wrong(TooLarge(span))
        return value


def _compare(comparison: ast.Comparison, a: Value, b: Value, span: Span) -> bool | sympy.Expr:
    equality = comparison in (ast.Comparison.EQ, ast.Comparison.NE)
    numbers = not isinstance(a, bool | str | tuple) and not isinstance(b, bool | str | tuple)
    if not numbers:
        if not equality:
            found = _kind(a if isinstance(a, bool | str | tuple) else b)
            raise _Wrong(NotInSizes(span, f"{found} in a comparison"))
        return (type(a) is type(b) and a == b) == (comparison is ast.Comparison.EQ)
    assert not isinstance(a, bool | str | tuple) and not isinstance(b, bool | str | tuple)
    if not isinstance(a, sympy.Expr) and not isinstance(b, sympy.Expr):
        return bool(_OPERATORS[comparison](a, b))
    difference = sympy.expand(expression(a) - b)
    relation = _RELATIONS[comparison](difference, 0)
    if relation in (sympy.true, sympy.false):
        return bool(relation)
    return sympy.Piecewise((1, relation), (0, True))


_OPERATORS: dict[ast.Comparison, Callable[[float, float], bool]] = {
    ast.Comparison.LT: operator.lt,
    ast.Comparison.LE: operator.le,
    ast.Comparison.GT: operator.gt,
    ast.Comparison.GE: operator.ge,
    ast.Comparison.EQ: operator.eq,
    ast.Comparison.NE: operator.ne,
}
_RELATIONS = {
    ast.Comparison.LT: sympy.Lt,
    ast.Comparison.LE: sympy.Le,
    ast.Comparison.GT: sympy.Gt,
    ast.Comparison.GE: sympy.Ge,
    ast.Comparison.EQ: sympy.Eq,
    ast.Comparison.NE: sympy.Ne,
}


def _opposite(value: bool | sympy.Expr) -> bool | sympy.Expr:
    return not value if isinstance(value, bool) else 1 - value


def _integer(value: Value) -> Value:
    return int(value) if isinstance(value, bool) else value


def _moderate(expr: sympy.Expr) -> bool:
    """Whether a symbolic expression is small enough to expand."""
    if _count(expr, _NODES) > _NODES:
        return False
    degree, terms = _extent(expr)
    return degree <= _DEGREE and terms <= _NODES


def _count(expr: sympy.Basic, limit: int) -> int:
    """Nodes of the expression as a tree, counted up to the limit."""
    total = 1
    for arg in expr.args:
        if total > limit:
            break
        total += _count(arg, limit - total)
    return total


def _extent(expr: sympy.Basic) -> tuple[int, int]:
    """Bounds of the degree and of the number of terms after expansion."""
    match expr:
        case sympy.Add():
            parts = [_extent(arg) for arg in expr.args]
            return max(degree for degree, _ in parts), sum(terms for _, terms in parts)
        case sympy.Mul():
            parts = [_extent(arg) for arg in expr.args]
            return sum(degree for degree, _ in parts), math.prod(terms for _, terms in parts)
        case sympy.Pow() if expr.exp.is_Integer:
            degree, terms = _extent(expr.base)
            power = min(abs(int(expr.exp)), 10**6)
            if degree * power > _DEGREE or terms == 1:
                return degree * power, terms
            return degree * power, math.comb(power + terms - 1, power)
        case sympy.Symbol():
            return 1, 1
        case _:
            degree = max((_extent(arg)[0] for arg in expr.args), default=0)
            return degree, 1


def _symbols(expr: sympy.Expr) -> str:
    return ", ".join(sorted(symbol.name for symbol in expr.free_symbols))


def _shown(expr: ast.Expr) -> str:
    text = " ".join(expr.span.text.split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _kind(value: Value) -> str:
    match value:
        case bool():
            return "a bool"
        case str():
            return "a string"
        case tuple():
            return "a list"
        case _:
            return "a number"
