"""Derivatives of softmax, p * (g - sum(p * g)), and of its logarithm, g - p * sum(g)."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.ir.nodes import Contract, Node, NodeId, Read, Softmax
from tensorlang.ir.reads import identity_read, rename_read


def pull(maker: Maker, identity: NodeId, cotangent: NodeId) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Softmax), node
    if node.op.log:
        field = _log_field(maker, node, identity, cotangent)
    else:
        field = _field(maker, node, identity, maker.whole(cotangent))
    product = Product((maker.whole(field),), node.sizes, node.rank, node.dtype)
    return [(node.reads[0].node, carried(maker, product, node.reads[0]))]


def push(maker: Maker, identity: NodeId, tangent: Read) -> Read:
    """The Jacobian of softmax is symmetric; that of its logarithm, t - sum(p * t), is not."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Softmax), node
    if not node.op.log:
        return maker.whole(_field(maker, node, identity, tangent))
    tangent = _where_it_counts(maker, node, tangent)
    cells = maker.cells()
    weights = cells.apply("exp", cells.read(maker.whole(identity)))
    made = maker.pointwise(weights, cells, node.sizes)
    sums, axes = _summed(maker, node, (maker.whole(made), tangent), node.op.axes)
    cells = maker.cells()
    sum_ = cells.read(Read(sums, axes))
    some = cells.apply("add", cells.read(tangent), cells.apply("neg", sum_))
    out = maker.whole(maker.pointwise(some, cells, node.sizes))
    return _where_it_counts(maker, node, out)


def _field(maker: Maker, node: Node, identity: NodeId, given: Read) -> NodeId:
    assert isinstance(node.op, Softmax), node
    value = maker.whole(identity)
    sums, axes = _summed(maker, node, (value, given), node.op.axes)
    cells = maker.cells()
    p, g, mean = cells.read(value), cells.read(given), cells.read(Read(sums, axes))
    expr = cells.apply("mul", p, cells.apply("add", g, cells.apply("neg", mean)))
    return maker.pointwise(expr, cells, node.sizes)


def _log_field(maker: Maker, node: Node, identity: NodeId, cotangent: NodeId) -> NodeId:
    assert isinstance(node.op, Softmax), node
    given = _where_it_counts(maker, node, maker.whole(cotangent))
    sums, axes = _summed(maker, node, (given,), node.op.axes)
    cells = maker.cells()
    g, total = cells.read(given), cells.read(Read(sums, axes))
    weight = cells.apply("exp", cells.read(maker.whole(identity)))
    spread = cells.apply("neg", cells.apply("mul", weight, total))
    return maker.pointwise(cells.apply("add", g, spread), cells, node.sizes)


def _where_it_counts(maker: Maker, node: Node, given: Read) -> Read:
    """0 in the cells that the mask leaves out, whose logarithm is no value."""
    if len(node.reads) == 1:
        return given
    cells = maker.cells()
    mask = cells.read(node.reads[1])
    expr = cells.apply("where", mask, cells.read(given), number(0, node.dtype))
    return maker.whole(maker.pointwise(expr, cells, node.sizes))


def _summed(
    maker: Maker, node: Node, factors: tuple[Read, ...], over: Sequence[int]
) -> tuple[NodeId, tuple]:  # type: ignore[type-arg]
    """The sum of a product along axes, and where it is read over the node's axes."""
    kept = [axis for axis in range(node.rank) if axis not in over]
    local = {axis: k for k, axis in enumerate((*kept, *over))}
    reads = [rename_read(factor, local) for factor in factors]
    sizes = [node.sizes[axis] for axis in local]
    made = maker.add(Contract(), reads, sizes, len(kept), node.dtype)
    at = identity_read(made, len(kept)).subscripts
    return made, rename_read(Read(made, at), dict(enumerate(kept))).subscripts
