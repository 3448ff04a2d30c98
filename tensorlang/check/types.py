"""Kinds of number: what functions, reductions and casts make of them."""

from __future__ import annotations

from typing import assert_never

from tensorlang.check.errors.types import WrongTypes
from tensorlang.check.program import (
    Along,
    Apply,
    Expr,
    IndexValue,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    SizeValue,
    Transform,
)
from tensorlang.check.scope import LayerScope
from tensorlang.check.terms import Term
from tensorlang.dtype import Dtype
from tensorlang.registry import functions
from tensorlang.source import Span

BOOL, INT, REAL, COMPLEX = Dtype.BOOL, Dtype.INT, Dtype.REAL, Dtype.COMPLEX

SHOWN = {BOOL: "bool", INT: "int", REAL: "real", COMPLEX: "complex"}
ARTICLE = {BOOL: "a bool", INT: "an int", REAL: "real", COMPLEX: "complex"}
CASTS = {INT: "to_int", REAL: "to_real", COMPLEX: "to_complex"}


def typed(
    scope: LayerScope, name: str, shown: str, args: tuple[Term, ...], span: Span
) -> tuple[Dtype, bool]:
    """The dtype of a function's value, and whether something about it was reported."""
    if any(arg.bad for arg in args):
        return REAL, True
    found = functions()[name].dtype(tuple(arg.dtype for arg in args))
    if isinstance(found, str):
        scope.report(WrongTypes(span, shown, found))
        return REAL, True
    return found, False


def reduced(op: ReduceOp, body: Dtype) -> Dtype | str:
    """The dtype of a reduction, or a sentence that says why it cannot be."""
    match op:
        case ReduceOp.SUM | ReduceOp.PROD:
            return max(body, INT)
        case ReduceOp.MEAN:
            return max(body, REAL)
        case ReduceOp.MAX | ReduceOp.MIN:
            return "complex numbers have no order" if body is COMPLEX else max(body, INT)
        case ReduceOp.ARGMAX | ReduceOp.ARGMIN:
            return "complex numbers have no order" if body is COMPLEX else INT
        case ReduceOp.LOGSUMEXP | ReduceOp.VAR | ReduceOp.STD:
            return "it is defined on real numbers only" if body is COMPLEX else REAL
        case ReduceOp.NORM:
            return REAL
        case ReduceOp.ANY | ReduceOp.ALL:
            return BOOL if body is BOOL else f"it joins conditions (bool), found {SHOWN[body]}"
        case ReduceOp.COUNT:
            return INT
    assert_never(op)


def dtype_of(expr: Expr) -> Dtype:
    match expr:
        case IndexValue():
            return INT
        case SizeValue(size):
            return INT if isinstance(size, int) or size.is_integer is not False else REAL
        case Literal() | Apply() | Read() | Reduce() | Along() | Transform():
            return expr.dtype
    assert_never(expr)


def cast(expr: Expr, dtype: Dtype) -> Expr:
    """The same value as a number of a larger kind."""
    found = dtype_of(expr)
    if found is dtype:
        return expr
    assert found < dtype, (found, dtype)
    if isinstance(expr, Literal):
        return Literal(convert(expr.value, dtype), dtype)
    return Apply(CASTS[dtype], (expr,), dtype)


def convert(value: bool | int | float | complex, dtype: Dtype) -> bool | int | float | complex:
    match dtype:
        case Dtype.BOOL:
            return bool(value)
        case Dtype.INT:
            assert not isinstance(value, complex), value
            return int(value)
        case Dtype.REAL:
            assert not isinstance(value, complex), value
            return float(value)
        case Dtype.COMPLEX:
            return complex(value)
    assert_never(dtype)


def dtype_of_value(value: bool | int | float) -> Dtype:
    if isinstance(value, bool):
        return BOOL
    return INT if isinstance(value, int) else REAL
