"""Pairwise trees for a product of many tensors.

Operands are sets of index numbers. A tree is a tuple of pairs in single-static-assignment
numbering: operands are 0 … n-1, the k-th pair makes n+k, the last pair makes the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tensorlang.order.grid import Point, number
from tensorlang.size import Size

Indices = frozenset[int]
Tree = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Product:
    """A contraction as sets: operands, the result, and how many cells of memory each operand is.

    An operand's memory may be smaller than its index space: a window reads a cell many times.
    """

    operands: tuple[Indices, ...]
    output: Indices


@dataclass(frozen=True, slots=True)
class Pair:
    """One step of a tree: two operands (numbers), their indices, and those of the result."""

    left: int
    right: int
    left_indices: Indices
    right_indices: Indices
    result: Indices


@dataclass(frozen=True, slots=True)
class Problem:
    """A product whose order is to be chosen; sizes by index number.

    Operands that are `kept` cost nothing to multiply with each other: it is done beforehand. Where
    some need a gradient (`grads`) the backward pass counts too.
    """

    product: Product
    sizes: tuple[Size, ...]
    kept: frozenset[int] = frozenset()
    grads: frozenset[int] = frozenset()

    def at(self, point: Point) -> dict[int, int]:
        """The sizes as numbers."""
        return {index: number(size, point) for index, size in enumerate(self.sizes)}


def pairs(product: Product, tree: Tree) -> Iterator[Pair]:
    """The steps of a tree: a result keeps the indices that the output or another operand needs."""
    live: dict[int, Indices] = dict(enumerate(product.operands))
    for step, (left, right) in enumerate(tree):
        a, b = live.pop(left), live.pop(right)
        needed = product.output.union(*live.values())
        result = (a | b) & needed
        yield Pair(left, right, a, b, result)
        live[len(product.operands) + step] = result


@lru_cache(maxsize=8)
def every_tree(count: int) -> tuple[Tree, ...]:
    """Every binary tree over so many operands."""
    out: dict[frozenset[object], Tree] = {}

    def grow(live: tuple[tuple[int, object], ...], tree: Tree) -> None:
        if len(live) == 1:
            out.setdefault(frozenset((live[0][1],)), tree)
            return
        for (i, (left, a)), (j, (right, b)) in itertools.combinations(enumerate(live), 2):
            rest = tuple(entry for k, entry in enumerate(live) if k not in (i, j))
            made = (count + len(tree), frozenset((a, b)))
            grow((*rest, made), (*tree, (left, right)))

    grow(tuple((number, number) for number in range(count)), ())
    return tuple(out.values())


def tree_of(path: Sequence[tuple[int, ...]], count: int) -> Tree:
    """Positions in a shrinking list, as opt_einsum gives them, to numbers that stay."""
    live = list(range(count))
    out: list[tuple[int, int]] = []
    for positions in path:
        taken = sorted((live[position] for position in positions), reverse=True)
        live = [number for number in live if number not in taken]
        made = taken.pop()
        while taken:  # a step over three or more operands becomes a chain
            right = taken.pop()
            out.append((made, right))
            made = count + len(out) - 1
        live.append(made)
    while len(live) > 1:
        out.append((live[0], live[1]))
        live = [*live[2:], count + len(out) - 1]
    return tuple(out)
