"""A constant that is block diagonal in two summed indices: a sum over its blocks.

sum_pi C[p i j k] w[p u] x[u i], where ranges of p meet ranges of i one to one, is a sum of dense
products of slices, C[P I j k] w[P u] x[u I]: nothing is picked, and intermediates are of one block.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    Array,
    At,
    Const,
    Node,
    Pointwise,
    Read,
)
from tensorlang.ir.reads import read_indices
from tensorlang.order.grid import Point, number
from tensorlang.rewrite.blocks import MARGIN, stands_alone
from tensorlang.rewrite.constants import constant_factors
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points, stream

_MOST = 4  # blocks: each is a product to read

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Ranges of indices `first` and `second` of which constant number `place` is made."""

    place: int
    first: int
    second: int
    ranges: tuple[tuple[Range, Range], ...]


def rectangles(node: Node, site: Site) -> Node | None:
    """Multiply block by block where that costs no more."""
    if len(node.reads) < 3:
        return None
    for k, cells, axes in constant_factors(node, site, least=3):
        rest = node.reads[:k] + node.reads[k + 1 :]
        summed = [index for index in axes if index in node.bound]
        for first, second in itertools.combinations(summed, 2):
            ranges = _ranges(cells, axes.index(first), axes.index(second))
            if ranges is None or not stands_alone(rest, first, second, site):
                continue
            made = _sum(node, _Blocks(k, first, second, ranges), cells, site)
            if made is not None:
                return made
    return None


def _ranges(
    cells: npt.NDArray[np.generic], first: int, second: int
) -> tuple[tuple[Range, Range], ...] | None:
    """Ranges along both axes that meet in non-zeros, each of one with one of the other."""
    others = tuple(axis for axis in range(cells.ndim) if axis not in (first, second))
    occurs = (cells != 0).any(axis=others)
    if first > second:
        occurs = occurs.T
    out: list[tuple[Range, Range]] = []
    rows, columns = occurs.shape
    start = 0
    while start < rows:
        found = np.flatnonzero(occurs[start])
        if not len(found):
            return None
        low, high = int(found[0]), int(found[-1]) + 1
        stop = start
        while stop < rows and np.array_equal(occurs[stop], occurs[start]):
            stop += 1
        if len(found) != high - low or occurs[:start, low:high].any():
            return None
        if occurs[stop:, low:high].any():
            return None
        out.append(((start, stop), (low, high)))
        start = stop
    filled = sum((b - a) * (d - c) for (a, b), (c, d) in out)
    return tuple(out) if 1 < len(out) <= _MOST and 2 * filled <= rows * columns else None


def _sum(node: Node, blocks: _Blocks, cells: npt.NDArray[np.generic], site: Site) -> Node | None:
    products = [_product(node, blocks, ranges, cells, site) for ranges in blocks.ranges]
    options = site.options
    count = len(products)

    def after(point: Point) -> float:
        result = stream(4.0 * (count + 1) * _cells(node, point), options)
        return result + sum(node_price(product, point, options) for product in products)

    where = points(node.sizes, options)
    found = compared(where, lambda point: node_price(node, point, options), after)
    if not found.mostly(MARGIN):
        return None
    site.did(f"a constant with {count} blocks on its diagonal", found.saved())
    whole = tuple(At(axis) for axis in range(node.rank))
    reads = tuple(Read(site.add(product), whole) for product in products)
    terms = tuple(Arg(place) for place in range(count))
    return Node(Pointwise(App("add", terms, Dtype.REAL)), reads, node.shape, node.rank, node.dtype)


def _cells(node: Node, point: Point) -> float:
    out = 1.0
    for size in node.shape:
        out *= number(size, point)
    return out


def _product(
    node: Node,
    blocks: _Blocks,
    ranges: tuple[Range, Range],
    cells: npt.NDArray[np.generic],
    site: Site,
) -> Node:
    """The product over one block."""
    taken = {blocks.first: ranges[0], blocks.second: ranges[1]}
    sizes = [
        node.sizes[i] if i not in taken else taken[i][1] - taken[i][0]
        for i in range(len(node.sizes))
    ]
    reads = []
    for k, read in enumerate(node.reads):
        if k == blocks.place:
            axes = [s.index for s in read.subscripts if isinstance(s, At)]
            part = cells[tuple(slice(*taken[i]) if i in taken else slice(None) for i in axes)]
            array = Const(Array(np.array(part, np.float64, order="C")))
            shape = tuple(int(size) for size in part.shape)
            made = site.graph.add(Node(array, (), shape, part.ndim, Dtype.REAL))
            reads.append(Read(made, read.subscripts))
        else:
            reads.append(_sliced(read, taken, node))
    return Node(node.op, tuple(reads), tuple(sizes), node.rank, node.dtype)


def _sliced(read: Read, taken: dict[int, Range], node: Node) -> Read:
    if not set(read_indices(read)) & set(taken):
        return read
    subscripts = tuple(
        Affine(((s.index, 1),), taken[s.index][0], Boundary.INSIDE)
        if isinstance(s, At) and s.index in taken and taken[s.index] != (0, node.sizes[s.index])
        else s
        for s in read.subscripts
    )
    return Read(read.node, subscripts, read.fill)
