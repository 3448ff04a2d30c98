"""Which factors of logits belong to the queries and which to the keys.

A factor that has an index of the keys is theirs, one that has an index of the queries alone is
theirs; weights between them go where both sides and their product cost least together.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

from tensorlang.ir.cost import volume
from tensorlang.ir.nodes import At, Read
from tensorlang.ir.reads import mentions, read_indices
from tensorlang.options import Options
from tensorlang.plan.cost import at
from tensorlang.rewrite.price import points, price, stream
from tensorlang.size import Size, product, same

_MOST = 4
"""More weights than this all belong to the queries."""

_PASSES = 6
"""Over the weights, where no kernel keeps them on the chip."""

Sides = tuple[tuple[Read, ...], tuple[Read, ...]]


def sides(
    reads: Sequence[Read],
    key: Collection[int],
    rest: Collection[int],
    values: Sequence[Read],
    sizes: Sequence[Size],
    options: Options,
) -> Sides:
    """(factors of the queries, factors of the keys).

    `rest` are the axes of the logits without the keys. Kernels want as many features of the keys
    as the `values` have, else the weights go through memory.
    """
    batch = {i for read in values for i in read_indices(read) if i in rest}
    width = {i for read in values for i in read_indices(read)} - {*rest, *key}
    of_keys = [k for k, read in enumerate(reads) if mentions(read, key)]
    of_queries = [k for k, read in enumerate(reads) if mentions(read, set(rest) - batch)]
    between = [k for k in range(len(reads)) if k not in of_keys and k not in of_queries]
    if not of_keys or not between or len(between) > _MOST or set(of_keys) & set(of_queries):
        return _split(reads, of_keys)
    where = points(sizes, options)
    weights = volume(sizes[index] for index in (*rest, *key))
    passes = sum(stream(_PASSES * 4 * at(weights, point), options) for point in where)

    def seconds(chosen: Collection[int]) -> float:
        queries, keys = _split(reads, chosen)
        if not queries:
            return float("inf")
        on_queries, on_keys = _indices(queries), _indices(keys)
        outside = {*key, *rest}
        q = tuple(i for i in on_queries if i in outside or i in on_keys)
        k = tuple(i for i in on_keys if i in outside or i in on_queries)
        features = set(q) & set(k) - outside
        if not features:
            return float("inf")
        even = same(_size(features, sizes), _size(width, sizes))
        shared = dict.fromkeys(i for i in rest if i in batch or i in on_keys)  # by the kernel
        pair = [_tensor((*shared, *(i for i in side if i not in shared))) for side in (q, k)]
        formed = [(queries, q), (keys, k), (pair, (*rest, *key))]
        return sum(
            price(side, sizes, output, point, options)
            for point in where
            for side, output in formed
            if len(side) > 1 or set(_indices(side)) != set(output)
        ) + (0 if even else passes)

    taken = (
        (*of_keys, *more)
        for count in range(len(between) + 1)
        for more in itertools.combinations(between, count)
    )
    return _split(reads, min(taken, key=seconds))


def _split(reads: Sequence[Read], of_keys: Collection[int]) -> Sides:
    queries = tuple(read for k, read in enumerate(reads) if k not in of_keys)
    return queries, tuple(read for k, read in enumerate(reads) if k in of_keys)


def _size(indices: Collection[int], sizes: Sequence[Size]) -> Size:
    return product([sizes[index] for index in sorted(indices)])


def _indices(reads: Iterable[Read]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(index for read in reads for index in read_indices(read)))


def _tensor(indices: Sequence[int]) -> Read:
    """A read of what a side becomes; only its indices are priced."""
    return Read(0, tuple(At(index) for index in indices))
