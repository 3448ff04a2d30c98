"""Which statements of a program lie between two of its tensors, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from tensorlang.check.program import (
    Axis,
    ComputedAt,
    Equation,
    Expr,
    Gradient,
    Read,
    Scatter,
    Statement,
    SubCall,
    Subscript,
)
from tensorlang.check.subexpressions import parts


def between(body: Sequence[Statement], start: str, end: str) -> tuple[Statement, ...]:
    """The statements by which `end` depends on `start`, in order."""
    forward = []
    reached = {start}
    for statement in body:
        if not reached.isdisjoint(read_by(statement)):
            reached.update(defined_by(statement))
            forward.append(statement)
    out = []
    needed = {end}
    for statement in reversed(forward):
        if not needed.isdisjoint(defined_by(statement)):
            needed.update(read_by(statement))
            out.append(statement)
    return tuple(reversed(out))


def defined_by(statement: Statement) -> tuple[str, ...]:
    """The tensors that a statement defines."""
    if isinstance(statement, SubCall):
        return tuple(output.name for output in statement.outputs)
    return (statement.name,)


def axes_of(body: Sequence[Statement]) -> dict[str, tuple[Axis, ...]]:
    """The axes of all tensors that statements define."""
    out: dict[str, tuple[Axis, ...]] = {}
    for statement in body:
        if isinstance(statement, SubCall):
            out.update((output.name, output.axes) for output in statement.outputs)
        else:
            out[statement.name] = statement.axes
    return out


def read_by(statement: Statement) -> Iterator[str]:
    """The tensors that a statement reads, repeated where it repeats them."""
    match statement:
        case Equation(body=body):
            yield from _in_expression(body)
        case Scatter(contributions=contributions):
            for contribution in contributions:
                yield from _in_expression(contribution.body)
                yield from _in_subscripts(contribution.subscripts)
        case SubCall(inputs=inputs):
            yield from inputs
        case Gradient(value=value, by=by):
            yield value
            yield by
        case _:
            assert_never(statement)


def _in_expression(expr: Expr) -> Iterator[str]:
    return (part.tensor for part in parts(expr) if isinstance(part, Read))


def _in_subscripts(subscripts: Sequence[Subscript]) -> Iterator[str]:
    for subscript in subscripts:
        if isinstance(subscript, ComputedAt):
            yield from _in_expression(subscript.value)
