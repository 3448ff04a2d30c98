"""Sizes of dynamic dims from the shapes of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorlang.check.program import Input, Program
from tensorlang.requests import BadRequest, BadShape


def bind_shapes(program: Program, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sizes of the dynamic dims when the inputs have these shapes (`...` is any number of axes)."""
    known = {given.name: given for given in program.inputs}
    for name in shapes:
        if name not in known:
            raise BadRequest(f"{program.layer} has no input {name}; it has {', '.join(known)}")
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        for size, found, axis in zip(*_aligned(known[name], shape), strict=True):
            if not isinstance(size, int) and size.is_Symbol:
                if sizes.setdefault(size.name, found) != found:
                    other = sizes[size.name]
                    raise BadShape(f"{name}: axis {axis} has size {found}, another says {other}")
            elif isinstance(size, int) and size != found:
                raise BadShape(f"{name}: axis {axis} has size {found}, the layer has {size}")
    missing = [dim.name for dim in program.dynamic if dim.name not in sizes]
    if missing:
        raise BadShape(f"the given shapes leave {', '.join(missing)} open: give all inputs")
    return sizes


def _aligned(given: Input, shape: Sequence[int]) -> tuple[list[Any], list[int], list[str]]:
    names = [" ".join(index.name for index in axis.indices) for axis in given.axes]
    sizes = [axis.size for axis in given.axes]
    found = list(shape)
    for at, axis in enumerate(given.axes):
        if any(index.ellipsis for index in axis.indices):
            extra = len(found) - len(sizes) + 1
            if extra < 0:
                break
            batch = 1
            for size in found[at : at + extra]:
                batch *= size
            found[at : at + extra] = [batch]
    if len(found) != len(sizes):
        raise BadShape(f"{given.name} has axes [{', '.join(names)}], got shape {tuple(shape)}")
    return sizes, found, names
