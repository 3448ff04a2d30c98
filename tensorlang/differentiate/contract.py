"""Derivatives of a Contract: a product of all factors but one; of a max-plus one, its ties."""

from __future__ import annotations

from collections.abc import Collection

from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.differentiate.ties import shared
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Contract, NodeId, Read, Semiring


def pull(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Contract), node
    out: list[tuple[NodeId, Term]] = []
    if node.op.semiring is not Semiring.SUM_PRODUCT:
        field = shared(maker, identity, cotangent)
        product = Product((field,), node.sizes, node.rank, node.dtype)
        for read in node.reads:
            if read.node in active:
                out.append((read.node, carried(maker, product, read)))
        return out
    coefficient = complex(node.op.coefficient).conjugate()
    for read, times in _counted(node.reads).items():
        if read.node not in active:
            continue
        rest = list(node.reads)
        rest.remove(read)
        factors = (maker.whole(cotangent), *(maker.conjugate(other) for other in rest))
        scale = (coefficient if coefficient.imag else node.op.coefficient) * times
        product = Product(factors, node.sizes, node.rank, node.dtype, scale)
        out.append((read.node, carried(maker, product, read)))
    return out


def _counted(reads: tuple[Read, ...]) -> dict[Read, int]:
    """Equal factors, as in a square, have equal derivatives."""
    out: dict[Read, int] = {}
    for read in reads:
        out[read] = out.get(read, 0) + 1
    return out


def push(maker: Maker, identity: NodeId, tangents: dict[int, Read]) -> list[Read]:
    """The tangent's terms, each over the node's axes."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Contract), node
    out: list[Read] = []
    if node.op.semiring is not Semiring.SUM_PRODUCT:
        one = maker.full(1, node.shape, Dtype.REAL)
        field = shared(maker, identity, one)
        for tangent in tangents.values():
            made = maker.add(Contract(), (field, tangent), node.sizes, node.rank, node.dtype)
            out.append(maker.whole(made))
        return out
    counted = _counted(node.reads)
    for place, tangent in tangents.items():
        times = counted.pop(node.reads[place], None)
        if times is None:
            continue
        reads = (*node.reads[:place], tangent, *node.reads[place + 1 :])
        op = Contract(node.op.coefficient * times)
        out.append(maker.whole(maker.add(op, reads, node.sizes, node.rank, node.dtype)))
    return out
