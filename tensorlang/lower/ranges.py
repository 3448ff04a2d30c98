"""Between which numbers a value lies, as far as its form shows it: that it cannot fail follows.

Data is any finite number. Indices and sizes are what they are, sizes that only a call knows at
least 0. Overflow of sums and products is not thought of, that of powers and exponentials is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tensorlang import registry
from tensorlang.check.program import (
    Apply,
    Expr,
    IndexValue,
    Literal,
    Reduce,
    ReduceOp,
    SizeValue,
)
from tensorlang.dtype import Dtype
from tensorlang.lower.terms import dtype_of
from tensorlang.size import Size

_LARGEST = 43.0  # log of what int64 and float32 still hold


@dataclass(frozen=True, slots=True)
class Range:
    """low <= value <= high."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def is_apart_from_0(self) -> bool:
        return self.low > 0 or self.high < 0

    def __neg__(self) -> Range:
        return Range(-self.high, -self.low)


ANY = Range()


def value_range(expr: Expr) -> Range:
    """The range of a real or int expression; ANY for what it says nothing of."""
    if dtype_of(expr) is Dtype.COMPLEX:
        return ANY
    match expr:
        case Literal(bool(value)):
            return Range(value, value)
        case Literal(int() | float() as value) if not math.isnan(value):
            return Range(value, value)
        case IndexValue(index):
            return Range(0, _most(index.dim.size) - 1)
        case SizeValue(size):
            return Range(size if isinstance(size, int) else 0, _most(size))
        case Apply(function, args):
            return _applied(function, args)
        case Reduce(ReduceOp.SUM | ReduceOp.MEAN) if value_range(expr.body).low >= 0:
            return Range(0)
    return ANY


def can_fail(expr: Apply) -> bool:
    """Whether finite arguments can give this function an infinite value or slope, or nan."""
    if not registry.functions()[expr.function].partial:
        return False
    function, args = expr.function, expr.args
    ranges = [value_range(arg) for arg in args]
    match function, args:
        case "exp", _:
            return ranges[0].high > _LARGEST
        case "sinh" | "cosh", _:
            return _magnitude(ranges[0]).high > _LARGEST
        case "log" | "rsqrt" | "sqrt", _:
            return ranges[0].low <= 0
        case "asin" | "acos", _:
            return _magnitude(ranges[0]).high >= 1
        case "div" | "floordiv" | "mod", _:
            return not ranges[1].is_apart_from_0
        case "pow", (_, Literal(int(power))):
            return power < 0 and not ranges[0].is_apart_from_0
        case "pow", (_, Literal(float(power))) if power == int(power) and power >= 0:
            return False
        case "pow", (_, Literal(float(power))) if power >= 1 and ranges[0].low >= 0:
            return False
        case "pow", _:
            return _power(*ranges) is None
    return any(not isinstance(arg, Literal) for arg in args)


def _most(size: Size) -> float:
    return size if isinstance(size, int) else math.inf


def _applied(function: str, args: Sequence[Expr]) -> Range:
    match function:
        case "where":
            return _union(value_range(args[1]), value_range(args[2]))
        case "sigmoid" | "erf" | "tanh" | "sin" | "cos":
            return Range(0 if function == "sigmoid" else -1, 1)
        case "exp" | "relu" | "softplus" | "cosh" | "sqrt" | "rsqrt":
            ranges = [value_range(arg) for arg in args]
            return _root(ranges[0]) if function == "sqrt" else Range(0)
    ranges = [value_range(arg) for arg in args]
    match function:
        case "to_real" | "to_int":
            return ranges[0]
        case "neg":
            return -ranges[0]
        case "add":
            return Range(sum(r.low for r in ranges), sum(r.high for r in ranges))
        case "mul" if len(args) == 2 and args[0] == args[1]:
            return _magnitude(_product(ranges))
        case "mul":
            return _product(ranges)
        case "abs":
            return _magnitude(ranges[0])
        case "min":
            return Range(min(r.low for r in ranges), min(r.high for r in ranges))
        case "max":
            return Range(max(r.low for r in ranges), max(r.high for r in ranges))
        case "div" if ranges[1].is_apart_from_0:
            below = ranges[1]
            return _product([ranges[0], Range(1 / below.high, 1 / below.low)])
        case "mod" if ranges[1].low > 0:
            return Range(0, ranges[1].high)
        case "floordiv" if ranges[1].low >= 1 and ranges[0].low >= 0:
            return Range(0, ranges[0].high)
        case "pow":
            match args[1]:
                case Literal(int(power)) if power >= 0 and power % 2 == 0:
                    return _magnitude(_product([ranges[0]] * power))
            return _power(*ranges) or ANY
    return ANY


def _power(base: Range, exponent: Range) -> Range | None:
    """The range of a power, None if it may overflow or its base may be 0 or less."""
    if base.low <= 0:
        return None
    logs = [math.log(base.low), math.log(base.high)]
    products = [_times(log, e) for log in logs for e in (exponent.low, exponent.high)]
    if max(products) > _LARGEST:
        return None
    return Range(math.exp(min(products)), math.exp(max(products)))


def _times(a: float, b: float) -> float:
    return 0.0 if 0 in (a, b) else a * b


def _product(ranges: Sequence[Range]) -> Range:
    total = Range(1, 1)
    for r in ranges:
        ends = [_times(a, b) for a in (total.low, total.high) for b in (r.low, r.high)]
        total = Range(min(ends), max(ends))
    return total


def _union(a: Range, b: Range) -> Range:
    return Range(min(a.low, b.low), max(a.high, b.high))


def _magnitude(r: Range) -> Range:
    if r.low >= 0:
        return r
    return Range(0 if r.high >= 0 else -r.high, max(-r.low, r.high))


def _root(r: Range) -> Range:
    return Range(math.sqrt(max(r.low, 0)), math.sqrt(max(r.high, 0)))
