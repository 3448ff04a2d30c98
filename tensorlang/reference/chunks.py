"""Parts of the index space, small enough that no intermediate exceeds a cap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

from tensorlang.check.program import (
    Along,
    Expr,
    Index,
    Reduce,
    Transform,
    free_indices,
)
from tensorlang.check.subexpressions import parts
from tensorlang.reference.expressions import Space
from tensorlang.reference.field import union

CELLS = 1 << 21
"""Cap on the cells of one intermediate: 16 MiB of float64."""


def chunks(indices: Sequence[Index], exprs: Sequence[Expr], space: Space) -> Iterator[Space]:
    """Cut leading indices until no intermediate of the expressions has more than CELLS cells."""
    whole = {index for expr in exprs for index in _kept_whole(expr)}
    steps: dict[Index, int] = {}
    peak = max((_cells(expr, indices, space) for expr in exprs), default=0)
    for index in indices:
        if peak <= CELLS:
            break
        length = space.length(index)
        if index not in whole and length > 1:
            steps[index] = max(1, CELLS * length // peak)
            peak = -(-peak // length) * steps[index]
    starts = [range(0, space.length(index), step) for index, step in steps.items()]
    for corner in product(*starts):
        yield space.narrowed(
            {
                index: (start, min(start + step, space.length(index)))
                for (index, step), start in zip(steps.items(), corner, strict=True)
            }
        )


def _cells(expr: Expr, indices: Sequence[Index], space: Space) -> int:
    """The largest index space of a subexpression, counted with all of `indices`."""
    spaces = [tuple(indices), *(tuple(free_indices(e)) + _bound(e) for e in parts(expr))]
    return max(prod(space.length(index) for index in union((group,))) for group in spaces)


def _kept_whole(expr: Expr) -> Iterator[Index]:
    """Indices that an operator inside acts along and keeps."""
    for inner in parts(expr):
        if isinstance(inner, Along):
            yield from inner.indices
        elif isinstance(inner, Transform):
            yield from inner.target


def _bound(expr: Expr) -> tuple[Index, ...]:
    match expr:
        case Reduce():
            where = () if expr.where is None else tuple(free_indices(expr.where))
            return (*free_indices(expr.body), *where, *expr.indices)
        case Transform():
            return (*union(free_indices(arg) for arg in expr.args), *expr.source)
        case _:
            return ()
