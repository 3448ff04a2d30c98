"""Derivatives of transforms: the rule of each, and concat's, which takes the cotangent apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import assert_never

from tensorlang.check.program import Boundary, TransformOp
from tensorlang.differentiate import eigen, fourier, harmonics, matrices
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.ir.nodes import Affine, At, Node, NodeId, Read, Transform
from tensorlang.size import Size, simplest


def pull(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    given = maker.whole(cotangent)
    out: list[tuple[NodeId, Term]] = []
    for place, read in enumerate(node.reads):
        if read.node in active:
            product = _pulled(maker, identity, place, given)
            out.append((read.node, carried(maker, product, read)))
    return out


def _pulled(maker: Maker, identity: NodeId, place: int, given: Read) -> Product:
    """The cotangent of an argument, over the node's local indices."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    match node.op.op:
        case TransformOp.FFT | TransformOp.IFFT | TransformOp.RFFT | TransformOp.IRFFT:
            return fourier.pull(maker, node, node.op, given)
        case TransformOp.CONCAT:
            return _part(node, node.op, place, given)
        case TransformOp.INV:
            return matrices.pull_inverse(maker, identity, given)
        case TransformOp.SOLVE:
            return matrices.pull_solution(maker, identity, place, given)
        case TransformOp.CHOLESKY:
            return matrices.pull_cholesky(maker, identity, given)
        case TransformOp.SQRTM | TransformOp.EXPM | TransformOp.LOGM:
            return matrices.pull_function(maker, identity, given)
        case TransformOp.EIGVALS:
            return eigen.pull_values(maker, identity, given)
        case TransformOp.EIGVECS:
            return eigen.pull_vectors(maker, identity, given)
        case TransformOp.SPHERICAL_HARMONICS:
            return harmonics.pull(maker, identity, given)
        case _:
            assert_never(node.op.op)


def push(maker: Maker, identity: NodeId, tangents: Mapping[int, Read]) -> NodeId:
    """The tangent of the value from reads of the arguments' tangents."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    match node.op.op:
        case TransformOp.FFT | TransformOp.IFFT | TransformOp.RFFT | TransformOp.IRFFT:
            return maker.add(node.op, (tangents[0],), node.sizes, node.rank, node.dtype)
        case TransformOp.CONCAT:
            parts = [tangents.get(k) or _zeros(maker, read) for k, read in enumerate(node.reads)]
            return maker.add(node.op, parts, node.sizes, node.rank, node.dtype)
        case TransformOp.INV:
            return matrices.push_inverse(maker, identity, tangents[0])
        case TransformOp.SOLVE:
            return matrices.push_solution(maker, identity, tangents)
        case TransformOp.CHOLESKY:
            return matrices.push_cholesky(maker, identity, tangents[0])
        case TransformOp.SQRTM | TransformOp.EXPM | TransformOp.LOGM:
            return matrices.push_function(maker, identity, tangents[0])
        case TransformOp.EIGVALS:
            return eigen.push_values(maker, identity, tangents[0])
        case TransformOp.EIGVECS:
            return eigen.push_vectors(maker, identity, tangents[0])
        case TransformOp.SPHERICAL_HARMONICS:
            return harmonics.push(maker, identity, tangents[0])
        case _:
            assert_never(node.op.op)


# --- concat --------------------------------------------------------------------------------------
def _part(node: Node, op: Transform, place: int, given: Read) -> Product:
    """The cells that an argument fills."""
    offset: Size = 0
    for index in op.source[:place]:
        offset = simplest(offset + node.sizes[index])
    (target,) = op.target
    at = Affine(((op.source[place], 1),), offset, Boundary.INSIDE)
    subscripts = tuple(at if s == At(target) else s for s in given.subscripts)
    return Product((Read(given.node, subscripts),), node.sizes, node.rank, node.dtype)


def _zeros(maker: Maker, read: Read) -> Read:
    like = maker.graph.node(read.node)
    return Read(maker.full(0, like.shape, like.dtype), read.subscripts)
