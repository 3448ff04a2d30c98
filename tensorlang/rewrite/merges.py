"""Reads through merged axes: a group read as a group is its parts, and a weight's axis is split
where its reader sums over it or returns it.

    W[(k p), (l q)] at [(k p), (l q)] is S[k, p, l, q]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tensorlang.check.program import Boundary
from tensorlang.ir.nodes import (
    Affine,
    At,
    Const,
    Contract,
    Group,
    Input,
    Merge,
    Node,
    NodeId,
    Param,
    Pointwise,
    Read,
    Subscript,
)
from tensorlang.ir.reads import identity_read, operands, rename_subscript, subscript_indices
from tensorlang.rewrite.engine import Site
from tensorlang.size import Size, same


def through_merges(node: Node, site: Site) -> Node | None:
    """Read what is behind a merge where all its groups are read as such."""
    if not isinstance(node.op, Contract | Pointwise):
        return None
    reads = [_through(read, node, site) for read in node.reads]
    if reads == list(node.reads):
        return None
    site.did("a merged axis is read as its parts")
    return replace(node, reads=tuple(reads))


def _through(read: Read, node: Node, site: Site) -> Read:
    inner = site.node(read.node)
    if not isinstance(inner.op, Merge):
        return read
    source = inner.reads[0].node
    sizes = site.node(source).shape
    subscripts: list[Subscript] = []
    for subscript, group in zip(read.subscripts, inner.op.groups, strict=True):
        if len(group) == 1:
            subscripts.append(subscript)
            continue
        parts = _parts(subscript, [sizes[axis] for axis in group], node)
        if parts is None:
            return read
        subscripts += parts
    return Read(source, tuple(subscripts), read.fill)


def _parts(subscript: Subscript, sizes: Sequence[Size], node: Node) -> list[Subscript] | None:
    """A position for each part of a group, a part of one cell without an index or with one."""
    if not isinstance(subscript, At | Group):
        return None
    indices = list(subscript_indices(subscript))
    if len(indices) != len(sizes):
        indices = [index for index in indices if node.sizes[index] != 1]
    out: list[Subscript] = []
    for place, size in enumerate(sizes):
        if len(indices) < len(sizes) - place and size == 1:
            out.append(Affine((), 0, Boundary.INSIDE))
        elif indices and same(node.sizes[indices[0]], size):
            out.append(At(indices.pop(0)))
        else:
            return None
    return None if indices else out


def split_weights(node: Node, site: Site) -> Node | None:
    """Split an index of a product that runs over a merged axis of a weight, everywhere.

    Only weights that no input is in: what is computed from inputs keeps the axes it was given.
    """
    if not isinstance(node.op, Contract):
        return None
    for read in node.reads:
        inner = site.node(read.node)
        if not isinstance(inner.op, Merge) or not is_weight(read.node, site):
            continue
        sizes = site.node(inner.reads[0].node).shape
        for subscript, group in zip(read.subscripts, inner.op.groups, strict=True):
            parts = [axis for axis in group if sizes[axis] != 1]
            if len(parts) > 1 and isinstance(subscript, At) and _splits(node, subscript.index):
                site.did("an index over a merged axis of a weight is split")
                return _split(node, site, subscript.index, [sizes[axis] for axis in group])
    return None


def is_weight(identity: NodeId, site: Site) -> bool:
    """Whether a value is made of params and consts alone."""
    todo, seen = [identity], {identity}
    while todo:
        node = site.node(todo.pop())
        if isinstance(node.op, Input):
            return False
        if not isinstance(node.op, Param | Const | Contract | Pointwise | Merge):
            return False
        for operand in operands(node):
            if operand not in seen:
                seen.add(operand)
                todo.append(operand)
    return True


def _splits(node: Node, index: int) -> bool:
    """Whether an index stands only where its parts can stand: alone or in a group."""
    return all(
        isinstance(subscript, At | Group) or index not in subscript_indices(subscript)
        for read in node.reads
        for subscript in read.subscripts
    )


def _split(node: Node, site: Site, index: int, sizes: Sequence[Size]) -> Node:
    """The product with an index replaced by its parts; merged again if it is an axis."""
    parts: dict[int, tuple[int, ...]] = {}
    new: list[Size] = []
    for old, size in enumerate(node.sizes):
        own = list(sizes) if old == index else [size]
        parts[old] = tuple(range(len(new), len(new) + len(own)))
        new += own
    groups = tuple(parts[axis] for axis in range(node.rank))
    rank = sum(map(len, groups))
    reads = tuple(
        Read(r.node, tuple(_renamed(s, parts) for s in r.subscripts), r.fill) for r in node.reads
    )
    product = Node(node.op, reads, tuple(new), rank, node.dtype)
    if index >= node.rank:
        return product
    whole = site.add(product)
    return Node(Merge(groups), (identity_read(whole, rank),), node.shape, node.rank, node.dtype)


def _renamed(subscript: Subscript, parts: Mapping[int, tuple[int, ...]]) -> Subscript:
    match subscript:
        case At(index):
            return At(parts[index][0]) if len(parts[index]) == 1 else Group(parts[index])
        case Group(indices):
            return Group(tuple(part for index in indices for part in parts[index]))
        case _:
            return rename_subscript(subscript, {old: new[0] for old, new in parts.items()})
