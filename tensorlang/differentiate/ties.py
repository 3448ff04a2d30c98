"""Extremes: the cells that reach the largest or smallest value share its derivative evenly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Contract, NodeId, Read, Scalar
from tensorlang.ir.reads import identity_read
from tensorlang.size import Size


def shared(maker: Maker, identity: NodeId, cotangent: NodeId) -> Read:
    """The cotangent over the whole index space of an extreme of the sum of the node's reads."""
    node = maker.graph.node(identity)
    labels, sizes = range(len(node.sizes)), dict(enumerate(node.sizes))
    cells = maker.cells(node.reads)
    body = [cells.read(read) for read in node.reads]
    total: Scalar = body[0] if len(body) == 1 else cells.apply("add", *body)
    reached = cells.apply("eq", total, cells.read(maker.whole(identity)))
    hits = maker.computed(reached, cells, labels, sizes)
    whole = identity_read(counted(maker, hits, labels, sizes).node, len(node.sizes))
    count = maker.add(Contract(), (whole,), node.sizes, node.rank, Dtype.REAL)
    empty = not all(isinstance(size, int) and size > 0 for size in node.sizes[node.rank :])
    share = maker.whole(split(maker, cotangent, count, empty))
    return chosen(maker, hits, share, labels, sizes)


def counted(maker: Maker, hits: Read, labels: Iterable[int], sizes: Mapping[int, Size]) -> Read:
    """1 where a cell reaches the extreme."""
    cells = maker.cells()
    return maker.computed(cells.apply("to_real", cells.read(hits)), cells, labels, sizes)


def split(maker: Maker, cotangent: NodeId, count: NodeId, empty: bool) -> NodeId:
    """A cotangent by the number of those that share it, which may be none."""
    cells = maker.cells()
    above = cells.read(maker.whole(cotangent))
    below: Scalar = cells.read(maker.whole(count))
    if empty:
        below = cells.apply("max", below, number(1, Dtype.REAL))
    shape = maker.graph.node(cotangent).shape
    return maker.pointwise(cells.apply("div", above, below), cells, shape)


def chosen(
    maker: Maker, hits: Read, share: Read, labels: Iterable[int], sizes: Mapping[int, Size]
) -> Read:
    """A share where a cell reaches the extreme."""
    cells = maker.cells()
    zero = number(0, Dtype.REAL)
    expr = cells.apply("where", cells.read(hits), cells.read(share), zero)
    return maker.computed(expr, cells, labels, sizes)
