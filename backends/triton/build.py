"""Short spellings for the kernel IR, and walks over it; folding of integer constants on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_never

from tensorlang.backends.triton.kernel_ir import (
    Atomic,
    Cast,
    Const,
    Dot,
    DType,
    Expr,
    For,
    If,
    Iota,
    Let,
    Load,
    Map,
    Reduce,
    Ref,
    Stmt,
    Store,
)

TRUE = Const(True, DType.BOOL)
FALSE = Const(False, DType.BOOL)


def integer(value: int) -> Const:
    return Const(value, DType.INT)


def real(value: float) -> Const:
    return Const(float(value), DType.ACCUMULATE)


def call(op: str, *args: Expr) -> Expr:
    return Map(op, args)


# --- integers ------------------------------------------------------------------------------------
def _value(expr: Expr) -> int | None:
    if isinstance(expr, Const) and expr.dtype is DType.INT:
        return int(expr.value)
    return None


def add(*args: Expr) -> Expr:
    """Sum of integers; constants are gathered at the end."""
    terms: list[Expr] = []
    constant = 0
    for arg in args:
        for term in arg.args if isinstance(arg, Map) and arg.op == "add" else (arg,):
            value = _value(term)
            if value is None:
                terms.append(term)
            else:
                constant += value
    if constant or not terms:
        terms.append(integer(constant))
    return terms[0] if len(terms) == 1 else Map("add", tuple(terms))


def scale(expr: Expr, factor: Expr | int) -> Expr:
    """Product of integers."""
    factor = integer(factor) if isinstance(factor, int) else factor
    a, b = _value(expr), _value(factor)
    if a is not None and b is not None:
        return integer(a * b)
    if a == 0 or b == 0:
        return integer(0)
    if b is not None and isinstance(expr, Map) and expr.op == "add":
        return add(*(scale(term, b) for term in expr.args))
    if b is not None and isinstance(expr, Map) and expr.op == "mul":
        inner = _value(expr.args[-1])
        if inner is not None and len(expr.args) == 2:
            return scale(expr.args[0], inner * b)
    if b == 1:
        return expr
    if a == 1:
        return factor
    return Map("mul", (expr, factor))


def product(*factors: Expr) -> Expr:
    out: Expr = integer(1)
    for factor in factors:
        out = scale(out, factor)
    return out


def floor_to(expr: Expr, block: str) -> Expr:
    """Largest multiple of the block that is at most `expr`, which is not negative."""
    if _value(expr) == 0:
        return expr
    return Map("mul", (Map("floordiv", (expr, Ref(block))), Ref(block)))


def ceil_to(expr: Expr, block: str) -> Expr:
    """Least multiple of the block that is at least `expr`, which is not negative."""
    if _value(expr) == 0:
        return expr
    return floor_to(add(expr, Ref(block), integer(-1)), block)


def least(a: Expr, b: Expr) -> Expr:
    x, y = _value(a), _value(b)
    if x is not None and y is not None:
        return integer(min(x, y))
    return a if a == b else Map("min", (a, b))


def most(a: Expr, b: Expr) -> Expr:
    x, y = _value(a), _value(b)
    if x is not None and y is not None:
        return integer(max(x, y))
    return a if a == b else Map("max", (a, b))


# --- conditions ----------------------------------------------------------------------------------
def both(*conditions: Expr | None) -> Expr | None:
    """Conjunction of the conditions that are there, each once; None if there is none."""
    kept: dict[Expr, None] = {}
    for condition in conditions:
        if condition is not None and condition != TRUE:
            kept.update(dict.fromkeys(conjuncts(condition)))
    if not kept:
        return None
    return next(iter(kept)) if len(kept) == 1 else Map("and", tuple(kept))


def conjuncts(condition: Expr | None) -> tuple[Expr, ...]:
    """The conditions that a conjunction joins."""
    if condition is None or condition == TRUE:
        return ()
    if isinstance(condition, Map) and condition.op == "and":
        return tuple(c for arg in condition.args for c in conjuncts(arg))
    return (condition,)


# --- walks ---------------------------------------------------------------------------------------
def children(expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Const() | Ref() | Iota():
            return ()
        case Load(index=index, pred=pred):
            return (*index, pred) if pred is not None else index
        case Map(args=args):
            return args
        case Dot(a=a, b=b, acc=acc):
            return (a, b) if acc is None else (a, b, acc)
        case Reduce(a=a) | Cast(a=a):
            return (a,)
    assert_never(expr)


def rebuild(expr: Expr, new: Callable[[Expr], Expr]) -> Expr:
    """The same expression over new children."""
    match expr:
        case Const() | Ref() | Iota():
            return expr
        case Load(tensor, index, pred, other):
            return Load(tensor, tuple(map(new, index)), None if pred is None else new(pred), other)
        case Map(op, args):
            return Map(op, tuple(map(new, args)))
        case Dot(a, b, axis, acc):
            return Dot(new(a), new(b), axis, None if acc is None else new(acc))
        case Reduce(op=reduction, a=a, axis=axis):
            return Reduce(reduction, new(a), axis)
        case Cast(a, dtype):
            return Cast(new(a), dtype)
    assert_never(expr)


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all below it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """Expressions that a statement holds itself, not those of its body."""
    match stmt:
        case Let(value=value):
            return (value,)
        case For(lo=lo, hi=hi):
            return (lo, hi)
        case If(condition=condition):
            return (condition,)
        case (
            Store(index=index, value=value, pred=pred) | Atomic(index=index, value=value, pred=pred)
        ):
            return (*index, value) if pred is None else (*index, value, pred)
    assert_never(stmt)


def statements(body: tuple[Stmt, ...]) -> Iterator[tuple[Stmt, tuple[For, ...]]]:
    """Every statement with the loops around it, in order."""
    yield from _statements(body, ())


def _statements(
    body: tuple[Stmt, ...], loops: tuple[For, ...]
) -> Iterator[tuple[Stmt, tuple[For, ...]]]:
    for stmt in body:
        yield stmt, loops
        if isinstance(stmt, For):
            yield from _statements(stmt.body, (*loops, stmt))
        elif isinstance(stmt, If):
            yield from _statements(stmt.body, loops)
