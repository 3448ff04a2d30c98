"""Extremes: the cells that reach the largest or smallest value share its derivative evenly."""

from __future__ import annotations

from tensorlang.differentiate.cells import Cells, number
from tensorlang.differentiate.making import Maker
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Contract, Lit, NodeId, Read, Scalar
from tensorlang.ir.reads import identity_read
from tensorlang.size import Size


def shared(maker: Maker, identity: NodeId, cotangent: NodeId) -> Read:
    """The cotangent over the whole index space of an extreme of the sum of the node's reads."""
    node = maker.graph.node(identity)
    cells = maker.cells(node.reads)
    body = [cells.read(read) for read in node.reads]
    total: Scalar = body[0] if len(body) == 1 else cells.apply("add", *body)
    reached = cells.apply("eq", total, cells.read(maker.whole(identity)))
    hits = maker.pointwise(cells.apply("to_real", reached), cells, node.sizes)
    whole = identity_read(hits, len(node.sizes))
    count = maker.add(Contract(), (whole,), node.sizes, node.rank, Dtype.REAL)
    empty = not all(isinstance(s, int) and s > 0 for s in node.sizes[node.rank :])
    share = split(maker, cotangent, count, node.shape, empty)
    expr = cells.apply("where", reached, cells.read(maker.whole(share)), number(0, Dtype.REAL))
    return identity_read(maker.pointwise(expr, cells, node.sizes), len(node.sizes))


def split(
    maker: Maker, cotangent: NodeId, count: NodeId, shape: tuple[Size, ...], empty: bool
) -> NodeId:
    """A cotangent by the number of those that share it, which may be none."""
    cells: Cells = maker.cells()
    above = cells.read(maker.whole(cotangent))
    below: Scalar = cells.read(maker.whole(count))
    if empty:
        below = cells.apply("max", below, Lit(1.0, Dtype.REAL))
    return maker.pointwise(cells.apply("div", above, below), cells, shape)
