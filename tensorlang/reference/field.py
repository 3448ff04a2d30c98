"""Scalar fields: an array with one axis per free index, aligned by index when fields meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorlang.check.program import Index


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Values over `indices`, in that order; an axis of size 1 stands for all positions."""

    indices: tuple[Index, ...]
    values: Any


def constant(value: Any) -> Field:
    return Field((), np.asarray(value))


def union(groups: Iterable[Iterable[Index]]) -> tuple[Index, ...]:
    """Indices in order of first mention."""
    return tuple(dict.fromkeys(index for group in groups for index in group))


def aligned(field: Field, indices: Sequence[Index]) -> Any:
    """Values with one axis for each of `indices`, of size 1 where the field lacks it."""
    assert set(field.indices) <= set(indices), (field.indices, indices)
    order = [field.indices.index(index) for index in indices if index in field.indices]
    shape = iter([field.values.shape[k] for k in order])
    values = field.values.transpose(order) if order != sorted(order) else field.values
    return values.reshape([next(shape) if index in field.indices else 1 for index in indices])


def meet(fields: Sequence[Field]) -> tuple[tuple[Index, ...], list[Any]]:
    """The union of the fields' indices and all values aligned to it."""
    indices = union(field.indices for field in fields)
    return indices, [aligned(field, indices) for field in fields]


def both(a: Field | None, b: Field | None) -> Field | None:
    """Cells that are in two masks; None is the mask of all cells."""
    if a is None or b is None:
        return b if a is None else a
    indices, (left, right) = meet((a, b))
    return Field(indices, left & right)


def inverse(mask: Field) -> Field:
    return Field(mask.indices, ~mask.values)


def somewhere(mask: Field | None, indices: Iterable[Index]) -> Field | None:
    """Project out `indices`: true where the mask holds for some position of them."""
    if mask is None:
        return None
    gone = set(indices)
    axes = tuple(k for k, index in enumerate(mask.indices) if index in gone)
    return Field(tuple(i for i in mask.indices if i not in gone), mask.values.any(axes))
