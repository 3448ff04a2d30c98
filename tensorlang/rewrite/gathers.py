"""A gathered factor of a product is formed once, as a value of its own, which others may share."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.nodes import Arg, At, Contract, Gather, Node, Pointwise, Read
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.rewrite.engine import Site


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
