"""Sizes at which plans are compared: a logarithmic grid over the ranges of dynamic sizes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import lru_cache

import sympy

from tensorlang.options import Options
from tensorlang.size import Size, symbols

LEAST, MOST = 1, 65536
_MOST_POINTS = 300
_STEPS = (9, 9, 6, 4, 3)  # points per symbol when there are 0, 1, 2, … symbols

Point = Mapping[str, int]


def grid(names: Iterable[str], options: Options) -> list[Point]:
    """All combinations of a few sizes per name; beyond five names only some move together."""
    names = sorted(set(names))
    steps = _STEPS[len(names)] if len(names) < len(_STEPS) else 2
    axes = [ladder(name, options, steps) for name in names]
    while _count(axes) > _MOST_POINTS:
        widest = max(range(len(axes)), key=lambda k: len(axes[k]))
        axes[widest] = [axes[widest][len(axes[widest]) // 2]]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*axes)]


def middle(names: Iterable[str], options: Options) -> Point:
    """The geometric middle of every range."""
    return {name: ladder(name, options, 3)[1] for name in sorted(set(names))}


def ladder(name: str, options: Options, steps: int) -> list[int]:
    """Sizes of a name from the least to the most, evenly on a logarithmic scale."""
    return _ladder(*_range(name, options), steps)


def _range(name: str, options: Options) -> tuple[int, int]:
    for other, least, most in options.ranges:
        if other == name:
            return max(1, least), max(1, least, most)
    return LEAST, MOST


def _ladder(least: int, most: int, steps: int) -> list[int]:
    if steps == 1 or least == most:
        return [least] * steps if steps > 1 else [least]
    ratio = (most / least) ** (1 / (steps - 1))
    return [round(least * ratio**k) for k in range(steps)]


def _count(axes: list[list[int]]) -> int:
    out = 1
    for axis in axes:
        out *= len(axis)
    return out


def number(size: Size, point: Point) -> int:
    """The size at a point, at least 1; a name that the point lacks counts as 256."""
    if isinstance(size, int):
        return max(1, size)
    names = symbols(size)
    return _number(size, tuple(point.get(name, 256) for name in names))


@lru_cache(maxsize=65536)
def _number(size: sympy.Expr, values: tuple[int, ...]) -> int:
    if size.is_Symbol:
        return max(1, values[0])
    pairs = zip(symbols(size), values, strict=True)
    by_name = {symbol.name: symbol for symbol in size.free_symbols}
    return max(1, int(size.subs({by_name[name]: value for name, value in pairs})))
