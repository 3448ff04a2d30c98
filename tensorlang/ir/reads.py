"""Reads and scalar expressions taken apart: the indices and operands they mention, and renaming."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Gather,
    Group,
    Iota,
    Lit,
    Node,
    NodeId,
    Read,
    Scalar,
    Scatter,
    SizeOf,
    Subscript,
)


def subscript_indices(subscript: Subscript) -> tuple[int, ...]:
    """Local indices that a subscript mentions, in order."""
    match subscript:
        case At(index):
            return (index,)
        case Group(indices):
            return indices
        case Affine(terms):
            return tuple(index for index, _ in terms)
        case Gather(read):
            return read_indices(read)
    assert_never(subscript)


def read_indices(read: Read) -> tuple[int, ...]:
    """Local indices that a read mentions, in order, repeated where it repeats them."""
    out: list[int] = []
    for subscript in read.subscripts:
        out.extend(subscript_indices(subscript))
    return tuple(out)


def mentions(read: Read, indices: Container[int]) -> bool:
    """Whether a read mentions one of these indices."""
    return any(index in indices for index in read_indices(read))


def read_operands(read: Read) -> Iterator[NodeId]:
    """The node read and those that its gathered subscripts read."""
    yield read.node
    for subscript in read.subscripts:
        if isinstance(subscript, Gather):
            yield from read_operands(subscript.read)


def operands(node: Node) -> tuple[NodeId, ...]:
    """All nodes that a node reads, in order of mention, each once."""
    out: dict[NodeId, None] = {}
    for read in node.reads:
        out.update(dict.fromkeys(read_operands(read)))
    if isinstance(node.op, Scatter):
        for target in node.op.targets:
            for subscript in target:
                if isinstance(subscript, Gather):
                    out.update(dict.fromkeys(read_operands(subscript.read)))
    return tuple(out)


def identity_read(
    node: NodeId, rank: int, fill: bool | int | float | complex | None = None
) -> Read:
    """Read of a whole tensor, axis k at local index k."""
    return Read(node, tuple(At(axis) for axis in range(rank)), fill)


# --- renaming local indices ----------------------------------------------------------------------
def rename_subscript(subscript: Subscript, names: Mapping[int, int]) -> Subscript:
    """Rename local indices; indices that `names` lacks stay."""
    match subscript:
        case At(index):
            return At(names.get(index, index))
        case Group(indices):
            return Group(tuple(names.get(index, index) for index in indices))
        case Affine(terms, offset, boundary):
            merged: dict[int, int] = {}
            for index, coefficient in terms:
                index = names.get(index, index)
                merged[index] = merged.get(index, 0) + coefficient
            return Affine(tuple(sorted((i, c) for i, c in merged.items() if c)), offset, boundary)
        case Gather(read, boundary):
            return Gather(rename_read(read, names), boundary)
    assert_never(subscript)


def rename_read(read: Read, names: Mapping[int, int]) -> Read:
    """Rename local indices of a read; indices that `names` lacks stay."""
    return Read(read.node, tuple(rename_subscript(s, names) for s in read.subscripts), read.fill)


# --- renaming operands ---------------------------------------------------------------------------
def redirect_read(read: Read, node: Callable[[NodeId], NodeId]) -> Read:
    """The same read of other nodes."""
    return Read(node(read.node), redirect_subscripts(read.subscripts, node), read.fill)


def redirect_subscripts(
    subscripts: Iterable[Subscript], node: Callable[[NodeId], NodeId]
) -> tuple[Subscript, ...]:
    """The same subscripts with gathered tensors replaced."""
    return tuple(
        Gather(redirect_read(s.read, node), s.boundary) if isinstance(s, Gather) else s
        for s in subscripts
    )


def redirect(node: Node, target: Callable[[NodeId], NodeId]) -> Node:
    """The same node reading other nodes (or slots), targets of a Scatter included."""
    op = node.op
    if isinstance(op, Scatter):
        op = replace(op, targets=tuple(redirect_subscripts(t, target) for t in op.targets))
    return replace(node, op=op, reads=tuple(redirect_read(read, target) for read in node.reads))


# --- scalar expressions --------------------------------------------------------------------------
def leaves(scalar: Scalar) -> Iterator[Arg | Lit | Iota | SizeOf]:
    """Leaves of a scalar expression, left to right."""
    if isinstance(scalar, App):
        for arg in scalar.args:
            yield from leaves(arg)
    else:
        yield scalar


def applied(scalar: Scalar) -> frozenset[str]:
    """The functions that an expression applies."""
    if not isinstance(scalar, App):
        return frozenset()
    return frozenset((scalar.function,)).union(*map(applied, scalar.args))


def substitute(scalar: Scalar, leaf: Callable[[Arg | Lit | Iota | SizeOf], Scalar]) -> Scalar:
    """Replace every leaf."""
    if not isinstance(scalar, App):
        return leaf(scalar)
    args = tuple(substitute(arg, leaf) for arg in scalar.args)
    return App(scalar.function, args, scalar.dtype, scalar.site)
