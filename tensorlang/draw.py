"""Random inputs and parameters that a program accepts: for `run`, `verify` and tests.

Integer inputs that are used as subscripts are drawn within the axes that they index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorlang.check.program import (
    Along,
    Apply,
    Axis,
    ComputedAt,
    Equation,
    Expr,
    Gradient,
    Program,
    Read,
    Reduce,
    Scatter,
    SubCall,
    Subscript,
    Transform,
)
from tensorlang.dtype import Dtype
from tensorlang.size import Size, evaluate

Array = npt.NDArray[Any]
Sizes = Mapping[str, int]


def draw_sizes(program: Program, generator: np.random.Generator, most: int = 7) -> dict[str, int]:
    """Sizes of the dynamic dims for which every computed dim is at least 1.

    Raises ValueError where a thousand draws find none.
    """
    for attempt in range(1000):
        limit = most + attempt // 20
        sizes = {dim.name: int(generator.integers(1, limit + 1)) for dim in program.dynamic}
        if all(evaluate(dim.size, sizes) >= 1 for dim in program.dims):
            return sizes
    raise ValueError(f"no small sizes suit layer {program.layer}: give the shapes of its inputs")


def draw_inputs(
    program: Program, sizes: Sizes, generator: np.random.Generator
) -> tuple[Array, ...]:
    """One array for each input, its `...` as one axis."""
    bounds = subscript_bounds(program)
    out = []
    for given in program.inputs:
        shape = tuple(evaluate(axis.size, sizes) for axis in given.axes)
        below = [evaluate(size, sizes) for size in bounds.get(given.name, ())]
        out.append(_draw(given.dtype, shape, min(below, default=5), generator))
    return tuple(out)


def draw_params(program: Program, generator: np.random.Generator) -> dict[str, Array]:
    """Values for every key of the layer's state_dict."""
    return {
        key: _draw(dtype, tuple(int(axis.size) for axis in axes), 2, generator) * 0.5
        for key, axes, dtype in parameters(program)
    }


def parameters(program: Program, prefix: str = "") -> Iterator[tuple[str, tuple[Axis, ...], Dtype]]:
    """Key, axes and dtype of every parameter, those of sub-layers included."""
    for param in program.params:
        yield prefix + param.name, param.axes, param.dtype
    for sub in program.subs:
        for stage in [""] if sub.count is None else [f"{k}." for k in range(sub.count)]:
            yield from parameters(sub.program, f"{prefix}{sub.name}.{stage}")


def _draw(dtype: Dtype, shape: tuple[int, ...], below: int, rng: np.random.Generator) -> Array:
    match dtype:
        case Dtype.BOOL:
            return rng.random(shape) < 0.6
        case Dtype.INT:
            return rng.integers(0, max(below, 1), shape)
        case Dtype.REAL:
            return rng.standard_normal(shape)
        case Dtype.COMPLEX:
            return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


# --- where integer inputs are used as subscripts -------------------------------------------------
def subscript_bounds(program: Program) -> dict[str, list[Size]]:
    """For each input that is a subscript somewhere: the sizes of the axes that it indexes."""
    axes: dict[str, tuple[Axis, ...]] = {}
    axes.update((given.name, given.axes) for given in program.inputs)
    axes.update((param.name, param.axes) for param in program.params)
    axes.update((const.name, const.axes) for const in program.consts)
    found: dict[str, list[Size]] = {given.name: [] for given in program.inputs}
    for statement in program.body:
        match statement:
            case Equation():
                axes[statement.name] = statement.axes
                _in_expr(statement.body, axes, found)
            case Scatter():
                axes[statement.name] = statement.axes
                for contribution in statement.contributions:
                    _in_expr(contribution.body, axes, found)
                    _in_subscripts(contribution.subscripts, statement.axes, axes, found)
            case Gradient():
                axes[statement.name] = statement.axes
            case SubCall():
                axes.update((output.name, output.axes) for output in statement.outputs)
                _in_call(statement, axes, found)
    return {name: sizes for name, sizes in found.items() if sizes}


def _in_call(
    call: SubCall, axes: Mapping[str, tuple[Axis, ...]], found: dict[str, list[Size]]
) -> None:
    own = {
        symbol: actual.size
        for given, name in zip(call.program.inputs, call.inputs, strict=True)
        for axis, actual in zip(given.axes, axes[name], strict=True)
        if not isinstance(axis.size, int) and axis.size.is_Symbol
        for symbol in [axis.size]
    }
    inner = subscript_bounds(call.program)
    for given, name in zip(call.program.inputs, call.inputs, strict=True):
        if name in found and given.name in inner:
            found[name] += [s if isinstance(s, int) else s.subs(own) for s in inner[given.name]]


def _in_expr(
    expr: Expr, axes: Mapping[str, tuple[Axis, ...]], found: dict[str, list[Size]]
) -> None:
    match expr:
        case Apply() | Transform():
            for arg in expr.args:
                _in_expr(arg, axes, found)
        case Reduce() | Along():
            _in_expr(expr.body, axes, found)
            if expr.where is not None:
                _in_expr(expr.where, axes, found)
        case Read():
            _in_subscripts(expr.subscripts, axes[expr.tensor], axes, found)
        case _:
            pass


def _in_subscripts(
    subscripts: tuple[Subscript, ...],
    target: tuple[Axis, ...],
    axes: Mapping[str, tuple[Axis, ...]],
    found: dict[str, list[Size]],
) -> None:
    for subscript, axis in zip(subscripts, target, strict=True):
        if isinstance(subscript, ComputedAt):
            if isinstance(subscript.value, Read) and subscript.value.tensor in found:
                found[subscript.value.tensor].append(axis.size)
            _in_expr(subscript.value, axes, found)
