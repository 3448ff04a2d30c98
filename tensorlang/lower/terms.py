"""Small words over program expressions: dtypes, casts, conditions, what an expression mentions."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check.program import (
    Apply,
    At,
    Expr,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    SizeValue,
    free_indices,
)
from tensorlang.check.subexpressions import children
from tensorlang.dtype import Dtype

TRUE = Literal(True, Dtype.BOOL)
_CASTS = {Dtype.INT: "to_int", Dtype.REAL: "to_real", Dtype.COMPLEX: "to_complex"}
_TYPES = {Dtype.BOOL: bool, Dtype.INT: int, Dtype.REAL: float, Dtype.COMPLEX: complex}


def dtype_of(expr: Expr) -> Dtype:
    match expr:
        case IndexValue() | SizeValue():
            return Dtype.INT
        case _:
            return expr.dtype


def number(value: complex | float | int | bool, dtype: Dtype) -> Literal:
    """A literal of this dtype; a value never loses a part."""
    return Literal(_TYPES[dtype](value), dtype)


def cast(expr: Expr, dtype: Dtype) -> Expr:
    """The same value in a dtype that is as large or larger (a bool is 0 or 1)."""
    found = dtype_of(expr)
    if found is dtype:
        return expr
    assert found < dtype, (expr, dtype)
    if isinstance(expr, Literal):
        return number(expr.value, dtype)
    return Apply(_CASTS[dtype], (expr,), dtype)


def uncast(expr: Expr) -> Expr:
    """What a cast is of; the expression itself if it is none."""
    while isinstance(expr, Apply) and expr.function in _CASTS.values():
        expr = expr.args[0]
    return expr


def conjunction(conditions: Sequence[Expr]) -> Expr:
    return conditions[0] if len(conditions) == 1 else Apply("and", tuple(conditions), Dtype.BOOL)


def negation(condition: Expr) -> Expr:
    return Apply("not", (condition,), Dtype.BOOL)


def masked(condition: Expr | None, body: Expr, otherwise: Literal) -> Expr:
    """The body where the condition holds."""
    if condition is None:
        return body
    return Apply("where", (condition, body, otherwise), dtype_of(body))


def projected(condition: Expr, indices: Sequence[Index]) -> Expr:
    """Whether the condition holds anywhere over the indices that are not among these."""
    missing = tuple(index for index in free_indices(condition) if index not in indices)
    if not missing:
        return condition
    return Reduce(ReduceOp.ANY, missing, None, condition, Dtype.BOOL)


def reads_tensors(expr: Expr) -> bool:
    """Whether a value depends on data, not on indices and sizes alone."""
    return isinstance(expr, Read) or any(reads_tensors(child) for child in children(expr))


def is_plain(expr: Expr) -> bool:
    """A tensor read by different indices, each over a whole axis."""
    if not isinstance(expr, Read):
        return False
    indices = [s.index for s in expr.subscripts if isinstance(s, At)]
    return len(set(indices)) == len(expr.subscripts)
