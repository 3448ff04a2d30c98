"""A product that is a value already, with its axes in another order, is a view of that value."""

from __future__ import annotations

from tensorlang.ir.canonical import canonical
from tensorlang.ir.nodes import Arg, At, Contract, Node, Pointwise, Read
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.rewrite.engine import Site


def share_turned(node: Node, site: Site) -> Node | None:
    """U[j, i] = A[i, k] * B[k, j] beside T[i, j] of the same is U[j, i] = T[i, j]."""
    if not isinstance(node.op, Contract) or node.rank < 2:
        return None
    node = canonical(node)
    labels = _mentioned(node)
    if len(labels) < len(node.sizes):
        return None
    key = (
        node.op,
        node.dtype,
        tuple(rename_read(read, labels) for read in node.reads),
        tuple(node.sizes[index] for index in labels),
        tuple(index < node.rank for index in labels),
    )
    first = site.products.setdefault(key, node)
    identity = None if first == node else site.stored(first)
    if identity is None:
        return None
    site.did("{} is a value that is there, its axes turned")
    theirs = _mentioned(first)
    own = {label: index for index, label in labels.items()}
    axes = tuple(At(own[theirs[axis]]) for axis in range(first.rank))
    return Node(Pointwise(Arg(0)), (Read(identity, axes),), node.shape, node.rank, node.dtype)


def _mentioned(node: Node) -> dict[int, int]:
    """Numbers of the indices in the order in which the factors mention them."""
    found = dict.fromkeys(index for read in node.reads for index in read_indices(read))
    return {index: number for number, index in enumerate(found)}
