"""Derivatives of scans: of a sum a sum from the end; of a product, products of the others."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check.program import Boundary
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.ir.nodes import (
    Affine,
    Arg,
    At,
    Contract,
    Iota,
    Node,
    NodeId,
    Pointwise,
    Read,
    Scan,
    ScanOp,
)
from tensorlang.ir.reads import identity_read, rename_read


def pull(maker: Maker, identity: NodeId, cotangent: NodeId) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Scan), node
    (read,) = node.reads
    if node.op.op is ScanOp.CUMSUM:
        flipped = _turned(maker, node, cotangent)
        summed = maker.add(node.op, (maker.whole(flipped),), node.sizes, node.rank, node.dtype)
        product = Product(
            (maker.whole(_turned(maker, node, summed)),), node.sizes, node.rank, node.dtype
        )
        return [(read.node, carried(maker, product, read))]
    others = _others(maker, node, maker.conjugate(read))
    last = node.rank  # the position whose product it is
    given = rename_read(maker.whole(cotangent), {node.op.axis: last})
    sizes = (*node.sizes, node.sizes[node.op.axis])
    made = maker.add(Contract(), (others, given), sizes, node.rank, node.dtype)
    product = Product((maker.whole(made),), node.sizes, node.rank, node.dtype)
    return [(read.node, carried(maker, product, read))]


def push(maker: Maker, identity: NodeId, tangent: Read) -> Read:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Scan), node
    if node.op.op is ScanOp.CUMSUM:
        made = maker.add(node.op, (tangent,), node.sizes, node.rank, node.dtype)
        return maker.whole(made)
    others = _others(maker, node, node.reads[0])
    axis, last = node.op.axis, node.rank
    swapped = {axis: last, last: axis}
    factors = (rename_read(others, swapped), rename_read(tangent, {axis: last}))
    sizes = (*node.sizes, node.sizes[axis])
    return maker.whole(maker.add(Contract(), factors, sizes, node.rank, node.dtype))


def _turned(maker: Maker, node: Node, tensor: NodeId) -> NodeId:
    """The tensor with the axis of the scan back to front."""
    assert isinstance(node.op, Scan), node
    axis = node.op.axis
    back = Affine(((axis, -1),), node.sizes[axis] - 1, Boundary.INSIDE)
    read = maker.whole(tensor)
    subscripts = tuple(back if s == At(axis) else s for s in read.subscripts)
    moved = replace(read, subscripts=subscripts)
    return maker.add(Pointwise(Arg(0)), (moved,), node.sizes, node.rank, node.dtype)


def _others(maker: Maker, node: Node, read: Read) -> Read:
    """[…, j, …, i]: the product of all cells up to i but for j, 0 where i < j.

    A square of cells, and exact at zeros in every order: a quotient is neither.
    """
    assert isinstance(node.op, Scan), node
    axis, last = node.op.axis, node.rank
    sizes = (*node.sizes, node.sizes[axis])
    cells = maker.cells()
    value = cells.read(rename_read(read, {axis: last}))
    here = cells.apply("eq", Iota(axis), Iota(last))
    one = number(1, node.dtype)
    without = maker.pointwise(cells.apply("where", here, one, value), cells, sizes)
    scanned = maker.add(
        Scan(ScanOp.CUMPROD, last), (maker.whole(without),), sizes, last + 1, node.dtype
    )
    cells = maker.cells()
    reaches = cells.apply("ge", Iota(last), Iota(axis))
    zero = number(0, node.dtype)
    kept = cells.apply("where", reaches, cells.read(maker.whole(scanned)), zero)
    return identity_read(maker.pointwise(kept, cells, sizes), last + 1)
