"""Reads of reads, and parts of scalar expressions as nodes of their own: what rules build with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Contract,
    Gather,
    Group,
    Iota,
    Lit,
    Node,
    Pointwise,
    Read,
    Scalar,
    SizeOf,
    Subscript,
)
from tensorlang.ir.reads import leaves, read_indices, rename_read, substitute
from tensorlang.rewrite.engine import Site
from tensorlang.size import Size

Number = int | float | complex


def compose(outer: Read, inner: Read) -> Read | None:
    """`inner`, written over the axes of the node that `outer` reads, at the subscripts of `outer`.

    None where the two boundaries cannot be told as one.
    """
    mentioned = set(read_indices(inner))
    for axis, subscript in enumerate(outer.subscripts):
        if axis not in mentioned and not _harmless(subscript):
            return None
    subscripts: list[Subscript] = []
    for subscript in inner.subscripts:
        moved = _through(subscript, outer.subscripts)
        if moved is None:
            return None
        subscripts.append(moved)
    fill = inner.fill
    if outer.fill is not None:
        if fill is not None and fill != outer.fill:
            return None
        fill = outer.fill
    return Read(inner.node, tuple(subscripts), fill)


def _through(subscript: Subscript, outer: Sequence[Subscript]) -> Subscript | None:
    match subscript:
        case At(axis):
            return outer[axis]
        case Group(axes):
            indices = [s.index for axis in axes if isinstance(s := outer[axis], At)]
            return Group(tuple(indices)) if len(indices) == len(axes) else None
        case Affine(terms, offset, boundary):
            return _affine(terms, offset, boundary, outer)
        case Gather(read, boundary):
            if not all(_harmless(outer[axis]) for axis in read_indices(read)):
                return None
            moved = compose(Read(read.node, tuple(outer)), read)
            return None if moved is None else Gather(moved, boundary)


def _affine(
    terms: Iterable[tuple[int, int]],
    offset: Size,
    boundary: Boundary,
    outer: Sequence[Subscript],
) -> Affine | None:
    total: dict[int, int] = {}
    shift = offset
    for axis, factor in terms:
        match outer[axis]:
            case At(index):
                total[index] = total.get(index, 0) + factor
            case Affine(inner, more, Boundary.INSIDE):
                for index, coefficient in inner:
                    total[index] = total.get(index, 0) + factor * coefficient
                shift = shift + factor * more
            case _:
                return None
    merged = tuple(sorted((i, c) for i, c in total.items() if c))
    return Affine(merged, shift, boundary)


def _harmless(subscript: Subscript) -> bool:
    """Reading less of it loses neither a check nor an outside."""
    match subscript:
        case At() | Group():
            return True
        case Affine(_, _, boundary) | Gather(_, boundary):
            return boundary not in {Boundary.ELSE, Boundary.CHECKED}


def scalar_dtype(expr: Scalar, reads: Sequence[Read], site: Site) -> Dtype:
    match expr:
        case Arg(position):
            return site.node(reads[position].node).dtype
        case Lit(_, dtype) | App(_, _, dtype):
            return dtype
        case Iota() | SizeOf():
            return Dtype.INT


def scalar_indices(expr: Scalar, reads: Sequence[Read]) -> tuple[int, ...]:
    """Local indices that an expression depends on, in order of mention."""
    out: dict[int, None] = {}
    for leaf in leaves(expr):
        if isinstance(leaf, Arg):
            out.update(dict.fromkeys(read_indices(reads[leaf.position])))
        elif isinstance(leaf, Iota):
            out[leaf.index] = None
    return tuple(out)


def part(node: Node, expr: Scalar, site: Site) -> Read:
    """A part of a Pointwise node's expression as a read over the node's local indices.

    A bare Arg is its read; anything else becomes a node over just the indices that it mentions.
    """
    if isinstance(expr, Arg):
        return node.reads[expr.position]
    made, axes = part_node(node, expr, site)
    return Read(site.add(made), tuple(At(index) for index in axes))


def part_node(node: Node, expr: Scalar, site: Site) -> tuple[Node, list[int]]:
    """A part of a Pointwise node's expression as a node, and the local indices of its axes."""
    axes = sorted(scalar_indices(expr, node.reads))
    local = {index: place for place, index in enumerate(axes)}

    def move(leaf: Scalar) -> Scalar:
        return Iota(local[leaf.index]) if isinstance(leaf, Iota) else leaf

    made = Node(
        Pointwise(substitute(expr, move)),
        tuple(rename_read(read, local) for read in node.reads),
        tuple(node.sizes[index] for index in axes),
        len(axes),
        scalar_dtype(expr, node.reads, site),
    )
    return _pruned(made), axes


def _pruned(node: Node) -> Node:
    """Drop reads that the expression does not use: they may mention indices that are gone."""
    assert isinstance(node.op, Pointwise), node
    used = sorted({leaf.position for leaf in leaves(node.op.expr) if isinstance(leaf, Arg)})
    if len(used) == len(node.reads):
        return node
    place = {old: new for new, old in enumerate(used)}

    def move(leaf: Scalar) -> Scalar:
        return Arg(place[leaf.position]) if isinstance(leaf, Arg) else leaf

    expr = substitute(node.op.expr, move)
    reads = tuple(node.reads[position] for position in used)
    return Node(Pointwise(expr), reads, node.sizes, node.rank, node.dtype)


def product(expr: Scalar) -> tuple[Number, list[Scalar]]:
    """An expression as number * factors: products, quotients and signs taken apart."""
    match expr:
        case Lit(value):
            return value, []
        case App("neg", (inner,), dtype) if dtype is not Dtype.BOOL:
            number, factors = product(inner)
            return -number, factors
        case App("mul", args):
            total: Number = 1
            out: list[Scalar] = []
            for arg in args:
                number, factors = product(arg)
                total = total * number
                out += factors
            return total, out
        case App("div", (above, below), dtype) if dtype is Dtype.REAL:
            number, factors = product(above)
            if isinstance(below, Lit) and below.value:
                return number / below.value, factors
            return number, [*factors, App("div", (Lit(1.0, Dtype.REAL), below), Dtype.REAL)]
    return 1, [expr]


def counted(term: Node) -> Node | None:
    """Over an index that no factor has, a sum is a multiplication by its size."""
    assert isinstance(term.op, Contract), term
    mentioned = {index for read in term.reads for index in read_indices(read)}
    kept = [i for i in range(len(term.sizes)) if i < term.rank or i in mentioned]
    coefficient = term.op.coefficient
    for index in term.bound:
        size = term.sizes[index]
        if index in mentioned:
            continue
        if not isinstance(size, int):
            return None
        coefficient = coefficient * size
    place = {index: new for new, index in enumerate(kept)}
    return replace(
        term,
        op=replace(term.op, coefficient=coefficient),
        reads=tuple(rename_read(read, place) for read in term.reads),
        sizes=tuple(term.sizes[index] for index in kept),
    )


def complete(node: Node, site: Site) -> Node:
    """A contraction some of whose axes no factor has: formed without them, then copied along."""
    assert isinstance(node.op, Contract), node
    mentioned = {index for read in node.reads for index in read_indices(read)}
    axes = [axis for axis in range(node.rank) if axis in mentioned]
    if len(axes) == node.rank:
        return node
    place = {index: new for new, index in enumerate([*axes, *node.bound])}
    narrow = Node(
        node.op,
        tuple(rename_read(read, place) for read in node.reads),
        tuple(node.sizes[index] for index in (*axes, *node.bound)),
        len(axes),
        node.dtype,
    )
    read = Read(site.add(narrow), tuple(At(axis) for axis in axes))
    return Node(Pointwise(Arg(0)), (read,), node.shape, node.rank, node.dtype)


def is_whole(read: Read) -> bool:
    """All axes at indices (repeats allowed), nothing else."""
    return all(isinstance(subscript, At) for subscript in read.subscripts)


def constant(value: Number, shape: Sequence[Size], dtype: Dtype) -> Node:
    """One number everywhere."""
    return Node(Pointwise(Lit(value, dtype)), (), tuple(shape), len(shape), dtype)
