"""Guards: the conditions under which an expression counts, and what they say to its parts."""

from __future__ import annotations

from tensorlang.check.program import (
    Apply,
    Boundary,
    ComputedAt,
    Expr,
    Index,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    free_indices,
)
from tensorlang.check.subexpressions import children
from tensorlang.dtype import Dtype
from tensorlang.lower.terms import conjunction, masked, projected, reads_tensors, uncast

Guards = tuple[Expr, ...]


def beyond(guards: Guards, indices: tuple[Index, ...]) -> Guards:
    """Guards of what needs all cells along these indices: where one of the cells is needed."""
    return tuple(
        projected(guard, [index for index in free_indices(guard) if index not in indices])
        for guard in guards
    )


def states(factor: Expr, where: Expr | None) -> bool:
    """Whether a factor states the condition of its sum itself; that cannot guard it."""
    match uncast(factor):
        case Apply("where", (Reduce(op=ReduceOp.ANY, body=condition), _, _)) if condition == where:
            return True
        case Apply("where", (condition, _, _)) | condition:
            return condition == where


def where_needed(value: Expr, guards: Guards, indices: tuple[Index, ...]) -> Expr:
    """A checked position, 0 where no cell needs it.

    A guard over indices that the read lacks counts if it is data; one by indices alone, such as a
    causal mask, would only add a table of where it never holds. One that is computed from what is
    read there has looked at the position already.
    """
    conditions = [
        projected(guard, indices)
        for guard in guards
        if (reads_tensors(guard) or set(free_indices(guard)) <= set(indices))
        and not _looks_at(guard, value)
    ]
    if not conditions:
        return value
    return masked(conjunction(conditions), value, Literal(0, Dtype.INT))


def _looks_at(expr: Expr, position: Expr) -> bool:
    """Whether an expression reads something at a computed position."""
    if isinstance(expr, Read) and ComputedAt(position, Boundary.CHECKED) in expr.subscripts:
        return True
    return any(_looks_at(child, position) for child in children(expr))
