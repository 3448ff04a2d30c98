"""Derivatives of a Reduce. The product's are products of the others, so exact at zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tensorlang.check.program import ReduceOp
from tensorlang.differentiate.cells import Cells, number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.differentiate.ties import shared
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    At,
    Contract,
    Iota,
    Lit,
    Node,
    NodeId,
    Pointwise,
    Read,
    Reduce,
    Scalar,
)
from tensorlang.ir.reads import identity_read, rename_read
from tensorlang.size import Size


def pull(maker: Maker, identity: NodeId, cotangent: NodeId) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    (read,) = node.reads
    slopes = _slopes(maker, identity, cotangent)
    return [] if slopes is None else [(read.node, _carried(maker, node, slopes))]


def push(maker: Maker, identity: NodeId, tangent: Read) -> Read:
    node = maker.graph.node(identity)
    slopes = _slopes(maker, identity, maker.full(1, node.shape, node.dtype))
    assert slopes is not None, node
    # the slope of a complex product comes conjugated, as cotangents are
    factors = (maker.conjugate(slopes), tangent)
    made = maker.add(Contract(), factors, node.sizes, node.rank, node.dtype)
    return maker.whole(made)


def _carried(maker: Maker, node: Node, field: Read) -> Term:
    return carried(maker, Product((field,), node.sizes, node.rank, node.dtype), node.reads[0])


def _slopes(maker: Maker, identity: NodeId, cotangent: NodeId) -> Read | None:
    """The cotangent over the whole index space."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Reduce), node
    match node.op.op:
        case ReduceOp.MAX | ReduceOp.MIN:
            return shared(maker, identity, cotangent)
        case ReduceOp.LOGSUMEXP:
            return _weights(maker, identity, cotangent)
        case ReduceOp.PROD:
            return _others(maker, node, cotangent)
        case _:
            raise AssertionError(f"{node.op} has no derivative")


def _weights(maker: Maker, identity: NodeId, cotangent: NodeId) -> Read:
    """exp(x - value): the softmax, of the value at hand; 0 where x is -inf."""
    node = maker.graph.node(identity)
    (read,) = node.reads
    cells = maker.cells(node.reads)
    x, value, given = (cells.read(r) for r in (read, maker.whole(identity), maker.whole(cotangent)))
    difference = cells.apply("add", x, cells.apply("neg", value))
    if _can_be_infinite(maker, read):
        some = cells.apply("gt", x, number(-math.inf, Dtype.REAL))
        safe = cells.apply("where", some, difference, number(0, Dtype.REAL))
        slope = cells.apply("mul", given, cells.apply("exp", safe))
        expr = cells.apply("where", some, slope, number(0, Dtype.REAL))
    else:
        expr = cells.apply("mul", given, cells.apply("exp", difference))
    return identity_read(maker.pointwise(expr, cells, node.sizes), len(node.sizes))


def _can_be_infinite(maker: Maker, read: Read) -> bool:
    """Whether cells are left out of it: a `where` puts -inf there."""
    node = maker.graph.node(read.node)
    if read.fill is not None and math.isinf(abs(read.fill)):
        return True
    return isinstance(node.op, Pointwise) and _says_infinity(node.op.expr)


def _says_infinity(expr: Scalar) -> bool:
    match expr:
        case Lit(value):
            return math.isinf(abs(value))
        case App(_, args):
            return any(_says_infinity(arg) for arg in args)
        case _:
            return False


def _others(maker: Maker, node: Node, cotangent: NodeId) -> Read:
    """For each cell the product of all others: 1 in its own place.

    It costs a square, and is exact at zeros in every order: a quotient is neither.
    """
    (read,) = node.reads
    read = maker.conjugate(read)
    first, count = node.rank, len(node.bound)
    total = len(node.sizes)
    inner = {index: index + count for index in node.bound}
    sizes = (*node.sizes, *(node.sizes[index] for index in node.bound))
    cells = maker.cells()
    value = cells.read(rename_read(read, inner))
    own = [cells.apply("eq", Iota(index), Iota(inner[index])) for index in node.bound]
    here = own[0] if len(own) == 1 else cells.apply("and", *own)
    masked = _masked(maker, cells, here, value, sizes, node.dtype)
    every = identity_read(masked, total + count)
    product = maker.add(Reduce(ReduceOp.PROD), (every,), sizes, total, node.dtype)
    given = Read(cotangent, tuple(At(axis) for axis in range(first)))
    over = maker.cells()
    expr = over.apply("mul", over.read(given), over.read(identity_read(product, total)))
    return identity_read(maker.pointwise(expr, over, node.sizes), total)


def _masked(
    maker: Maker, cells: Cells, here: Scalar, value: Scalar, sizes: Sequence[Size], dtype: Dtype
) -> NodeId:
    expr = cells.apply("where", here, number(1, dtype), value)
    return maker.pointwise(expr, cells, sizes)
