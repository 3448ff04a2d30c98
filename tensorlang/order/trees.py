"""Pairwise trees for a product of many tensors: opt_einsum proposes, our own cost decides.

Operands are sets of index numbers. A tree is a tuple of pairs in single-static-assignment
numbering: operands are 0 … n-1, the k-th pair makes n+k, the last pair makes the result.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from opt_einsum.path_random import random_greedy_128
from opt_einsum.paths import DynamicProgramming, greedy

from tensorlang.options import Options
from tensorlang.order.grid import Point, number
from tensorlang.order.profile import PROFILES, Profile
from tensorlang.size import Size

Indices = frozenset[int]
Tree = tuple[tuple[int, int], ...]
_ITEM = 4.0
_MOST_ALL = 4  # operands whose trees are all priced
_MOST_DP_ALONE = 6  # … for which dynamic programming leaves random search nothing to find
_MOST_DP = 8
_COMBOS = ("flops", "size", "combo-16", "combo-64", "combo-256")


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
    """A product whose order is to be chosen; sizes by index number."""

    product: Product
    sizes: tuple[Size, ...]

    def at(self, point: Point) -> dict[int, int]:
        """The sizes as numbers."""
        return {index: number(size, point) for index, size in enumerate(self.sizes)}


def candidates(product: Product, sizes: Mapping[int, int], thorough: bool = True) -> list[Tree]:
    """Trees worth pricing at these sizes, each once, in a fixed order.

    Without `thorough` no random search: enough to tell whether a rewrite pays.
    """
    count = len(product.operands)
    if count <= 2:
        return [((0, 1),)] if count == 2 else [()]
    if count <= _MOST_ALL:
        return list(_all(count))
    found: dict[Tree, None] = {}
    for path in _paths(product, dict(sizes), thorough):
        tree = _tree(path, count)
        if tree is not None:
            found[tree] = None
    assert found, product
    return list(found)


def best(
    product: Product, sizes: Mapping[int, int], profile: Profile, thorough: bool = True
) -> tuple[Tree, float]:
    """The cheapest candidate at these sizes and its seconds."""
    trees = candidates(product, sizes, thorough)
    priced = [(price(product, tree, sizes, profile), tree) for tree in trees]
    seconds, tree = min(priced, key=lambda entry: entry[0])
    return tree, seconds


def pairs(product: Product, tree: Tree) -> Iterator[Pair]:
    """The steps of a tree: a result keeps the indices that the output or another operand needs."""
    live: dict[int, Indices] = dict(enumerate(product.operands))
    for step, (left, right) in enumerate(tree):
        a, b = live.pop(left), live.pop(right)
        needed = product.output.union(*live.values())
        result = (a | b) & needed
        yield Pair(left, right, a, b, result)
        live[len(product.operands) + step] = result


def best_seconds(problem: Problem, point: Point, options: Options) -> float:
    """Seconds of the best tree at a point, by a quick search."""
    return _best(problem.product, tuple(problem.at(point).values()), options.profile)


@lru_cache(maxsize=16384)
def _best(product: Product, sizes: tuple[int, ...], profile: str) -> float:
    return best(product, dict(enumerate(sizes)), PROFILES[profile], thorough=False)[1]


def price(product: Product, tree: Tree, sizes: Mapping[int, int], profile: Profile) -> float:
    """Seconds of a tree at these sizes; of a pass over it where there is but one operand."""
    if len(product.operands) < 2:
        moved = volume(product.output, sizes) + sum(volume(a, sizes) for a in product.operands)
        return profile.stream(_ITEM * moved)
    return sum(pair_price(pair, sizes, profile) for pair in pairs(product, tree))


def pair_price(pair: Pair, sizes: Mapping[int, int], profile: Profile) -> float:
    """Seconds of one step: a GEMM where indices are summed, else a broadcast product."""
    a, b, out = pair.left_indices, pair.right_indices, pair.result
    own_a = volume((a - b) - out, sizes)  # summed on one side alone, before the product
    own_b = volume((b - a) - out, sizes)
    seconds = 0.0
    size_a, size_b = volume(a, sizes), volume(b, sizes)
    if own_a > 1:
        seconds += profile.stream(_ITEM * size_a)
        size_a /= own_a
    if own_b > 1:
        seconds += profile.stream(_ITEM * size_b)
        size_b /= own_b
    moved = _ITEM * (size_a + size_b + volume(out, sizes))
    k = volume((a & b) - out, sizes)
    if k == 1:
        return seconds + profile.stream(moved)
    batch = volume(a & b & out, sizes)
    m, n = volume((a - b) & out, sizes), volume((b - a) & out, sizes)
    return seconds + profile.gemm(batch, m, n, k, moved)


def largest(product: Product, tree: Tree, sizes: Mapping[int, int]) -> float:
    """Bytes of the largest intermediate, the result not counted."""
    made = [_ITEM * volume(pair.result, sizes) for pair in pairs(product, tree)]
    return max(made[:-1], default=0.0)


def volume(indices: Indices, sizes: Mapping[int, int]) -> float:
    return float(math.prod(sizes[index] for index in indices))


def _paths(
    product: Product, sizes: dict[int, int], thorough: bool
) -> Iterator[Sequence[tuple[int, ...]]]:
    inputs, output = list(product.operands), product.output
    sizes = {index: max(2, size) for index, size in sizes.items()}
    if len(inputs) <= _MOST_DP:
        for combo in _COMBOS if thorough and len(inputs) <= _MOST_DP_ALONE else _COMBOS[:1]:
            yield DynamicProgramming(minimize=combo, search_outer=True)(inputs, output, sizes)
    yield greedy(inputs, output, sizes)
    if not thorough or len(inputs) <= _MOST_DP_ALONE:
        return
    state = random.getstate()
    try:
        random.seed(0)
        yield random_greedy_128(inputs, output, sizes)
    finally:
        random.setstate(state)


@lru_cache(maxsize=8)
def _all(count: int) -> tuple[Tree, ...]:
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


def _tree(path: Sequence[tuple[int, ...]], count: int) -> Tree | None:
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
