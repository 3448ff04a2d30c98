"""Derivatives of a Merge: the cotangent split along the same groups."""

from __future__ import annotations

from tensorlang.differentiate.making import Maker, Term
from tensorlang.ir.nodes import Arg, At, Group, Merge, NodeId, Read


def pull(maker: Maker, identity: NodeId, cotangent: NodeId) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Merge), node
    subscripts = tuple(
        At(group[0]) if len(group) == 1 else Group(group) for group in node.op.groups
    )
    return [(node.reads[0].node, Term(Arg(0), (Read(cotangent, subscripts),)))]


def push(maker: Maker, identity: NodeId, tangent: NodeId) -> NodeId:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Merge), node
    return maker.merged(tangent, node.op.groups)
