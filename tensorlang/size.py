"""Sizes of axes: ints, or sympy expressions in the sizes that only a call knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import sympy

Size: TypeAlias = int | sympy.Expr


def dynamic(name: str) -> sympy.Symbol:
    """Size of a dim that an input brings: 0 is allowed."""
    return sympy.Symbol(name, integer=True, nonnegative=True)


def unbound(name: str) -> sympy.Symbol:
    """Value of a hyperparameter while a layer is checked before it is bound."""
    return sympy.Symbol(name, integer=True, positive=True)


def expression(number: int | float | sympy.Expr) -> sympy.Expr:
    """The number for sympy, never from text: sympy evaluates what a string says."""
    return sympy.sympify(number, strict=True)


def simplest(size: Size) -> Size:
    """An int where the expression is one."""
    if isinstance(size, int):
        return size
    size = sympy.expand(size)
    return int(size) if size.is_Integer else size


def product(sizes: Iterable[Size]) -> Size:
    out: Size = 1
    for size in sizes:
        out = out * size
    return simplest(out)


def same(a: Size, b: Size) -> bool:
    """Provably equal for all values of the symbols."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return a == b or simplest(a - b) == 0


def symbols(size: Size) -> tuple[str, ...]:
    """Names of the symbols in a size, sorted."""
    if isinstance(size, int):
        return ()
    return tuple(sorted(symbol.name for symbol in size.free_symbols))


def evaluate(size: Size, sizes: Mapping[str, int]) -> int:
    """The size when the dynamic dims have these sizes."""
    if isinstance(size, int):
        return size
    value = size.subs({symbol: sizes[symbol.name] for symbol in size.free_symbols})
    assert value.is_Integer, (size, dict(sizes))
    return int(value)
