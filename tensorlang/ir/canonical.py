"""One form for nodes that differ only by names of bound indices or by the order of factors.

Colour refinement over the bound indices; what it leaves tied is tried in every order as long as
that stays small, beyond that the order is the source's: a sharing may be missed, none is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, assert_never

from tensorlang.ir.nodes import (
    Affine,
    Arg,
    At,
    Contract,
    Gather,
    Group,
    Node,
    Pointwise,
    Read,
    Scalar,
    Scatter,
    Softmax,
    Subscript,
    Transform,
)
from tensorlang.ir.reads import leaves, rename_read, rename_subscript, substitute
from tensorlang.size import Size

_MOST_ORDERS = 64
Key = tuple[Any, ...]


def canonical(node: Node) -> Node:
    """The representative of all nodes equal to this one up to names and order of factors."""
    op = node.op
    if isinstance(op, Pointwise):
        return _pointwise(node, op)
    if isinstance(op, Softmax):
        return replace(node, op=Softmax(tuple(sorted(op.axes)), op.log))
    if len(node.bound) > 1:
        node = _renamed(node, _order(node))
    if isinstance(op, Contract) and len(node.reads) > 1:
        names = {index: index for index in range(len(node.sizes))}
        reads = sorted(node.reads, key=lambda read: _read_key(read, names))
        node = replace(node, reads=tuple(reads))
    return node


def _pointwise(node: Node, op: Pointwise) -> Node:
    """Reads in order of first use, each once, unused ones dropped."""
    position: dict[Read, int] = {}
    moved: dict[int, int] = {}
    for leaf in leaves(op.expr):
        if isinstance(leaf, Arg) and leaf.position not in moved:
            read = node.reads[leaf.position]
            moved[leaf.position] = position.setdefault(read, len(position))
    if all(old == new for old, new in moved.items()) and len(position) == len(node.reads):
        return node

    def move(leaf: Scalar) -> Scalar:
        return Arg(moved[leaf.position]) if isinstance(leaf, Arg) else leaf

    return replace(node, op=Pointwise(substitute(op.expr, move)), reads=tuple(position))


def _renamed(node: Node, order: tuple[int, ...]) -> Node:
    """Bound indices numbered in this order."""
    names = {old: node.rank + new for new, old in enumerate(order)}
    if all(old == new for old, new in names.items()):
        return node
    op = node.op
    match op:
        case Scatter(kind, targets):
            op = Scatter(kind, tuple(tuple(rename_subscript(s, names) for s in t) for t in targets))
        case Transform():
            op = replace(op, source=tuple(names[index] for index in op.source))
        case _:
            pass
    return replace(
        node,
        op=op,
        reads=tuple(rename_read(read, names) for read in node.reads),
        sizes=node.shape + tuple(node.sizes[index] for index in order),
    )


# --- canonical order of the bound indices --------------------------------------------------------
def _order(node: Node) -> tuple[int, ...]:
    edges = tuple(_edges(node))
    source = node.op.source if isinstance(node.op, Transform) else ()
    start: dict[int, Any] = {
        index: (_size_key(node.sizes[index]), source.index(index) if index in source else -1)
        for index in node.bound
    }
    best: tuple[list[Key], tuple[int, ...]] | None = None
    budget = _MOST_ORDERS
    stack = [_refine(edges, _ranked(start, node.rank), node.rank)]
    while stack:
        colours = stack.pop()
        tied = _first_tie(colours)
        if tied:
            stack.extend(
                _refine(edges, _single_out(colours, index), node.rank)
                for index in _representatives(edges, colours, tied)
            )
            budget -= 1
            if budget < 0:
                return tuple(node.bound)
            continue
        order = tuple(sorted(colours, key=colours.__getitem__))
        names = {old: node.rank + new for new, old in enumerate(order)}
        certificate = sorted(_edge_key(edge, names) for edge in edges)
        if best is None or certificate < best[0]:
            best = (certificate, order)
    assert best is not None, node
    return best[1]


Edge = tuple[int, tuple[Read, ...], tuple[Subscript, ...]]


def _edges(node: Node) -> Iterator[Edge]:
    """What ties indices together: a read, and its target in a Scatter; factors have no position."""
    for position, read in enumerate(node.reads):
        targets = node.op.targets[position] if isinstance(node.op, Scatter) else ()
        yield (0 if isinstance(node.op, Contract) else position, (read,), targets)


def _refine(edges: tuple[Edge, ...], colours: dict[int, int], rank: int) -> dict[int, int]:
    while True:
        classes = len(set(colours.values()))
        if classes == len(colours):
            return colours
        seen: dict[int, list[Key]] = {index: [] for index in colours}
        for edge in edges:
            key = _edge_key(edge, colours)
            for index, label in _occurrences(edge):
                if index in seen:
                    seen[index].append((key, label))
        finer = _ranked({i: (c, sorted(seen[i])) for i, c in colours.items()}, rank)
        if len(set(finer.values())) == classes:
            return colours
        colours = finer


def _ranked(keys: Mapping[int, Any], rank: int) -> dict[int, int]:
    """Colours rank, rank + 1, … in the order of the keys; axes keep 0 … rank - 1 for themselves.

    A class takes as many numbers as it has members, so that one singled out has a number free.
    """
    out: dict[int, int] = {}
    for place, index in enumerate(sorted(keys, key=keys.__getitem__)):
        same = [other for other in out if keys[other] == keys[index]]
        out[index] = out[same[0]] if same else rank + place
    return {index: out[index] for index in keys}


def _first_tie(colours: dict[int, int]) -> list[int]:
    classes: dict[int, list[int]] = {}
    for index, colour in colours.items():
        classes.setdefault(colour, []).append(index)
    return next((classes[c] for c in sorted(classes) if len(classes[c]) > 1), [])


def _single_out(colours: dict[int, int], index: int) -> dict[int, int]:
    """`index` comes first of its class."""
    return {
        other: colour + 1 if colour == colours[index] and other != index else colour
        for other, colour in colours.items()
    }


def _representatives(
    edges: tuple[Edge, ...], colours: dict[int, int], tied: list[int]
) -> list[int]:
    """Members of a class, less those that swapping with an earlier one changes nothing."""
    names = {index: index for index in colours}
    plain = sorted(_edge_key(edge, names) for edge in edges)
    kept: list[int] = []
    for index in tied:
        for other in kept:
            swapped = {**names, index: other, other: index}
            if sorted(_edge_key(edge, swapped) for edge in edges) == plain:
                break
        else:
            kept.append(index)
    return kept


def _occurrences(edge: Edge) -> Iterator[tuple[int, Key]]:
    _, reads, targets = edge
    for read in reads:
        yield from _subscripts(read.subscripts, (0,))
    yield from _subscripts(targets, (1,))


def _subscripts(subscripts: tuple[Subscript, ...], path: Key) -> Iterator[tuple[int, Key]]:
    for slot, subscript in enumerate(subscripts):
        match subscript:
            case At(index):
                yield index, (*path, slot)
            case Group(indices):
                yield from ((index, (*path, slot, k)) for k, index in enumerate(indices))
            case Affine(terms):
                yield from ((index, (*path, slot, factor)) for index, factor in terms)
            case Gather(read):
                yield from _subscripts(read.subscripts, (*path, slot))
            case _:
                assert_never(subscript)


# --- keys that order edges and reads -------------------------------------------------------------
def _edge_key(edge: Edge, names: Mapping[int, int]) -> Key:
    position, reads, targets = edge
    return (
        position,
        tuple(_read_key(read, names) for read in reads),
        tuple(_subscript_key(target, names) for target in targets),
    )


def _read_key(read: Read, names: Mapping[int, int]) -> Key:
    return (
        read.node,
        tuple(_subscript_key(subscript, names) for subscript in read.subscripts),
        "" if read.fill is None else repr(read.fill),
    )


def _subscript_key(subscript: Subscript, names: Mapping[int, int]) -> Key:
    match subscript:
        case At(index):
            return (0, names.get(index, index))
        case Group(indices):
            return (1, tuple(names.get(index, index) for index in indices))
        case Affine(terms, offset, boundary):
            named = sorted((names.get(index, index), factor) for index, factor in terms)
            return (2, tuple(named), _size_key(offset), boundary.value)
        case Gather(read, boundary):
            return (3, _read_key(read, names), boundary.value)
    assert_never(subscript)


def _size_key(size: Size) -> tuple[int, str]:
    return (size, "") if isinstance(size, int) else (-1, _text(size))


@lru_cache(maxsize=4096)
def _text(size: Size) -> str:
    return str(size)
