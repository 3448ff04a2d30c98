"""Derivatives of functions of matrices (Giles, 2008; Higham, 2008, chapter 3).

Local indices of such a node: its axes, among them the target's row and column, then the source's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tensorlang.check.program import Boundary, TransformOp
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker
from tensorlang.differentiate.reads import Product
from tensorlang.ir.nodes import (
    Affine,
    Arg,
    At,
    Contract,
    Iota,
    Node,
    NodeId,
    Pointwise,
    Read,
    Subscript,
    Transform,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.size import simplest


@dataclass(frozen=True, slots=True)
class _Square:
    """A function of square matrices, its indices by name: row and column of value and argument."""

    maker: Maker
    identity: NodeId
    node: Node
    op: Transform
    row: int
    column: int
    r: int
    c: int

    def value(self, row: int, column: int) -> Read:
        return self.at(self.identity, row, column)

    def at(self, identity: NodeId, row: int, column: int) -> Read:
        """A tensor with the node's axes, its row and column at these labels."""
        return rename_read(self.maker.whole(identity), {self.row: row, self.column: column})

    def sum(self, factors: tuple[Read, ...], coefficient: float = 1) -> NodeId:
        """A sum of a product over all local indices in use that are no axes."""
        used = {index for factor in factors for index in read_indices(factor)}
        count = max(used.union(range(self.node.rank))) + 1
        assert used >= set(range(count)), factors
        sizes = self.node.sizes[:count]
        op = Contract(coefficient)
        return self.maker.add(op, factors, sizes, self.node.rank, self.node.dtype)

    def swapped(self, read: Read) -> Read:
        """Row and column of value and argument in each other's place."""
        places = {self.row: self.r, self.column: self.c, self.r: self.row, self.c: self.column}
        return rename_read(read, places)

    def product(self, factors: tuple[Read, ...], coefficient: float = 1) -> Product:
        node = self.node
        return Product(factors, node.sizes, node.rank, node.dtype, coefficient)


def _square(maker: Maker, identity: NodeId) -> _Square:
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    (row, column), (r, c) = node.op.target, node.op.source
    return _Square(maker, identity, node, node.op, row, column, r, c)


# --- inverse and solution ------------------------------------------------------------------------
def pull_inverse(maker: Maker, identity: NodeId, given: Read) -> Product:
    """-Y^H G Y^H."""
    form = _square(maker, identity)
    left = maker.conjugate(form.value(form.row, form.r))
    right = maker.conjugate(form.value(form.c, form.column))
    return form.product((left, given, right), -1)


def push_inverse(maker: Maker, identity: NodeId, tangent: Read) -> NodeId:
    form = _square(maker, identity)
    left, right = form.value(form.row, form.r), form.value(form.c, form.column)
    return form.sum((left, tangent, right), -1)


def _solution(maker: Maker, identity: NodeId) -> tuple[Node, Transform, int, int, int]:
    """The node, its operation, the axis of the solution, row and column of the matrix."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    (at,), (r, c) = node.op.target, node.op.source
    return node, node.op, at, r, c


def pull_solution(maker: Maker, identity: NodeId, place: int, given: Read) -> Product:
    node, op, at, r, c = _solution(maker, identity)
    transposed = replace(op, source=(c, r))
    reads = (maker.conjugate(node.reads[0]), rename_read(given, {at: c}))
    made = maker.add(transposed, reads, node.sizes, node.rank, node.dtype)
    solution = rename_read(maker.whole(made), {at: r})
    if place == 1:
        return Product((solution,), node.sizes, node.rank, node.dtype)
    value = maker.conjugate(rename_read(maker.whole(identity), {at: c}))
    return Product((solution, value), node.sizes, node.rank, node.dtype, -1)


def push_solution(maker: Maker, identity: NodeId, tangents: Mapping[int, Read]) -> NodeId:
    node, op, at, r, c = _solution(maker, identity)
    cells = maker.cells()
    terms = []
    if 1 in tangents:
        terms.append(cells.read(rename_read(tangents[1], {r: at})))
    if 0 in tangents:  # over the rows: the axis of the solution takes their place
        factors = (
            rename_read(tangents[0], {r: at, at: r}),
            rename_read(maker.whole(identity), {at: c}),
        )
        bound = {index: k for k, index in enumerate(i for i in range(len(node.sizes)) if i != r)}
        sizes = [node.sizes[index] for index in bound]
        reads = tuple(rename_read(factor, bound) for factor in factors)
        made = maker.add(Contract(-1), reads, sizes, node.rank, node.dtype)
        terms.append(cells.read(maker.whole(made)))
    right = terms[0] if len(terms) == 1 else cells.apply("add", *terms)
    side = maker.pointwise(right, cells, node.shape)
    reads = (node.reads[0], rename_read(maker.whole(side), {at: r}))
    return maker.add(op, reads, node.sizes, node.rank, node.dtype)


# --- Cholesky ------------------------------------------------------------------------------------
def pull_cholesky(maker: Maker, identity: NodeId, given: Read) -> Product:
    """L^-H P(L^H G) L^-1, P the lower half, of which the Hermitian part."""
    form = _square(maker, identity)
    row, column, r, c = form.row, form.column, form.r, form.c
    factor = maker.conjugate(form.value(r, row))
    half = _lower_half(form, form.sum((factor, rename_read(given, {row: r}))))
    inverse = _inverse(form)
    left = maker.conjugate(form.at(inverse, r, row))
    middle = form.sum((left, form.at(half, r, c), form.at(inverse, c, column)))
    return form.product((form.at(_hermitian(form, middle), r, c),))


def push_cholesky(maker: Maker, identity: NodeId, tangent: Read) -> NodeId:
    """L P(L^-1 T L^-H), of the Hermitian part of T."""
    form = _square(maker, identity)
    row, column, r, c = form.row, form.column, form.r, form.c
    inverse = _inverse(form)
    left, right = form.at(inverse, row, r), maker.conjugate(form.at(inverse, column, c))
    half = _lower_half(form, _hermitian(form, form.sum((left, tangent, right))))
    return form.sum((form.value(row, r), form.at(half, r, column)))


def _inverse(form: _Square) -> NodeId:
    op = replace(form.op, op=TransformOp.INV)
    matrix, node = form.value(form.r, form.c), form.node
    return form.maker.add(op, (matrix,), node.sizes, node.rank, node.dtype)


def _lower_half(form: _Square, identity: NodeId) -> NodeId:
    """The lower triangle with half the diagonal."""
    cells, dtype = form.maker.cells(), form.node.dtype
    value = cells.read(form.maker.whole(identity))
    half = cells.apply("mul", number(0.5, dtype), value)
    below = cells.apply("gt", Iota(form.row), Iota(form.column))
    on = cells.apply("eq", Iota(form.row), Iota(form.column))
    rest = cells.apply("where", on, half, number(0, dtype))
    whole = cells.apply("where", below, value, rest)
    return form.maker.pointwise(whole, cells, form.node.shape)


def _hermitian(form: _Square, identity: NodeId) -> NodeId:
    """The Hermitian part of a matrix."""
    cells = form.maker.cells()
    other = cells.apply("conj", cells.read(form.at(identity, form.column, form.row)))
    both = cells.apply("add", cells.read(form.maker.whole(identity)), other)
    half = cells.apply("mul", number(0.5, form.node.dtype), both)
    return form.maker.pointwise(half, cells, form.node.shape)


# --- functions of a matrix -----------------------------------------------------------------------
def pull_function(maker: Maker, identity: NodeId, given: Read) -> Product:
    """The adjoint of the derivative at A is the derivative at A^H."""
    form = _square(maker, identity)
    turned = {form.r: form.column, form.c: form.row}
    adjoint = maker.conjugate(rename_read(form.node.reads[0], turned))
    return form.product((form.swapped(_derivative(form, adjoint, given)),))


def push_function(maker: Maker, identity: NodeId, tangent: Read) -> NodeId:
    form = _square(maker, identity)
    node = form.node
    made = _derivative(form, form.swapped(node.reads[0]), form.swapped(tangent))
    return maker.add(Pointwise(Arg(0)), (made,), node.shape, node.rank, node.dtype)


def _derivative(form: _Square, matrix: Read, along: Read) -> Read:
    """f([[A, E], [0, A]]) has the derivative of f at A along E in its corner."""
    maker, node, row, column = form.maker, form.node, form.row, form.column
    size = node.sizes[row]
    zero = number(0, node.dtype).value

    def block(read: Read, down: int, right: int) -> Read:
        def moved(subscript: Subscript) -> Subscript:
            for axis, by in ((row, down), (column, right)):
                if subscript == At(axis):
                    return Affine(((axis, 1),), simplest(-by * size), Boundary.ELSE)
            return subscript

        return Read(read.node, tuple(map(moved, read.subscripts)), zero)

    cells = maker.cells()
    parts = [block(matrix, 0, 0), block(matrix, 1, 1), block(along, 0, 1)]
    expr = cells.apply("add", *map(cells.read, parts))
    sizes = list(node.sizes)
    for index in (row, column, form.r, form.c):
        sizes[index] = simplest(2 * size)
    blocks = maker.pointwise(expr, cells, sizes[: node.rank])
    source = form.at(blocks, form.r, form.c)
    made = maker.whole(maker.add(form.op, (source,), sizes, node.rank, node.dtype))
    corner: dict[int, Subscript] = {
        row: Affine(((row, 1),), 0, Boundary.INSIDE),
        column: Affine(((column, 1),), size, Boundary.INSIDE),
    }
    return Read(made.node, tuple(corner.get(k, s) for k, s in enumerate(made.subscripts)))
