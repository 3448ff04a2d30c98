"""The Python border: what the inputs' shapes say about sizes, and axes that `...` stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import sympy

from tensorlang.check.program import Axis, Input, Param, Program
from tensorlang.dtype import Dtype
from tensorlang.reference.arrays import KINDS, TYPES
from tensorlang.reference.dual import Dual, array
from tensorlang.size import Size, evaluate, symbols


@dataclass(frozen=True, slots=True)
class Bound:
    """Sizes of the symbols, inputs with `...` as one axis, the shape that `...` stands for."""

    sizes: dict[str, int]
    inputs: tuple[Any, ...]
    batch: tuple[int, ...]


def has_ellipsis(axes: Sequence[Axis]) -> bool:
    return any(index.ellipsis for axis in axes for index in axis.indices)


def bind(program: Program, inputs: Sequence[Any]) -> Bound:
    """Check the inputs against the layer. Raises ValueError naming index, sizes and inputs."""
    if len(inputs) != len(program.inputs):
        names = ", ".join(declared.name for declared in program.inputs)
        raise ValueError(f"{program.layer} takes {names}; {len(inputs)} inputs given")
    batch: tuple[int, ...] | None = None
    brought = ""
    flat = []
    for declared, given in zip(program.inputs, inputs, strict=True):
        array = _typed(declared, np.asarray(given))
        if has_ellipsis(declared.axes):
            array, shape = _flattened(declared, array)
            if batch is not None and shape != batch:
                raise ValueError(f"... is {batch} in {brought} and {shape} in {declared.name}")
            batch, brought = shape, brought or declared.name
        elif array.ndim != len(declared.axes):
            raise ValueError(_wrong_rank(declared, array))
        flat.append(array)
    sizes = _sizes(program, flat)
    return Bound(sizes, tuple(flat), batch or ())


def passed(program: Program, inputs: Sequence[Any]) -> Bound:
    """The same of what a layer is called with by another: `...` is one axis already."""
    if not any(isinstance(value, Dual) for value in inputs):
        return bind(program, inputs)
    bound = bind(program, [array(value) for value in inputs])
    kept = [
        value if isinstance(value, Dual) else plain
        for value, plain in zip(inputs, bound.inputs, strict=True)
    ]
    return Bound(bound.sizes, tuple(kept), bound.batch)


def unflattened(axes: Sequence[Axis], array: Any, batch: tuple[int, ...]) -> Any:
    """The array with the axes that `...` stands for."""
    shape: list[int] = []
    for axis, length in zip(axes, array.shape, strict=True):
        shape.extend(batch if has_ellipsis((axis,)) else (length,))
    return array.reshape(shape)


def params(program: Program, given: Mapping[str, Any]) -> dict[str, Any]:
    """This layer's own params as arrays, their shapes checked."""
    return {param.name: _param(param, given) for param in program.params}


def _param(param: Param, given: Mapping[str, Any]) -> Any:
    if param.name not in given:
        raise ValueError(f"param {param.name} is missing")
    array = np.asarray(given[param.name]).astype(TYPES[param.dtype])
    if param.initialiser.name == "given" and np.isnan(array).all():
        raise ValueError(f"param {param.name} is ~ given and has no values yet")
    shape = tuple(evaluate(axis.size, {}) for axis in param.axes)
    if array.shape != shape:
        raise ValueError(f"param {param.name} has shape {shape}, given {array.shape}")
    return array


def _typed(declared: Input, array: Any) -> Any:
    kind = KINDS.get(array.dtype.kind)
    fits = kind is not None and (
        kind is declared.dtype if declared.dtype < Dtype.REAL else kind <= declared.dtype
    )
    if not fits:
        raise ValueError(
            f"input {declared.name} is {declared.dtype.name.lower()}, given {array.dtype}"
        )
    return array.astype(TYPES[declared.dtype])


def _flattened(declared: Input, array: Any) -> tuple[Any, tuple[int, ...]]:
    at = next(k for k, axis in enumerate(declared.axes) if has_ellipsis((axis,)))
    assert len(declared.axes[at].indices) == 1, declared
    after = len(declared.axes) - at - 1
    if array.ndim < at + after:
        raise ValueError(_wrong_rank(declared, array))
    shape = array.shape[at : array.ndim - after]
    merged = (*array.shape[:at], prod(shape), *array.shape[array.ndim - after :])
    return array.reshape(merged), shape


def _wrong_rank(declared: Input, array: Any) -> str:
    names = ", ".join(axis_name(axis) for axis in declared.axes)
    return f"input {declared.name} has axes [{names}], given an array of shape {array.shape}"


def axis_name(axis: Axis) -> str:
    names = " ".join(index.name for index in axis.indices)
    return f"({names})" if len(axis.indices) != 1 else names


def _sizes(program: Program, arrays: Sequence[Any]) -> dict[str, int]:
    """Sizes of the dynamic dims, from the first axis that shows each; all others are checked."""
    sizes: dict[str, int] = {}
    source: dict[str, str] = {}
    axes = [
        (declared.name, axis, length)
        for declared, array in zip(program.inputs, arrays, strict=True)
        for axis, length in zip(declared.axes, array.shape, strict=True)
    ]
    progress = True
    while progress:  # a group can wait for a factor that a later input brings
        progress = False
        for name, axis, length in axes:
            for symbol, value in _solved(name, axis, length, sizes):
                sizes[symbol], source[symbol], progress = value, name, True
    for name, axis, length in axes:
        expected = evaluate(axis.size, sizes)
        if length != expected:
            said = _said_by(axis, source)
            raise ValueError(
                f"index {axis_name(axis)} has size {expected}{said} and size {length} in {name}"
            )
    for dim in program.dims:
        if not isinstance(dim.size, int | sympy.Symbol) and set(symbols(dim.size)) <= set(sizes):
            _check_computed(dim.name, dim.size, sizes)
    return sizes


def _solved(name: str, axis: Axis, length: int, sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """The one unknown size of an axis, by division."""
    unknown = [i.dim.size for i in axis.indices if set(symbols(i.dim.size)) - set(sizes)]
    if len(unknown) != 1 or not isinstance(unknown[0], sympy.Symbol):
        return []
    known = [i.dim.size for i in axis.indices if i.dim.size is not unknown[0]]
    rest = prod(evaluate(size, sizes) for size in known)
    if rest == 0 or length % rest:
        raise ValueError(
            f"axis {axis_name(axis)} of {name} has size {length}, not a multiple of {rest}"
        )
    return [(unknown[0].name, length // rest)]


def _said_by(axis: Axis, source: Mapping[str, str]) -> str:
    names = dict.fromkeys(source[s] for s in symbols(axis.size))
    return f" in {', '.join(names)}" if names else ""


def _check_computed(name: str, size: Size, sizes: Mapping[str, int]) -> None:
    value = evaluate(size, sizes)
    if value < 1:
        given = ", ".join(f"{s} = {sizes[s]}" for s in symbols(size))
        raise ValueError(f"dim {name} = {size} is {value} for {given}: it must be at least 1")
