"""The value of an expression as a field over its free indices, by broadcasting.

A mask travels down: cells outside it contribute nothing, so what they hold does not matter and a
gather in them is not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np

from tensorlang import registry
from tensorlang.check.program import (
    Affine,
    AffineAt,
    Along,
    Apply,
    At,
    Boundary,
    ComputedAt,
    Expr,
    Group,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    SizeValue,
    Subscript,
    Transform,
    TransformOp,
    subscript_indices,
)
from tensorlang.check.subexpressions import parts
from tensorlang.reference.arrays import TYPES, Arrays
from tensorlang.reference.boundary import Place, bring_inside
from tensorlang.reference.dual import broadcast
from tensorlang.reference.field import (
    Field,
    aligned,
    both,
    constant,
    inverse,
    meet,
    somewhere,
    union,
)
from tensorlang.size import Size, evaluate


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Where an expression is evaluated: tensors by name, sizes of symbols, part of the index space.

    `ranges` narrows an index to start..stop; indices that are not in it run over their whole dim.
    """

    arrays: Arrays
    tensors: Mapping[str, Any]
    sizes: Mapping[str, int]
    ranges: Mapping[Index, tuple[int, int]]

    def size(self, size: Size) -> int:
        return evaluate(size, self.sizes)

    def range(self, index: Index) -> tuple[int, int]:
        return self.ranges.get(index) or (0, self.size(index.dim.size))

    def length(self, index: Index) -> int:
        start, stop = self.range(index)
        return stop - start

    def narrowed(self, ranges: Mapping[Index, tuple[int, int]]) -> Space:
        return replace(self, ranges={**self.ranges, **ranges})


def field_of(expr: Expr, space: Space, mask: Field | None = None) -> Field:
    """Evaluate an expression; cells outside the mask may hold anything."""
    match expr:
        case Literal(value, dtype):
            return constant(np.asarray(value, TYPES[dtype]))
        case SizeValue(size):
            return constant(np.int64(space.size(size)))
        case IndexValue(index):
            return Field((index,), np.arange(*space.range(index), dtype=np.int64))
        case Apply():
            return _apply(expr, space, mask)
        case Read():
            return _read(expr, space, mask)
        case Reduce():
            return _reduce(expr, space, mask)
        case Along():
            return _along(expr, space, mask)
        case Transform():
            return _transform(expr, space, mask)
        case _:
            assert_never(expr)


def _apply(expr: Apply, space: Space, mask: Field | None) -> Field:
    indices, args = meet(_arguments(expr, space, mask))
    return Field(indices, space.arrays.apply(registry.functions()[expr.function], args))


def _arguments(expr: Apply, space: Space, mask: Field | None) -> list[Field]:
    """Arguments, each under the mask of the cells that need it: `if`, `and`, `or` skip cells."""
    if expr.function == "where":
        condition, then, otherwise = expr.args
        chosen = field_of(condition, space, mask)
        yes, no = both(mask, chosen), both(mask, inverse(chosen))
        return [chosen, field_of(then, space, yes), field_of(otherwise, space, no)]
    args = []
    for arg in expr.args:
        args.append(field_of(arg, space, mask))
        if expr.function in ("and", "or"):
            mask = both(mask, args[-1] if expr.function == "and" else inverse(args[-1]))
    return args


def _read(expr: Read, space: Space, mask: Field | None) -> Field:
    tensor = space.tensors[expr.tensor]
    if (plain := _slice(expr, tensor, space)) is not None:
        return plain
    inside: Field | None = None
    positions = []
    order = sorted(range(len(expr.subscripts)), key=lambda k: _is_checked(expr.subscripts[k]))
    for axis in order:  # what is checked comes last: a cell that reads `otherwise` is not
        active = both(mask, inside)
        position, within = place_of(
            expr.subscripts[axis], (expr.tensor, axis, tensor.shape[axis]), space, active
        )
        inside = both(inside, within)
        positions.append((axis, position))
    indices, found = meet([position for _, position in sorted(positions, key=lambda item: item[0])])
    if tensor.size == 0:  # every cell is masked, or its value is `otherwise`
        shape = np.broadcast_shapes(*(p.shape for p in found))
        values = space.arrays.cast(np.zeros(shape), expr.dtype)
    else:
        values = space.arrays.gather(tensor, tuple(found))
    if inside is None:
        return Field(indices, values)
    assert expr.otherwise is not None, expr
    otherwise = np.asarray(expr.otherwise.value, TYPES[expr.dtype])
    return Field(indices, space.arrays.select(aligned(inside, indices), values, otherwise))


def _slice(expr: Read, tensor: Any, space: Space) -> Field | None:
    """The read as a slice, where every subscript is an index of its own."""
    indices = tuple(s.index for s in expr.subscripts if isinstance(s, At))
    if len(set(indices)) < len(expr.subscripts):
        return None
    ranges = tuple(slice(*space.range(index)) for index in indices)
    return Field(indices, space.arrays.gather(tensor, ranges))


def _is_checked(subscript: Subscript) -> bool:
    return isinstance(subscript, ComputedAt) and subscript.boundary is Boundary.CHECKED


def place_of(
    subscript: Subscript, axis: tuple[str, int, int], space: Space, mask: Field | None
) -> tuple[Field, Field | None]:
    """Positions on an axis (tensor, number, size), and for ELSE the mask of those inside."""
    tensor, number, size = axis
    via: tuple[str, ...] = ()
    match subscript:
        case At(index):
            return field_of(IndexValue(index), space), None
        case Group(indices):
            terms, stride = [], 1
            for index in reversed(indices):
                terms.append((index, stride))
                stride *= space.size(index.dim.size)
            return _affine(Affine(tuple(terms), 0), space), None
        case AffineAt(affine, boundary):
            position = _affine(affine, space)
        case ComputedAt(value, boundary):
            position = field_of(value, space, mask)
            via = tensors_of(value)
        case _:
            assert_never(subscript)
    names = tuple(index.name for index in subscript_indices(subscript))
    return bring_inside(position, boundary, Place(tensor, number, names, size, via), mask)


def _affine(affine: Affine, space: Space) -> Field:
    terms = [
        Field((index,), coefficient * np.arange(*space.range(index), dtype=np.int64))
        for index, coefficient in affine.terms
    ]
    indices, values = meet([constant(np.int64(space.size(affine.offset))), *terms])
    return Field(indices, sum(values[1:], values[0]))


def tensors_of(expr: Expr) -> tuple[str, ...]:
    """Names of the tensors that an expression reads, in order."""
    return tuple(dict.fromkeys(part.tensor for part in parts(expr) if isinstance(part, Read)))


def _masked(expr: Reduce | Along, space: Space, mask: Field | None) -> tuple[Field, Field]:
    """Body and condition of an operator; its own indices are full in both."""
    inner = somewhere(mask, expr.indices)
    where = constant(True)
    if expr.where is not None:
        where = field_of(expr.where, space, inner)
        inner = both(inner, where)
    return field_of(expr.body, space, inner), where


def _acted(
    expr: Reduce | Along, space: Space, mask: Field | None
) -> tuple[tuple[Index, ...], Any, Any]:
    """Outer indices; body and condition with the operator's indices merged into one last axis."""
    body, where = _masked(expr, space, mask)
    outer = tuple(i for i in union((body.indices, where.indices)) if i not in expr.indices)
    lengths = [space.length(index) for index in expr.indices]
    values = []
    for field in (body, where):
        value = aligned(field, (*outer, *expr.indices))
        value = broadcast(value, (*value.shape[: len(outer)], *lengths))
        values.append(value.reshape((*value.shape[: len(outer)], int(np.prod(lengths)))))
    shape = np.broadcast_shapes(*(value.shape for value in values))
    return outer, *(broadcast(value, shape) for value in values)


def _reduce(expr: Reduce, space: Space, mask: Field | None) -> Field:
    outer, body, where = _acted(expr, space, mask)
    return Field(outer, space.arrays.reduce(expr.op, body, where))


def _along(expr: Along, space: Space, mask: Field | None) -> Field:
    outer, body, where = _acted(expr, space, mask)
    value = space.arrays.along(expr.op, body, where)
    lengths = [space.length(index) for index in expr.indices]
    return Field((*outer, *expr.indices), value.reshape((*value.shape[:-1], *lengths)))


def _transform(expr: Transform, space: Space, mask: Field | None) -> Field:
    inner = somewhere(mask, expr.target)
    args = [field_of(arg, space, inner) for arg in expr.args]
    bound = [_sources(expr, k) for k in range(len(args))]
    batch = tuple(i for i in union(arg.indices for arg in args) if i not in expr.source)
    values = [_full(arg, (*batch, *own), own, space) for arg, own in zip(args, bound, strict=True)]
    shape = np.broadcast_shapes(*(value.shape[: len(batch)] for value in values))
    values = [broadcast(v, shape + v.shape[len(batch) :]) for v in values]
    row = registry.transforms()[expr.op.value]
    sizes = tuple(space.size(index.dim.size) for index in expr.target)
    return Field((*batch, *expr.target), space.arrays.transform(row, values, sizes, expr.norm))


def _sources(expr: Transform, argument: int) -> tuple[Index, ...]:
    """Source indices of one argument, in order."""
    match expr.op:
        case TransformOp.CONCAT:
            return (expr.source[argument],)
        case TransformOp.SOLVE if argument == 1:
            return (expr.source[0],)
        case _:
            return expr.source


def _full(field: Field, indices: tuple[Index, ...], own: Iterable[Index], space: Space) -> Any:
    """Aligned values that really have the length of their own indices."""
    value = aligned(field, indices)
    shape = [
        space.length(index) if index in own else length
        for index, length in zip(indices, value.shape, strict=True)
    ]
    return broadcast(value, shape)
