"""Derivatives of a Scatter: each value takes the cotangent of the cell on which it lands."""

from __future__ import annotations

from collections.abc import Collection

from tensorlang.check.program import Boundary, ScatterOp
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.differentiate.ties import chosen, counted, split
from tensorlang.ir.nodes import Affine, Gather, NodeId, Read, Scatter, Subscript
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
        sizes = dict(enumerate(node.sizes))
        fields = _fields(maker, identity, maker.full(1, node.shape, node.dtype))
        values = [
            maker.contracted(
                (fields[place], tangent), 1, _labels(fields[place], target), sizes, node.dtype
            )
            for (place, tangent), target in zip(tangents.items(), targets, strict=True)
        ]
    made = maker.scattered(ScatterOp.SUM, values, targets, node.sizes, node.rank)
    return maker.whole(made)


def _fields(maker: Maker, identity: NodeId, cotangent: NodeId) -> list[Read]:
    """The cotangent of each value, over the indices that it lands with."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Scatter), node
    if node.op.op is ScatterOp.SUM:
        return [_at(maker, cotangent, target) for target in node.op.targets]
    sizes = dict(enumerate(node.sizes))
    hits: list[tuple[Read, list[int]]] = []
    for read, target in zip(node.reads, node.op.targets, strict=True):
        cells = maker.cells()
        extreme = cells.read(_at(maker, identity, target))
        reached = cells.apply("eq", cells.read(read), extreme)
        labels = _labels(read, target)
        hits.append((maker.computed(reached, cells, labels, sizes), labels))
    ones = [counted(maker, hit, labels, sizes) for hit, labels in hits]
    count = maker.scattered(ScatterOp.SUM, ones, node.op.targets, node.sizes, node.rank)
    share = split(maker, cotangent, count, empty=True)
    return [
        chosen(maker, hit, _at(maker, share, target), labels, sizes)
        for (hit, labels), target in zip(hits, node.op.targets, strict=True)
    ]


def _at(maker: Maker, tensor: NodeId, target: tuple[Subscript, ...]) -> Read:
    """A tensor read where values land; what lands outside reads 0."""
    dropped = any(isinstance(s, Affine | Gather) and s.boundary is Boundary.ELSE for s in target)
    zero = number(0, maker.graph.node(tensor).dtype).value
    return Read(tensor, target, zero if dropped else None)


def _labels(read: Read, target: tuple[Subscript, ...]) -> list[int]:
    """Local indices of a landing, in the order of the value that lands."""
    found = dict.fromkeys(read_indices(read))
    found |= dict.fromkeys(i for s in target for i in subscript_indices(s))
    return list(found)
