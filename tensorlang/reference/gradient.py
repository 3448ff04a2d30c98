"""`grad`: what lies between the two tensors is run on dual numbers, a direction a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorlang.check.dependence import between
from tensorlang.check.program import Gradient, ReduceOp, Statement
from tensorlang.reference.chunks import CELLS
from tensorlang.reference.dual import Dual, array, joined, level, tangent
from tensorlang.reference.dual_arrays import Duals
from tensorlang.reference.slopes import call

Run = Callable[[Statement, Mapping[str, Any]], dict[str, Any]]


def gradient(
    statement: Gradient, body: Sequence[Statement], tensors: Mapping[str, Any], run: Run
) -> Any:
    """The derivative of the sum of a tensor's cells by all cells of another."""
    by = tensors[statement.by]
    path = between(body, statement.by, statement.value)
    directions = _directions(by)
    most = max(1, CELLS // _weight(tensors))
    parts = []
    for start in range(0, max(len(directions), 1), most):
        seeds = directions[start : start + most]
        parts.append(_along(statement.value, path, {**tensors}, statement.by, seeds, run))
    slopes = joined(parts, -1)
    if by.dtype.kind == "c":
        half = by.size
        slopes = call(Duals(), "complex", slopes[..., :half], slopes[..., half:])
    return slopes.reshape(by.shape)


def _along(
    value: str, path: Sequence[Statement], tensors: dict[str, Any], by: str, seeds: Any, run: Run
) -> Any:
    """The derivatives of a tensor's sum along some directions."""
    at = 1 + max(map(level, tensors.values()))
    tensors[by] = Dual(at, tensors[by], seeds)
    for statement in path:
        tensors |= run(statement, tensors)
    moved = tangent(tensors[value], at)
    if moved is None:
        return np.zeros(len(seeds))
    cells = moved.reshape((len(seeds), moved.size // max(len(seeds), 1)))
    return Duals().reduce(ReduceOp.SUM, cells, np.ones((), np.bool_))


def _directions(by: Any) -> Any:
    """Each cell by itself; of complex cells the imaginary parts after the real ones."""
    unit = np.eye(by.size, dtype=array(by).dtype)
    if by.dtype.kind == "c":
        unit = np.concatenate((unit, 1j * unit))
    return unit.reshape((len(unit), *by.shape))


def _weight(tensors: Mapping[str, Any]) -> int:
    """How many cells the largest tensor has, with all directions that it carries."""
    most = 1
    for value in tensors.values():
        cells = int(np.prod(value.shape))
        while isinstance(value, Dual):
            cells *= max(value.directions, 1)
            value = value.primal
        most = max(most, cells)
    return most
