"""Statements: equations and scatters, in chunks of the index space, and calls of sub-layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import numpy as np

from tensorlang.check.program import (
    Axis,
    ComputedAt,
    Const,
    Constructed,
    Contribution,
    Expr,
    Index,
    Scatter,
    ScatterOp,
    Table,
    free_indices,
    subscript_indices,
)
from tensorlang.dtype import Dtype
from tensorlang.reference.arrays import TYPES, Numpy, least, most
from tensorlang.reference.chunks import chunks
from tensorlang.reference.dual import Dual, broadcast
from tensorlang.reference.dual_arrays import Duals
from tensorlang.reference.expressions import Space, field_of, place_of
from tensorlang.reference.field import Field, aligned, both, constant, union
from tensorlang.registry import constants


def indices_of(axes: Sequence[Axis]) -> tuple[Index, ...]:
    return tuple(index for axis in axes for index in axis.indices)


def equation(
    axes: Sequence[Axis],
    dtype: Dtype,
    body: Expr,
    sizes: Mapping[str, int],
    tensors: Mapping[str, Any],
) -> Any:
    """The tensor with these axes that holds the body's values."""
    indices = indices_of(axes)
    if _carries(tensors):
        space = Space(Duals(), tensors, sizes, {})
        value = space.arrays.cast(aligned(field_of(body, space), indices), dtype)
        value = broadcast(value, [space.length(index) for index in indices])
        return value.reshape([space.size(axis.size) for axis in axes])
    space = Space(Numpy(), tensors, sizes, {})
    out = np.empty([space.length(index) for index in indices], TYPES[dtype])
    for part in chunks(indices, [body], space):
        where = tuple(slice(*part.range(index)) for index in indices)
        out[where] = part.arrays.cast(aligned(field_of(body, part), indices), dtype)
    return out.reshape([space.size(axis.size) for axis in axes])


def _carries(tensors: Mapping[str, Any]) -> bool:
    """Whether derivatives are carried along."""
    return any(isinstance(value, Dual) for value in tensors.values())


def const(declared: Const, sizes: Mapping[str, int], tensors: Mapping[str, Any]) -> Any:
    if isinstance(declared.value, Table):
        shape = [Space(Numpy(), {}, sizes, {}).size(axis.size) for axis in declared.axes]
        return np.asarray(declared.value.entries, TYPES[declared.dtype]).reshape(shape)
    if isinstance(declared.value, Constructed):
        return _constructed(declared, declared.value)
    return equation(declared.axes, declared.dtype, declared.value, sizes, tensors)


def _constructed(declared: Const, value: Constructed) -> Any:
    """What the row builds, its axes in the declared order, groups merged."""
    row = constants()[value.constructor]
    built = row.numpy(value.slots, dict(value.arguments))
    order = [value.indices.index(index) for index in indices_of(declared.axes)]
    shape = [axis.size for axis in declared.axes]
    return np.array(built, TYPES[declared.dtype]).transpose(order).reshape(shape)


def scatter(statement: Scatter, sizes: Mapping[str, int], tensors: Mapping[str, Any]) -> Any:
    """Combine all contributions; cells that nothing lands on are 0."""
    if _carries(tensors):
        return _scattered(statement, Space(Duals(), tensors, sizes, {}))
    space = Space(Numpy(), tensors, sizes, {})
    shape = [space.size(axis.size) for axis in statement.axes]
    kind = TYPES[statement.dtype]
    match statement.op:
        case ScatterOp.SUM:
            out = np.zeros(shape, kind)
        case ScatterOp.MAX:
            out = np.full(shape, least(kind), kind)
        case ScatterOp.MIN:
            out = np.full(shape, most(kind), kind)
        case _:
            assert_never(statement.op)
    reached = np.zeros(shape, np.bool_)
    for contribution in statement.contributions:
        subscripts = [i for s in contribution.subscripts for i in subscript_indices(s)]
        indices = union((subscripts, free_indices(contribution.body)))
        computed = [s.value for s in contribution.subscripts if isinstance(s, ComputedAt)]
        for part in chunks(indices, [contribution.body, *computed], space):
            _land(statement, contribution, part, out, reached)
    return np.where(reached, out, np.zeros((), kind))


def _scattered(statement: Scatter, space: Space) -> Any:
    """The same of values that carry derivatives, which ties share over all contributions."""
    shape = [space.size(axis.size) for axis in statement.axes]
    parts = []
    for contribution in statement.contributions:
        cells, values = _landing(statement, contribution, space, shape)
        parts.append((cells, space.arrays.cast(values, statement.dtype)))
    value = Duals().landed(statement.op, shape or (1,), parts)
    return value.reshape(shape)


def _land(
    statement: Scatter, contribution: Contribution, space: Space, out: Any, reached: Any
) -> None:
    """Add one contribution's values of one part of the index space to `out`, in place."""
    cells, values = _landing(statement, contribution, space, out.shape)
    if not out.shape:  # a number is a tensor of one cell
        out, reached = out.reshape(1), reached.reshape(1)
    space.arrays.land(statement.op, out, cells, space.arrays.cast(values, statement.dtype))
    reached[cells] = True


def _landing(
    statement: Scatter, contribution: Contribution, space: Space, shape: Sequence[int]
) -> tuple[tuple[Any, ...], Any]:
    """The values of one contribution that land, in a row, and their cells."""
    inside: Field | None = None
    positions = []
    for axis, subscript in enumerate(contribution.subscripts):
        place = (statement.name, axis, shape[axis])
        position, within = place_of(subscript, place, space, inside)
        positions.append(position)
        inside = both(inside, within)
    indices = union((union(p.indices for p in positions), free_indices(contribution.body)))
    lengths = [space.length(index) for index in indices]
    body = field_of(contribution.body, space, inside)
    values = broadcast(aligned(body, indices), lengths)
    keep = np.broadcast_to(aligned(inside or constant(True), indices), lengths)
    cells = tuple(np.broadcast_to(aligned(p, indices), lengths)[keep] for p in positions)
    if not positions:
        cells = (np.zeros(np.count_nonzero(keep), np.int64),)
    return cells, values[keep]
