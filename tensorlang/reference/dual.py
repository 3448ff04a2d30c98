"""Dual numbers: a value and its derivatives in many directions at once, of any order by nesting.

The tangent has one more axis than the primal, in front: the directions. Both may be duals of a
lower level themselves; an operation goes by the highest level among its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """Has the shape of its primal; what reads cells or moves axes acts on both parts."""

    level: int
    primal: Any
    tangent: Any

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.primal.shape
        return shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> Any:
        return self.primal.dtype

    @property
    def directions(self) -> int:
        count: int = self.tangent.shape[0]
        return count

    def __getitem__(self, cells: Any) -> Dual:
        """Cells by a key that begins with an ellipsis, or by one for each axis."""
        key = cells if isinstance(cells, tuple) else (cells,)
        key = key if key and key[0] is Ellipsis else (Ellipsis, *key)
        return Dual(self.level, self.primal[key], self.tangent[key])

    def transpose(self, order: Sequence[int]) -> Dual:
        moved = (0, *(axis + 1 for axis in order))
        return Dual(self.level, self.primal.transpose(order), self.tangent.transpose(moved))

    def reshape(self, shape: Sequence[int]) -> Dual:
        below = (self.directions, *shape)
        return Dual(self.level, self.primal.reshape(shape), self.tangent.reshape(below))


def level(value: Any) -> int:
    """0 of an array."""
    return value.level if isinstance(value, Dual) else 0


def primal(value: Any, at: int) -> Any:
    """The value without its tangent of this level."""
    return value.primal if level(value) == at else value


def tangent(value: Any, at: int) -> Any | None:
    """The tangent of this level, None where it is 0 in all directions."""
    return value.tangent if level(value) == at else None


def array(value: Any) -> Any:
    """The value without any tangent."""
    while isinstance(value, Dual):
        value = value.primal
    return value


def broadcast(value: Any, shape: Sequence[int]) -> Any:
    if not isinstance(value, Dual):
        return np.broadcast_to(value, tuple(shape))
    value = value.reshape((*(1,) * (len(shape) - value.ndim), *value.shape))
    below = (value.directions, *shape)
    return Dual(value.level, broadcast(value.primal, shape), broadcast(value.tangent, below))


def joined(values: Sequence[Any], axis: int) -> Any:
    """Laid end to end along an axis, counted from the last; all other sizes agree."""
    top = max(map(level, values))
    if not top:
        return np.concatenate(values, axis)
    parts = joined([primal(value, top) for value in values], axis)
    count = next(value.directions for value in values if level(value) == top)
    below = [along(value, top, count) for value in values]
    return Dual(top, parts, joined(below, axis))


def along(value: Any, at: int, directions: int) -> Any:
    """The tangent of a level with all its directions, zeros where there is none."""
    found = tangent(value, at)
    shape = (directions, *value.shape)
    return np.zeros(shape, value.dtype) if found is None else broadcast(found, shape)


def raised(value: Any) -> Any:
    """With an axis of size 1 in front, where a tangent has its directions."""
    return value.reshape((1, *value.shape))


def of_one_rank(values: Sequence[Any]) -> list[Any]:
    """With axes of size 1 in front of those that have fewer."""
    rank = max(value.ndim for value in values)
    return [value.reshape((*(1,) * (rank - value.ndim), *value.shape)) for value in values]


def scaled(slope: Any, by: Any) -> Any:
    """slope * by, 0 where `by` is 0: an infinite slope along no direction is no change."""
    slope, by = of_one_rank((slope, by))
    top = max(level(slope), level(by))
    if not top:
        zero = np.zeros((), np.result_type(slope, by))
        return np.where(by == 0, zero, slope * np.where(by == 0, 1, by))
    value = scaled(primal(slope, top), primal(by, top))
    parts = []
    if (moved := tangent(slope, top)) is not None:
        parts.append(scaled(moved, raised(primal(by, top))))
    if (moved := tangent(by, top)) is not None:
        parts.append(scaled(raised(primal(slope, top)), moved))
    return Dual(top, value, broadcast(total(parts), (parts[0].shape[0], *value.shape)))


def total(values: Sequence[Any]) -> Any:
    """The sum of values of one rank."""
    top = max(map(level, values))
    if not top:
        return sum(values[1:], values[0])
    value = total([primal(v, top) for v in values])
    moved = [v.tangent for v in values if level(v) == top]
    return Dual(top, value, broadcast(total(moved), (moved[0].shape[0], *value.shape)))
