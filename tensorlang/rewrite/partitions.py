"""An axis that a linear map reads in parts is taken apart before it, once for all that do."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.nodes import Arg, At, Contract, Group, Node, Param, Pointwise, Read
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.rewrite.engine import Site


def partitions(node: Node, site: Site) -> Node | None:
    """Q[x, i, c] = X[(x i), d] * W[d, c] reads a view of X over x, i, d."""
    if not isinstance(node.op, Contract) or len(node.reads) != 2:
        return None
    reads = list(node.reads)
    for position, read in enumerate(reads):
        partner = site.node(reads[1 - position].node)
        if isinstance(partner.op, Param) and _is_in_parts(read):
            labels = {index: axis for axis, index in enumerate(read_indices(read))}
            sizes = tuple(node.sizes[index] for index in labels)
            dtype = site.node(read.node).dtype
            view = Node(Pointwise(Arg(0)), (rename_read(read, labels),), sizes, len(sizes), dtype)
            site.did("{} reads a view of an axis in parts")
            reads[position] = Read(site.add(view), tuple(At(index) for index in labels))
            return replace(node, reads=tuple(reads))
    return None


def _is_in_parts(read: Read) -> bool:
    indices = read_indices(read)
    return (
        any(isinstance(s, Group) for s in read.subscripts)
        and all(isinstance(s, At | Group) for s in read.subscripts)
        and read.fill is None
        and len(set(indices)) == len(indices)
    )
