"""A gathered factor of a product is formed once, as a value of its own, which others may share.

Positions that are known when compiling are checked then, not at every call.
"""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check.program import Boundary
from tensorlang.ir.nodes import (
    Arg,
    At,
    Const,
    Contract,
    Gather,
    Node,
    Pointwise,
    Read,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.rewrite.compose import is_whole
from tensorlang.rewrite.engine import Site
from tensorlang.size import Size


def form_gathers(node: Node, site: Site) -> Node | None:
    """x[k[i]] y[i j] with g[i] = x[k[i]] is g[i] y[i j]."""
    if not isinstance(node.op, Contract) or len(node.reads) < 2:
        return None
    for position, read in enumerate(node.reads):
        if not any(isinstance(subscript, Gather) for subscript in read.subscripts):
            continue
        axes = tuple(dict.fromkeys(read_indices(read)))
        local = {index: place for place, index in enumerate(axes)}
        sizes = tuple(node.sizes[index] for index in axes)
        dtype = site.node(read.node).dtype
        copy = Node(Pointwise(Arg(0)), (rename_read(read, local),), sizes, len(axes), dtype)
        formed = Read(site.add(copy), tuple(At(index) for index in axes))
        reads = (*node.reads[:position], formed, *node.reads[position + 1 :])
        return replace(node, reads=reads)
    return None


def known_positions(node: Node, site: Site) -> Node | None:
    """x[k[i]] with a constant k whose values all lie in range needs no check."""
    reads = tuple(_checked(read, site) for read in node.reads)
    return None if reads == node.reads else replace(node, reads=reads)


def _checked(read: Read, site: Site) -> Read:
    shape = site.node(read.node).shape
    subscripts = tuple(
        _known(s, size, site) if isinstance(s, Gather) else s
        for s, size in zip(read.subscripts, shape, strict=True)
    )
    return replace(read, subscripts=subscripts)


def _known(subscript: Gather, size: Size, site: Site) -> Gather:
    """The positions, inside if they are: a dynamic size is left to the check."""
    op = site.node(subscript.read.node).op
    if subscript.boundary is not Boundary.CHECKED or not isinstance(op, Const):
        return subscript
    if not isinstance(size, int) or not is_whole(subscript.read):
        return subscript
    cells = op.array.value
    inside = cells.size == 0 or (cells.min() >= 0 and cells.max() < size)
    return replace(subscript, boundary=Boundary.INSIDE) if inside else subscript
