"""Forward mode: tangents of inputs carried to what is computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from tensorlang.differentiate import contract, merge, pointwise, reduce, scan, scatter, softmax
from tensorlang.differentiate import transform as transforms
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker, OpaqueCall, Term
from tensorlang.differentiate.reverse import depending
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
    Read,
    Reduce,
    Scan,
    Scatter,
    Softmax,
    Transform,
)


def jvp(
    graph: Graph, inputs: Sequence[tuple[NodeId, NodeId]], outputs: Sequence[NodeId]
) -> tuple[NodeId | None, ...]:
    """Tangents of outputs, given (input, its tangent); None where an output depends on none.

    An input counts as independent, whatever it is computed from.
    """
    maker = Maker(graph)
    tangents: dict[NodeId, NodeId] = dict(inputs)
    for identity in sorted(depending(graph, tangents, outputs)):
        if identity in tangents:
            continue
        maker.spans = graph.provenance(identity).spans
        moved = _moved(maker, identity, tangents)
        if moved is not None:
            tangents[identity] = moved
    return tuple(tangents.get(output) for output in outputs)


def _moved(maker: Maker, identity: NodeId, tangents: Mapping[NodeId, NodeId]) -> NodeId | None:
    node = maker.graph.node(identity)
    reads = {
        place: _read(maker, read, tangents[read.node])
        for place, read in enumerate(node.reads)
        if read.node in tangents
    }
    if not reads:
        return None
    first = next(iter(reads.values()))
    match node.op:
        case Input() | Param() | Const():
            return None
        case Contract():
            terms = [Term(Arg(0), (read,)) for read in contract.push(maker, identity, reads)]
            return maker.total(terms, identity)
        case Pointwise():
            found = pointwise.push(maker, identity, reads)
            if found is None:
                return None
            expr, cells = found
            return maker.total([Term(expr, tuple(cells.reads))], identity)
        case Reduce():
            return reduce.push(maker, identity, first).node
        case Softmax():
            return softmax.push(maker, identity, first).node
        case Scan():
            return scan.push(maker, identity, first).node
        case Transform():
            return transforms.push(maker, identity, reads)
        case Scatter():
            return scatter.push(maker, identity, reads).node
        case Merge():
            return merge.push(maker, identity, first.node)
        case Call():
            raise OpaqueCall(identity)
        case _:
            assert_never(node.op)


def _read(maker: Maker, read: Read, tangent: NodeId) -> Read:
    """A tangent read as its tensor is; what is read outside is constant."""
    zero = number(0, maker.graph.node(tangent).dtype).value
    return replace(read, node=tangent, fill=None if read.fill is None else zero)
