"""Looks for good trees: opt_einsum proposes, our own cost decides and improves what is best."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from opt_einsum.path_random import RandomGreedy
from opt_einsum.paths import DynamicProgramming, greedy

from tensorlang.options import Options
from tensorlang.order.grid import Point
from tensorlang.order.line import along_a_line
from tensorlang.order.prices import Cells, Prices, peak
from tensorlang.order.profile import PROFILES, Profile, profile_of
from tensorlang.order.refine import refine
from tensorlang.order.trees import Problem, Product, Tree, every_tree, tree_of

_MOST_ALL = 4  # operands whose trees are all priced
_MOST_EXACT = 7  # … for which dynamic programming under our own cost is quick
_MOST_DP = 8  # … for opt_einsum's with outer products
_MOST_CONNECTED = 16  # … for it without, where the tensors form a sparse network
_MOST_SPLITS = 4000  # of a network that is searched so
_MOST_LINE = 64  # … for the search along a line
_MOST_REFINED = 3  # trees that are improved

Path = Sequence[tuple[int, ...]]


def candidates(
    product: Product,
    sizes: Mapping[int, int],
    profile: Profile,
    thorough: bool = True,
    finder: str = "auto",
) -> list[Tree]:
    """Trees worth pricing at these sizes, each once, in a fixed order.

    Without `thorough` no random search: enough to tell whether a rewrite pays.
    """
    count = len(product.operands)
    if count <= 2:
        return [((0, 1),)] if count == 2 else [()]
    if count <= _MOST_ALL:
        return list(every_tree(count))
    found: dict[Tree, None] = {}
    for path in _paths(product, dict(sizes), thorough):
        found[tree_of(path, count)] = None
    if finder == "cotengra" and thorough:
        found[tree_of(_cotengra(product, dict(sizes)), count)] = None
    assert found, product
    if thorough and _MOST_EXACT < count <= _MOST_LINE:
        found[along_a_line(product, Prices(sizes, profile))] = None
    if thorough:
        found.update(dict.fromkeys(_refined(product, list(found), sizes, profile)))
    return list(found)


def small(product: Product, trees: Sequence[Tree], sizes: Mapping[int, int]) -> list[Tree]:
    """Trees with small intermediates, from the smallest of these."""
    if len(product.operands) <= _MOST_ALL:
        return []
    least = min(trees, key=lambda tree: peak(product, tree, sizes))
    return [least, refine(product, least, Cells(sizes, PROFILES["flops"]))]


def best(
    product: Product,
    sizes: Mapping[int, int],
    profile: Profile,
    thorough: bool = True,
    finder: str = "auto",
) -> tuple[Tree, float]:
    """The cheapest candidate at these sizes and its seconds."""
    prices = Prices(sizes, profile)
    trees = candidates(product, sizes, profile, thorough, finder)
    priced = [(prices.tree(product, tree), tree) for tree in trees]
    seconds, tree = min(priced, key=lambda entry: entry[0])
    return tree, seconds


def best_seconds(problem: Problem, point: Point, options: Options) -> float:
    """Seconds of the best tree at a point, by a quick search."""
    sizes = tuple(problem.at(point).values())
    return _best(problem.product, sizes, profile_of(options.profile))


@lru_cache(maxsize=16384)
def _best(product: Product, sizes: tuple[int, ...], profile: Profile) -> float:
    return best(product, dict(enumerate(sizes)), profile, thorough=False)[1]


def _refined(
    product: Product, trees: list[Tree], sizes: Mapping[int, int], profile: Profile
) -> Iterator[Tree]:
    """The cheapest of the trees, improved; of few operands one, by exact search."""
    prices = Prices(sizes, profile)
    ordered = sorted(trees, key=lambda tree: prices.tree(product, tree))
    count = len(product.operands)
    if count <= _MOST_EXACT:
        yield refine(product, ordered[0], prices, count)
        return
    for tree in ordered[:_MOST_REFINED]:
        yield refine(product, tree, prices)


def _paths(product: Product, sizes: dict[int, int], thorough: bool) -> Iterator[Path]:
    inputs, output = list(product.operands), product.output
    sizes = {index: max(2, size) for index, size in sizes.items()}
    yield greedy(inputs, output, sizes)
    count = len(inputs)
    tries = 128
    if count <= _MOST_DP:
        yield DynamicProgramming(minimize="flops", search_outer=True)(inputs, output, sizes)
    elif count <= _MOST_CONNECTED and thorough and _connected(product) <= _MOST_SPLITS:
        yield DynamicProgramming(minimize="flops")(inputs, output, sizes)
        tries = 64  # beside the fewest FLOPs and what improving makes of them
    if not thorough:
        return
    state = random.getstate()
    try:
        random.seed(0)
        yield RandomGreedy(max_repeats=tries)(inputs, output, sizes)
    finally:
        random.setstate(state)


def _connected(product: Product) -> int:
    """Connected sets of tensors, counted up to a bound: what dynamic programming visits."""
    operands = product.operands
    shared = [
        sum(1 << j for j, other in enumerate(operands) if j != i and mine & other)
        for i, mine in enumerate(operands)
    ]
    layer = {1 << i for i in range(len(operands))}
    total = 0
    while layer and total <= _MOST_SPLITS:
        total += len(layer)
        grown: set[int] = set()
        for members in layer:
            around = 0
            for i in range(len(operands)):
                if members >> i & 1:
                    around |= shared[i]
            around &= ~members
            while around:
                low = around & -around
                grown.add(members | low)
                around ^= low
            if len(grown) > _MOST_SPLITS:
                return _MOST_SPLITS + 1
        layer = grown
    return total


def _cotengra(product: Product, sizes: dict[int, int]) -> Path:
    """A path of cotengra's random greedy search with its subtrees reordered; seeded."""
    import cotengra  # type: ignore[import-not-found,unused-ignore]  # an optional extra

    names = {index: f"i{index}" for index in sizes}
    tree = cotengra.array_contract_tree(
        [tuple(names[i] for i in sorted(operand)) for operand in product.operands],
        tuple(names[i] for i in sorted(product.output)),
        {names[index]: max(2, size) for index, size in sizes.items()},
        optimize=cotengra.RandomGreedyOptimizer(max_repeats=64, seed=0, accel=False),
    )
    tree.subtree_reconfigure_(subtree_size=8)
    path: Path = tree.get_path()
    return path
