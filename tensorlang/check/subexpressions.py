"""The parts of a checked expression, those in subscripts and conditions included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from tensorlang.check.program import (
    Along,
    Apply,
    ComputedAt,
    Expr,
    IndexValue,
    Literal,
    Read,
    Reduce,
    SizeValue,
    Transform,
)


def children(expr: Expr) -> Iterator[Expr]:
    """Direct parts."""
    match expr:
        case Literal() | IndexValue() | SizeValue():
            return
        case Read():
            for subscript in expr.subscripts:
                if isinstance(subscript, ComputedAt):
                    yield subscript.value
        case Apply() | Transform():
            yield from expr.args
        case Reduce() | Along():
            yield expr.body
            if expr.where is not None:
                yield expr.where
        case _:
            assert_never(expr)


def parts(expr: Expr) -> Iterator[Expr]:
    """The expression and all its parts, outer ones first."""
    yield expr
    for child in children(expr):
        yield from parts(child)
