"""A statement's expression made ready: constants folded, casts explicit, reductions written out.

What is left of reductions: sum, max, min, prod, logsumexp, any, all, argmax, argmin. A condition
that hyperparameters decide is gone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, assert_never

import numpy as np

from tensorlang import registry
from tensorlang.check.program import (
    Affine,
    AffineAt,
    Along,
    AlongOp,
    Apply,
    ComputedAt,
    Expr,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    SizeValue,
    Subscript,
    Transform,
    TransformOp,
)
from tensorlang.dtype import Dtype
from tensorlang.library.signature import promoted
from tensorlang.lower.terms import cast, dtype_of, masked, number
from tensorlang.size import product

_INT = np.iinfo(np.int64)


def prepare(expr: Expr) -> Expr:
    """Fold, cast and write out, bottom up."""
    match expr:
        case Literal() | IndexValue():
            return expr
        case SizeValue(size):
            return Literal(size, Dtype.INT) if isinstance(size, int) else expr
        case Apply():
            return _apply(replace(expr, args=tuple(prepare(arg) for arg in expr.args)))
        case Read():
            return replace(expr, subscripts=tuple(prepare_subscript(s) for s in expr.subscripts))
        case Reduce():
            return _reduce(expr)
        case Along():
            return _along(expr)
        case Transform():
            return _transform(replace(expr, args=tuple(prepare(arg) for arg in expr.args)))
    assert_never(expr)


def prepare_subscript(subscript: Subscript) -> Subscript:
    """The same, of the expression of a computed position."""
    if not isinstance(subscript, ComputedAt):
        return subscript
    value = prepare(subscript.value)
    if isinstance(value, Literal) and isinstance(value.value, int):
        return AffineAt(Affine((), int(value.value)), subscript.boundary)
    return ComputedAt(value, subscript.boundary)


# --- functions -----------------------------------------------------------------------------------
def _apply(expr: Apply) -> Expr:
    match expr.function, expr.args:
        case "and", args:
            return _logical(expr, args, absorbing=False)
        case "or", args:
            return _logical(expr, args, absorbing=True)
        case "where", (Literal(value), then, otherwise):
            return cast(then if value else otherwise, expr.dtype)
        case "to_int" | "to_real" | "to_complex", (arg,) if dtype_of(arg) is expr.dtype:
            return arg
    row = registry.functions()[expr.function]
    dtypes = promoted(row, tuple(dtype_of(arg) for arg in expr.args))
    args = tuple(_wider(arg, dtype) for arg, dtype in zip(expr.args, dtypes, strict=True))
    if expr.function == "pow" and isinstance(expr.args[1], Literal):
        args = (args[0], _exponent(expr.args[1], args[1]))
    expr = replace(expr, args=args)
    return _folded(expr) or _scaled(expr) or expr


def _scaled(expr: Apply) -> Reduce | None:
    """A sum times literals: they go under the sum, where they are its coefficient.

    A minus stays outside: a sum that is also read without it is one sum.
    """
    sums = [arg for arg in expr.args if not isinstance(arg, Literal)]
    match expr.function, sums:
        case "mul", [Reduce(ReduceOp.SUM) as whole]:
            pass
        case "div", [Reduce(ReduceOp.SUM) as whole] if whole is expr.args[0]:
            pass
        case _:
            return None
    body = tuple(whole.body if arg is whole else arg for arg in expr.args)
    return replace(whole, body=replace(expr, args=body))


def _wider(arg: Expr, dtype: Dtype) -> Expr:
    return cast(arg, dtype) if dtype_of(arg) < dtype else arg


def _exponent(written: Literal, promoted_: Expr) -> Expr:
    """An exponent that is a whole number stays an int: x ^ 2 has every derivative at 0."""
    value = written.value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**31:
        return Literal(int(value), Dtype.INT)
    return written if isinstance(value, int) else promoted_


def _logical(expr: Apply, args: tuple[Expr, ...], absorbing: bool) -> Expr:
    kept = []
    for arg in args:
        if not isinstance(arg, Literal):
            kept.append(arg)
        elif bool(arg.value) is absorbing:
            return Literal(absorbing, Dtype.BOOL)
    match kept:
        case []:
            return Literal(not absorbing, Dtype.BOOL)
        case [one]:
            return one
    return replace(expr, args=tuple(kept))


def _folded(expr: Apply) -> Literal | None:
    """The value, where all arguments are literals and it is a finite number."""
    values = [arg.value for arg in expr.args if isinstance(arg, Literal)]
    if len(values) < len(expr.args) or expr.function in ("dropout", "stopgrad"):
        return None
    row = registry.functions()[expr.function]
    kinds: tuple[Any, ...] = (np.bool_, np.int64, np.float64, np.complex128)
    arrays = [kinds[dtype_of(arg)](value) for arg, value in zip(expr.args, values, strict=True)]
    with np.errstate(all="ignore"):
        value = row.numpy(*arrays)
    value = complex(value) if expr.dtype is Dtype.COMPLEX else np.asarray(value).item()
    infinite = any(math.isinf(abs(value)) for value in values)
    if not infinite and not math.isfinite(abs(value)):
        return None
    return number(value, expr.dtype)


# --- reductions ----------------------------------------------------------------------------------
def _condition(where: Expr | None) -> tuple[Expr | None, bool]:
    """What is left of a condition, and whether any cell can fulfil it."""
    prepared = None if where is None else prepare(where)
    if isinstance(prepared, Literal):
        return None, bool(prepared.value)
    return prepared, True


def _reduce(expr: Reduce) -> Expr:
    where, any_cell = _condition(expr.where)
    if not any_cell:
        return _of_none(expr)
    body = prepare(expr.body)
    indices, dtype = expr.indices, expr.dtype
    match expr.op:
        case ReduceOp.SUM | ReduceOp.PROD | ReduceOp.LOGSUMEXP | ReduceOp.MAX | ReduceOp.MIN:
            return Reduce(expr.op, indices, where, _wider(body, dtype), dtype)
        case ReduceOp.ANY | ReduceOp.ALL | ReduceOp.ARGMAX | ReduceOp.ARGMIN:
            return Reduce(expr.op, indices, where, body, dtype)
        case ReduceOp.COUNT:
            condition = body if where is None else _apply(_and(where, body))
            return count(indices, None if isinstance(condition, Literal) else condition)
        case ReduceOp.MEAN:
            return mean(indices, where, _wider(body, dtype))
        case ReduceOp.NORM:
            square = _square(_wider(body, Dtype.REAL))
            return root(Reduce(ReduceOp.SUM, indices, where, square, Dtype.REAL))
        case ReduceOp.VAR:
            return _variance(indices, where, _wider(body, Dtype.REAL))
        case ReduceOp.STD:
            return root(_variance(indices, where, _wider(body, Dtype.REAL)))
    assert_never(expr.op)


def _and(a: Expr, b: Expr) -> Apply:
    return Apply("and", (a, b), Dtype.BOOL)


def identity(op: ReduceOp, dtype: Dtype) -> Literal:
    """What the operation gives over no cell, and what a cell that is left out reads as."""
    match op:
        case ReduceOp.MAX | ReduceOp.ARGMAX:
            least = {Dtype.BOOL: False, Dtype.INT: int(_INT.min)}
            return Literal(least.get(dtype, -math.inf), dtype)
        case ReduceOp.MIN | ReduceOp.ARGMIN:
            most = {Dtype.BOOL: True, Dtype.INT: int(_INT.max)}
            return Literal(most.get(dtype, math.inf), dtype)
        case ReduceOp.LOGSUMEXP:
            return Literal(-math.inf, dtype)
        case ReduceOp.PROD:
            return number(1, dtype)
        case ReduceOp.ALL:
            return Literal(True, Dtype.BOOL)
        case _:
            return number(0, dtype)


def _of_none(expr: Reduce) -> Expr:
    """A reduction whose condition holds nowhere."""
    if expr.op in (ReduceOp.ARGMAX, ReduceOp.ARGMIN):
        return Literal(0, Dtype.INT)
    return identity(expr.op, expr.dtype)


def count(indices: tuple[Index, ...], where: Expr | None) -> Expr:
    """How many cells fulfil the condition."""
    if where is None:
        return prepare(SizeValue(product(index.dim.size for index in indices)))
    return Reduce(ReduceOp.SUM, indices, where, Literal(1, Dtype.INT), Dtype.INT)


def mean(indices: tuple[Index, ...], where: Expr | None, body: Expr) -> Expr:
    """The mean of a real or complex body; 0 where there is no cell."""
    dtype = dtype_of(body)
    total = count(indices, where)
    if isinstance(total, Literal):
        share = number(1 / max(int(total.value.real), 1), dtype)
        return Reduce(ReduceOp.SUM, indices, where, Apply("mul", (share, body), dtype), dtype)
    some = Apply("max", (total, Literal(1, Dtype.INT)), Dtype.INT)
    whole = Reduce(ReduceOp.SUM, indices, where, body, dtype)
    return Apply("div", (whole, cast(some, dtype)), dtype)


def root(square: Expr) -> Expr:
    """sqrt of what is never negative, with slope 0 at 0: the condition guards its argument."""
    some = Apply("gt", (square, Literal(0.0, Dtype.REAL)), Dtype.BOOL)
    return masked(some, Apply("sqrt", (square,), Dtype.REAL), Literal(0.0, Dtype.REAL))


def _square(body: Expr) -> Expr:
    """|body|^2."""
    if dtype_of(body) is not Dtype.COMPLEX:
        return _power(body)
    parts = (Apply(part, (body,), Dtype.REAL) for part in ("real", "imag"))
    return Apply("add", tuple(_power(part) for part in parts), Dtype.REAL)


def _power(body: Expr) -> Expr:
    return Apply("pow", (body, Literal(2, Dtype.INT)), Dtype.REAL)


def _variance(indices: tuple[Index, ...], where: Expr | None, body: Expr) -> Expr:
    dtype = dtype_of(body)
    minus = Apply("neg", (mean(indices, where, body),), dtype)
    return mean(indices, where, _square(Apply("add", (body, minus), dtype)))


# --- operators that keep or exchange indices -----------------------------------------------------
def _along(expr: Along) -> Expr:
    where, any_cell = _condition(expr.where)
    body = _wider(prepare(expr.body), expr.dtype)
    match expr.op:
        case AlongOp.SOFTMAX | AlongOp.LOG_SOFTMAX:
            if not any_cell:
                return number(0, expr.dtype)
            return Along(expr.op, expr.indices, where, body, expr.dtype)
        case AlongOp.CUMSUM | AlongOp.CUMPROD:
            neutral = number(expr.op is AlongOp.CUMPROD, expr.dtype)
            if not any_cell:
                return neutral
            return Along(expr.op, expr.indices, None, masked(where, body, neutral), expr.dtype)
    assert_never(expr.op)


def _transform(expr: Transform) -> Expr:
    match expr.op:
        case TransformOp.FFT | TransformOp.IFFT | TransformOp.IRFFT:
            return replace(expr, args=tuple(_wider(arg, Dtype.COMPLEX) for arg in expr.args))
        case TransformOp.RFFT:
            return replace(expr, args=tuple(_wider(arg, Dtype.REAL) for arg in expr.args))
        case _:
            dtype = max(dtype_of(arg) for arg in expr.args)
            return replace(expr, args=tuple(_wider(arg, dtype) for arg in expr.args))
