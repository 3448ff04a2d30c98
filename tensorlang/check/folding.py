"""Folds literals while expressions are printed: conditions on hyperparameters, int arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Callable

from tensorlang.check.program import Apply, Expr, Literal
from tensorlang.check.types import dtype_of
from tensorlang.dtype import Dtype

_LIMIT = 2**63


def apply(name: str, args: tuple[Expr, ...], dtype: Dtype, site: int = 0) -> Expr:
    """`Apply`, or what it is where literals decide."""
    if any(isinstance(arg, Literal) for arg in args) and (out := _folded(name, args, dtype)):
        return out
    return Apply(name, args, dtype, site)


def _folded(name: str, args: tuple[Expr, ...], dtype: Dtype) -> Expr | None:
    match name:
        case "and" | "or":
            return _joined(name, args)
        case "where":
            return _chosen(args, dtype)
        case "neg":
            (arg,) = args
            if isinstance(arg, Literal) and not isinstance(arg.value, bool):
                return Literal(-arg.value, arg.dtype)
        case "div":
            return _quotient(args)
    values: list[int] = []
    for arg in args:
        if not isinstance(arg, Literal) or arg.dtype > Dtype.INT:
            return _compared(name, args)
        values.append(int(arg.value))  # type: ignore[arg-type]
    return _integer(name, values, dtype)


def _joined(name: str, args: tuple[Expr, ...]) -> Expr | None:
    decisive = name == "or"
    left = tuple(arg for arg in args if not isinstance(arg, Literal))
    if any(isinstance(arg, Literal) and arg.value is decisive for arg in args):
        return Literal(decisive, Dtype.BOOL)
    if not left:
        return Literal(not decisive, Dtype.BOOL)
    if len(left) == 1:
        return left[0]
    return Apply(name, left, Dtype.BOOL)


def _chosen(args: tuple[Expr, ...], dtype: Dtype) -> Expr | None:
    condition, then, otherwise = args
    if not isinstance(condition, Literal):
        return None
    chosen = then if condition.value else otherwise
    return chosen if dtype_of(chosen) is dtype else None


_INTEGER: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


def _integer(name: str, values: list[int], dtype: Dtype) -> Expr | None:
    if name == "not":
        return Literal(not values[0], Dtype.BOOL)
    if name in _COMPARE:
        return Literal(_COMPARE[name](*values), Dtype.BOOL)
    if dtype is not Dtype.INT:
        return None
    if name in _INTEGER and not (name in ("floordiv", "mod") and values[1] == 0):
        out = values[0]
        for value in values[1:]:
            out = _INTEGER[name](out, value)
            if not -_LIMIT <= out < _LIMIT:
                return None
        return Literal(out, Dtype.INT)
    if name == "pow" and 0 <= values[1] <= 64 and abs(values[0]) <= 2**16:
        out = values[0] ** values[1]
        return Literal(out, Dtype.INT) if out < _LIMIT else None
    return None


def _compared(name: str, args: tuple[Expr, ...]) -> Expr | None:
    if name not in _COMPARE:
        return None
    values = [arg.value for arg in args if isinstance(arg, Literal)]
    if len(values) < 2 or any(isinstance(value, complex) for value in values):
        return None
    return Literal(_COMPARE[name](*values), Dtype.BOOL)  # type: ignore[arg-type]


def _quotient(args: tuple[Expr, ...]) -> Expr | None:
    """A quotient of numbers, so that `1/3` is a literal."""
    values = [arg.value for arg in args if isinstance(arg, Literal)]
    if len(values) < 2 or any(isinstance(value, complex) for value in values) or values[1] == 0:
        return None
    return Literal(values[0] / values[1], Dtype.REAL)
