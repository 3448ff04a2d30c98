"""Reverse mode: cotangents of outputs carried to the tensors that they depend on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import assert_never

from tensorlang.differentiate import contract, merge, pointwise, reduce, scan, scatter, softmax
from tensorlang.differentiate import transform as transforms
from tensorlang.differentiate.making import Maker, OpaqueCall, Term
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    Arg,
    Call,
    Const,
    Contract,
    Input,
    Merge,
    NodeId,
    Param,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    Softmax,
    Transform,
)


def gradient(graph: Graph, value: NodeId, wrt: NodeId) -> NodeId:
    """The derivative of the sum of all cells of a real tensor, over the axes of `wrt`.

    `wrt` counts as independent, whatever it is computed from. By a complex tensor it is the
    conjugate Wirtinger derivative, twice: the direction of steepest ascent, as in torch.
    """
    node, by = graph.node(value), graph.node(wrt)
    assert by.dtype >= Dtype.REAL, by
    maker = Maker(graph, graph.provenance(value).spans)
    if node.dtype is Dtype.REAL:
        one = maker.full(1, node.shape, node.dtype)
        (found,) = vjp(graph, [(value, one)], [wrt])
        if found is not None:
            return found
    assert node.dtype is not Dtype.COMPLEX, node
    return maker.full(0, by.shape, by.dtype)


def vjp(
    graph: Graph, outputs: Sequence[tuple[NodeId, NodeId]], wrts: Sequence[NodeId]
) -> tuple[NodeId | None, ...]:
    """Cotangents of `wrts`, given (output, its cotangent); None where nothing depends on one.

    Where one of `wrts` is computed from another, the other's cotangent includes what comes by it.
    """
    maker = Maker(graph)
    active = depending(graph, wrts, [output for output, _ in outputs])
    terms: dict[NodeId, list[Term]] = {}
    for output, cotangent in outputs:
        if output in active:
            terms.setdefault(output, []).append(Term(Arg(0), (maker.whole(cotangent),)))
    found: dict[NodeId, NodeId] = {}
    for identity in sorted(active, reverse=True):
        if identity not in terms:
            continue
        maker.spans = graph.provenance(identity).spans
        total = maker.total(terms.pop(identity), identity)
        if identity in wrts:
            found[identity] = total
        for operand, term in _pulled(maker, identity, total, active):
            terms.setdefault(operand, []).append(term)
    return tuple(found.get(wrt) for wrt in wrts)


def depending(
    graph: Graph, sources: Iterable[NodeId], outputs: Iterable[NodeId]
) -> frozenset[NodeId]:
    """Nodes through which the outputs depend on the sources by way of real or complex numbers."""
    needed: set[NodeId] = set()
    stack = list(outputs)
    while stack:
        identity = stack.pop()
        node = graph.node(identity)
        if identity not in needed and node.dtype >= Dtype.REAL:
            needed.add(identity)
            stack.extend(read.node for read in node.reads)
    active: set[NodeId] = set()
    given = set(sources)
    for identity in sorted(needed):
        if identity in given or any(read.node in active for read in graph.node(identity).reads):
            active.add(identity)
    return frozenset(active)


def _pulled(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    """What a node contributes to the cotangents of the active tensors that it reads."""
    node = maker.graph.node(identity)
    if not any(read.node in active for read in node.reads):
        return []
    match node.op:
        case Input() | Param() | Const():
            return []
        case Contract():
            return contract.pull(maker, identity, cotangent, active)
        case Pointwise():
            return pointwise.pull(maker, identity, cotangent, active)
        case Reduce():
            return reduce.pull(maker, identity, cotangent)
        case Softmax():
            return softmax.pull(maker, identity, cotangent)
        case Scan():
            return scan.pull(maker, identity, cotangent)
        case Transform():
            return transforms.pull(maker, identity, cotangent, active)
        case Scatter():
            return scatter.pull(maker, identity, cotangent, active)
        case Merge():
            return merge.pull(maker, identity, cotangent)
        case Call():
            raise OpaqueCall(identity)
        case _:
            assert_never(node.op)
