"""A constant made of blocks: two summed indices of which few pairs occur become one index.

sum_pi C[p i j k] w[p u] x[u i], where block p of C has few i, is sum_q C'[q j k] w'[q u] x'[u q]
over the pairs q = (p, i) that occur: factors are picked by 0/1 matrices, then multiplied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Array, At, Const, Contract, Node, Read
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.order.grid import Point, number
from tensorlang.order.profile import profile_of
from tensorlang.rewrite.compose import is_whole
from tensorlang.rewrite.constants import constant_factors
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import Comparison, compared, node_price, points, price

_FEWEST = 2  # a pair of indices is joined where at most one in so many of its cells occurs
MARGIN = 1.1  # the price of the dense form has no permutation copies, measured it is twice as slow


@dataclass(frozen=True, slots=True)
class _Joined:
    """Pairs of cells of indices `first` and `second` that a constant has, its rows for them."""

    first: int
    second: int
    pairs: npt.NDArray[np.int64]  # [q, 2]
    rows: npt.NDArray[np.float64]  # [q, other axes]
    axes: tuple[int, ...]  # the other axes


def blocks(node: Node, site: Site) -> Node | None:
    """Join two summed indices of a block-sparse constant where that costs less."""
    if len(node.reads) < 3:
        return None
    best: tuple[Comparison, _Joined, int] | None = None
    for k, cells, axes in constant_factors(node, site, least=3):
        rest = node.reads[:k] + node.reads[k + 1 :]
        summed = [index for index in axes if index in node.bound]
        for first, second in itertools.combinations(summed, 2):
            joined = _joined(cells, axes, first, second)
            if joined is None or not stands_alone(rest, first, second, site):
                continue
            found = _compared(node, rest, joined, site)
            if found.mostly(MARGIN) and (best is None or sum(found.after) < sum(best[0].after)):
                best = (found, joined, k)
    if best is None:
        return None
    found, joined, k = best
    total = int(node.sizes[joined.first]) * int(node.sizes[joined.second])
    site.did(f"a constant with {len(joined.pairs)} of {total} blocks", found.saved())
    return _made(node, node.reads[:k] + node.reads[k + 1 :], joined, site)


def _joined(
    cells: npt.NDArray[np.generic], axes: Sequence[int], first: int, second: int
) -> _Joined | None:
    others = tuple(index for index in axes if index not in (first, second))
    order = [axes.index(index) for index in (first, second, *others)]
    table = np.transpose(cells, order).astype(np.float64)
    occurs = table.reshape(*table.shape[:2], -1).any(-1)
    pairs = np.argwhere(occurs)
    if not len(pairs) or _FEWEST * len(pairs) > occurs.size:
        return None
    return _Joined(first, second, pairs, table[pairs[:, 0], pairs[:, 1]], others)


def stands_alone(rest: Sequence[Read], first: int, second: int, site: Site) -> bool:
    """Whether each of the two indices stands, alone, in one factor that is read whole."""
    for index, other in ((first, second), (second, first)):
        readers = [read for read in rest if index in read_indices(read)]
        if len(readers) != 1 or other in read_indices(readers[0]):
            return False
        (read,) = readers
        if not is_whole(read) or read.fill is not None or not site.finite(read.node):
            return False
        if site.node(read.node).dtype is not Dtype.REAL:
            return False
    return True


def _compared(node: Node, rest: Sequence[Read], joined: _Joined, site: Site) -> Comparison:
    """The product as it is, against the picks and the product over pairs."""
    options = site.options
    profile = profile_of(options.profile)
    pair = len(node.sizes)
    sizes = (*node.sizes, len(joined.pairs))
    picks = [
        (index, [i for i in read_indices(read) if i != index])
        for index in (joined.first, joined.second)
        for read in rest
        if index in read_indices(read)
    ]
    product = [Read(0, tuple(At(index) for index in (pair, *joined.axes)))]
    for read in rest:
        moved = {joined.first: pair, joined.second: pair}
        product.append(Read(0, tuple(At(moved.get(i, i)) for i in read_indices(read))))

    def after(point: Point) -> float:
        seconds = price(product, sizes, range(node.rank), point, options)
        for index, kept in picks:
            cells = math.prod(float(number(sizes[i], point)) for i in kept)
            moved = 4.0 * cells * (len(joined.pairs) + int(node.sizes[index]))
            work = 2.0 * cells * len(joined.pairs) * int(node.sizes[index])
            seconds += profile.stream(moved) + work / profile.flops + profile.launch
        return seconds

    where = points(node.sizes, options)
    return compared(where, lambda point: node_price(node, point, options), after)


def _made(node: Node, rest: Sequence[Read], joined: _Joined, site: Site) -> Node:
    pair = len(node.sizes)
    reads = [Read(_const(joined.rows, site), tuple(At(i) for i in (pair, *joined.axes)))]
    for read in rest:
        if joined.first in read_indices(read):
            reads.append(_picked(read, joined.first, joined.pairs[:, 0], pair, node, site))
        elif joined.second in read_indices(read):
            reads.append(_picked(read, joined.second, joined.pairs[:, 1], pair, node, site))
        else:
            reads.append(read)
    left = [i for i in range(pair + 1) if i not in (joined.first, joined.second)]
    place = {index: new for new, index in enumerate(left)}
    sizes = (*node.sizes, len(joined.pairs))
    return Node(
        node.op,
        tuple(rename_read(read, place) for read in reads),
        tuple(sizes[index] for index in left),
        node.rank,
        node.dtype,
    )


def _picked(
    read: Read,
    index: int,
    position: npt.NDArray[np.int64],
    pair: int,
    node: Node,
    site: Site,
) -> Read:
    """x[.. position[q]], as a product with a 0/1 matrix: a GEMM forward and backward."""
    size = int(node.sizes[index])
    table = np.zeros((len(position), size))
    table[np.arange(len(position)), position] = 1
    axes = [i for i in dict.fromkeys(read_indices(read)) if i != index]
    local = {i: place for place, i in enumerate([*axes, pair, index])}
    chosen = Read(_const(table, site), (At(local[pair]), At(local[index])))
    sizes = (*(node.sizes[i] for i in axes), len(position), size)
    made = Node(Contract(), (rename_read(read, local), chosen), sizes, len(axes) + 1, Dtype.REAL)
    return Read(site.add(made), tuple(At(i) for i in (*axes, pair)))


def _const(value: npt.NDArray[np.float64], site: Site) -> int:
    return site.graph.add(Node(Const(Array(value)), (), tuple(value.shape), value.ndim, Dtype.REAL))
