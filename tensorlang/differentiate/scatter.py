"""Derivatives of a Scatter: each value takes the cotangent of the cell on which it lands."""

from __future__ import annotations

from collections.abc import Collection

from tensorlang.check.program import Boundary, ScatterOp
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.differentiate.ties import split
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Affine, Gather, Node, NodeId, Read, Scatter, Subscript
from tensorlang.ir.reads import read_indices, subscript_indices


def pull(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Scatter), node
    fields = _fields(maker, identity, cotangent)
    return [
        (
            read.node,
            carried(maker, Product((field,), node.sizes, node.rank, node.dtype), read),
        )
        for read, field in zip(node.reads, fields, strict=True)
        if read.node in active
    ]


def push(maker: Maker, identity: NodeId, tangents: dict[int, Read]) -> Read:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Scatter), node
    targets = [node.op.targets[place] for place in tangents]
    values = list(tangents.values())
    if node.op.op is not ScatterOp.SUM:
        one = maker.full(1, node.shape, node.dtype)
        fields = _fields(maker, identity, one)
        values = [
            _times(maker, node, fields[place], tangent, node.op.targets[place])
            for place, tangent in tangents.items()
        ]
    made = maker.scattered(ScatterOp.SUM, values, targets, node.sizes, node.rank)
    return maker.whole(made)


def _fields(maker: Maker, identity: NodeId, cotangent: NodeId) -> list[Read]:
    """The cotangent of each value, over the indices that it lands with."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Scatter), node
    if node.op.op is ScatterOp.SUM:
        return [_at(maker, cotangent, target) for target in node.op.targets]
    hits = [
        _reached(maker, node, identity, read, target)
        for read, target in zip(node.reads, node.op.targets, strict=True)
    ]
    count = maker.scattered(ScatterOp.SUM, hits, node.op.targets, node.sizes, node.rank)
    share = split(maker, cotangent, count, node.shape, empty=True)
    return [
        _times(maker, node, hit, _at(maker, share, target), target)
        for hit, target in zip(hits, node.op.targets, strict=True)
    ]


def _at(maker: Maker, tensor: NodeId, target: tuple[Subscript, ...]) -> Read:
    """A tensor read where values land; what lands outside reads 0."""
    dropped = any(isinstance(s, Affine | Gather) and s.boundary is Boundary.ELSE for s in target)
    zero = number(0, maker.graph.node(tensor).dtype).value
    return Read(tensor, target, zero if dropped else None)


def _labels(target: tuple[Subscript, ...], *reads: Read) -> list[int]:
    """Local indices of a landing."""
    found = {i for s in target for i in subscript_indices(s)}
    return sorted(found.union(*map(read_indices, reads)))


def _reached(
    maker: Maker, node: Node, identity: NodeId, read: Read, target: tuple[Subscript, ...]
) -> Read:
    """1 where a value is the extreme of its cell."""
    cells = maker.cells()
    extreme = cells.read(_at(maker, identity, target))
    hit = cells.apply("to_real", cells.apply("eq", cells.read(read), extreme))
    return maker.computed(hit, cells, _labels(target, read), dict(enumerate(node.sizes)))


def _times(maker: Maker, node: Node, hit: Read, share: Read, target: tuple[Subscript, ...]) -> Read:
    """A share where a value is an extreme."""
    cells = maker.cells()
    reached = cells.apply("gt", cells.read(hit), number(0, Dtype.REAL))
    expr = cells.apply("where", reached, cells.read(share), number(0, Dtype.REAL))
    return maker.computed(expr, cells, _labels(target, hit, share), dict(enumerate(node.sizes)))
