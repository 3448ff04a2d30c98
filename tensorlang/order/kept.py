"""Trees for products some of whose operands are kept weights: what is made of those costs nothing.

They are formed once and multiplied many times.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from tensorlang.order.prices import Prices
from tensorlang.order.profile import Profile
from tensorlang.order.refine import Nested, best_order
from tensorlang.order.search import best, candidates
from tensorlang.order.trees import Indices, Product, Tree

_MOST_EXACT = 7  # operands for which every split is priced


def kept_trees(
    product: Product, kept: frozenset[int], sizes: Mapping[int, int], profile: Profile
) -> list[Tree]:
    """Trees that use that the operands `kept` are multiplied beforehand."""
    count = len(product.operands)
    if len(kept) < 2:
        return []
    found = [_weights_first(product, kept, sizes, profile)]
    if count <= _MOST_EXACT:
        found.append(_numbered(best_order(product, Prices(sizes, profile), kept), count))
    return list(dict.fromkeys(found))


def _weights_first(
    product: Product, kept: frozenset[int], sizes: Mapping[int, int], profile: Profile
) -> Tree:
    """The weights as one tensor, then the cheapest order of that and the others."""
    inside = sorted(kept)
    others = [k for k in range(len(product.operands)) if k not in kept]
    needed: Indices = product.output.union(*(product.operands[k] for k in others))
    whole: Indices = frozenset().union(*(product.operands[k] for k in inside)) & needed
    weights = Product(tuple(product.operands[k] for k in inside), whole)
    rest = Product((*(product.operands[k] for k in others), whole), product.output)
    within = tuple((index, sizes[index]) for index in sorted(frozenset().union(*weights.operands)))
    first = _best(weights, within, profile)
    trees = candidates(rest, sizes, profile)
    prices = Prices(sizes, profile)
    after = min(trees, key=lambda tree: prices.tree(rest, tree))
    count = len(product.operands)
    moved = dict(enumerate(inside))
    moved.update((len(inside) + k, count + k) for k in range(len(first)))
    out = [(moved[a], moved[b]) for a, b in first]
    made = count + len(first) - 1 if first else inside[0]
    moved = {**dict(enumerate(others)), len(others): made}
    moved.update((len(others) + 1 + k, count + len(first) + k) for k in range(len(after)))
    out += [(moved[a], moved[b]) for a, b in after if len(rest.operands) > 1]
    return tuple((min(pair), max(pair)) for pair in out)


@lru_cache(maxsize=1024)
def _best(product: Product, sizes: tuple[tuple[int, int], ...], profile: Profile) -> Tree:
    return best(product, dict(sizes), profile)[0]


def _numbered(nested: Nested, count: int) -> Tree:
    """A nested order in the numbering of trees."""
    out: list[tuple[int, int]] = []

    def number(part: Nested) -> int:
        if isinstance(part, int):
            return part
        low, high = sorted((number(part[0]), number(part[1])))
        out.append((low, high))
        return count + len(out) - 1

    number(nested)
    return tuple(out)
