"""Derivatives of eigenvalues and eigenvectors of the Hermitian part of a matrix (Giles, 2008).

The vectors' carries the phase that makes one component positive: `_lead` names that component.
Where two eigenvalues are equal the vectors have no derivative, and it is not finite.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tensorlang.check.program import ReduceOp, TransformOp
from tensorlang.differentiate.cells import Cells, number
from tensorlang.differentiate.making import Maker
from tensorlang.differentiate.reads import Product
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import At, Iota, NodeId, Read, Reduce, Scalar, Transform
from tensorlang.ir.reads import identity_read, rename_read


# --- values --------------------------------------------------------------------------------------
def pull_values(maker: Maker, identity: NodeId, given: Read) -> Product:
    """sum over k of v_k g_k v_k^H."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    r, c = node.op.source
    dtype = maker.graph.node(node.reads[0].node).dtype
    vectors = _vectors(maker, identity)
    cells = maker.cells()
    slope = cells.cast(cells.read(given), dtype)
    made = maker.whole(maker.pointwise(slope, cells, node.shape))
    row = node.rank
    factors = (rename_read(vectors, {row: r}), made, maker.conjugate(_at(vectors, row, c)))
    return Product(factors, node.sizes, node.rank, dtype)


def push_values(maker: Maker, identity: NodeId, tangent: Read) -> NodeId:
    """The real part of v_k^H T v_k."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    r, c = node.op.source
    dtype = maker.graph.node(node.reads[0].node).dtype
    vectors, row = _vectors(maker, identity), node.rank
    factors = (maker.conjugate(_at(vectors, row, r)), tangent, _at(vectors, row, c))
    sizes = dict(enumerate(node.sizes))
    both = maker.contracted(factors, 1, range(node.rank), sizes, dtype)
    cells = maker.cells()
    return maker.pointwise(cells.apply("real", cells.read(both)), cells, node.shape)


def _at(read: Read, old: int, new: int) -> Read:
    return rename_read(read, {old: new})


def _vectors(maker: Maker, identity: NodeId) -> Read:
    """The eigenvectors of a node of eigenvalues, over its axes and the row, number `rank`."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Transform), node
    (axis,), (r, c), row = node.op.target, node.op.source, node.rank
    op = replace(node.op, op=TransformOp.EIGVECS, source=(r + 1, c + 1), target=(row, axis))
    matrix = rename_read(node.reads[0], {r: r + 1, c: c + 1})
    sizes = (*node.shape, node.sizes[r], *node.sizes[row:])
    dtype = maker.graph.node(matrix.node).dtype
    return maker.whole(maker.add(op, (matrix,), sizes, row + 1, dtype))


# --- vectors -------------------------------------------------------------------------------------
def pull_vectors(maker: Maker, identity: NodeId, given: Read) -> Product:
    """V (F o (V^H G)) V^H, of which the Hermitian part."""
    form = _Form(maker, identity)
    given = form.without_phase(given)
    i, row, column = form.other, form.row, form.column
    inner = form.sum((maker.conjugate(form.vectors(row, i)), given), (*form.batch, i, column))
    scaled = form.divided(inner)
    outer = form.sum(
        (form.vectors(form.r, i), scaled, maker.conjugate(form.vectors(form.c, column))),
        (*form.batch, form.r, form.c),
    )
    field = form.hermitian(outer)
    return Product((field,), form.node.sizes, form.node.rank, form.node.dtype)


def push_vectors(maker: Maker, identity: NodeId, tangent: Read) -> NodeId:
    """V (F o (V^H T V)), of the Hermitian part of T, with the phase held."""
    form = _Form(maker, identity)
    i, row, column = form.other, form.row, form.column
    hermitian = form.hermitian(tangent)
    inner = form.sum(
        (
            maker.conjugate(form.vectors(form.r, i)),
            hermitian,
            form.vectors(form.c, column),
        ),
        (*form.batch, i, column),
    )
    free = form.sum((form.vectors(row, i), form.divided(inner)), range(form.node.rank))
    return form.with_phase(free)


class _Form:
    """The tensors of both rules, over the node's local indices and one for another vector."""

    def __init__(self, maker: Maker, identity: NodeId) -> None:
        self.maker, self.identity, self.node = maker, identity, maker.graph.node(identity)
        assert isinstance(self.node.op, Transform), self.node
        self.row, self.column = self.node.op.target
        self.r, self.c = self.node.op.source
        self.other = len(self.node.sizes)
        size = self.node.sizes[self.row]
        self.sizes = {**dict(enumerate(self.node.sizes)), self.other: size}
        self.batch = tuple(k for k in range(self.node.rank) if k not in (self.row, self.column))

    def vectors(self, row: int, column: int) -> Read:
        return rename_read(self.maker.whole(self.identity), {self.row: row, self.column: column})

    def sum(self, factors: tuple[Read, ...], out: Iterable[int]) -> Read:
        return self.maker.contracted(factors, 1, tuple(out), self.sizes, self.node.dtype)

    def values(self) -> Read:
        """The eigenvalues, over the batch and the column."""
        axes = (*self.batch, self.column)
        local = {index: k for k, index in enumerate((*axes, self.r, self.c))}
        op = Transform(TransformOp.EIGVALS, (local[self.r], local[self.c]), (local[self.column],))
        sizes = [self.sizes[index] for index in local]
        matrix = rename_read(self.node.reads[0], local)
        made = self.maker.add(op, (matrix,), sizes, len(axes), Dtype.REAL)
        return Read(made, tuple(At(index) for index in axes))

    def divided(self, inner: Read) -> Read:
        """Each cell [i, k] by the difference of eigenvalues k and i, 0 on the diagonal."""
        cells = self.maker.cells()
        value = self.values()
        here, there = cells.read(value), cells.read(_at(value, self.column, self.other))
        same = cells.apply("eq", Iota(self.other), Iota(self.column))
        gap = cells.apply("add", here, cells.apply("neg", there))
        safe = cells.apply("where", same, number(1, Dtype.REAL), gap)
        quotient = cells.apply("div", cells.read(inner), safe)
        expr = cells.apply("where", same, number(0, self.node.dtype), quotient)
        labels = (*self.batch, self.other, self.column)
        return self.maker.computed(expr, cells, labels, self.sizes)

    def hermitian(self, matrix: Read) -> Read:
        cells = self.maker.cells()
        turned = rename_read(matrix, {self.r: self.c, self.c: self.r})
        other = cells.apply("conj", cells.read(turned))
        both = cells.apply("add", cells.read(matrix), other)
        half = cells.apply("mul", number(0.5, self.node.dtype), both)
        return self.maker.computed(half, cells, (*self.batch, self.r, self.c), self.sizes)

    # --- the phase, of complex vectors -----------------------------------------------------------
    def without_phase(self, given: Read) -> Read:
        """The cotangent before a vector is turned so that its lead is positive."""
        if self.node.dtype is not Dtype.COMPLEX:
            return given
        cells = self.maker.cells()
        along = (given, self.maker.conjugate(self.vectors(self.row, self.column)))
        turn = cells.apply("imag", cells.read(self.sum(along, (*self.batch, self.column))))
        push = cells.apply(
            "complex", number(0, Dtype.REAL), cells.apply("div", turn, self.lead(cells))
        )
        none = number(0, Dtype.COMPLEX)
        moved = cells.apply("where", self.leads(cells), push, none)
        expr = cells.apply("add", cells.read(given), cells.apply("neg", moved))
        return self.maker.computed(expr, cells, range(self.node.rank), self.sizes)

    def with_phase(self, free: Read) -> NodeId:
        """The tangent of the vectors from one whose lead may turn."""
        cells = self.maker.cells()
        expr: Scalar = cells.read(free)
        if self.node.dtype is Dtype.COMPLEX:
            none = number(0, Dtype.COMPLEX)
            led = cells.apply("where", self.leads(cells), expr, none)
            kept = self.maker.computed(led, cells, range(self.node.rank), self.sizes)
            there = cells.read(self.sum((kept,), (*self.batch, self.column)))
            angle = cells.apply("div", cells.apply("imag", there), self.lead(cells))
            turn = cells.apply("complex", number(0, Dtype.REAL), cells.apply("neg", angle))
            value = cells.read(self.vectors(self.row, self.column))
            expr = cells.apply("add", expr, cells.apply("mul", turn, value))
        return self.maker.pointwise(expr, cells, self.node.shape)

    def leads(self, cells: Cells) -> Scalar:
        """Whether a component is its vector's first of at least half the largest modulus."""
        rows, columns = (*self.batch, self.column, self.row), (*self.batch, self.column)
        own = self.maker.cells()
        modulus = own.apply("abs", own.read(self.vectors(self.row, self.column)))
        size = self.maker.computed(modulus, own, rows, self.sizes)
        most = own.read(self.reduced(ReduceOp.MAX, size, Dtype.REAL))
        twice = own.apply("mul", number(2, Dtype.REAL), own.read(size))
        large = own.apply("to_real", own.apply("ge", twice, most))
        first = self.reduced(
            ReduceOp.ARGMAX, self.maker.computed(large, own, rows, self.sizes), Dtype.INT
        )
        assert first.subscripts == tuple(map(At, columns)), first
        return cells.apply("eq", Iota(self.row), cells.read(first))

    def reduced(self, kind: ReduceOp, read: Read, dtype: Dtype) -> Read:
        """A reduction over the rows, which are the last axis of the tensor read."""
        rank = len(read.subscripts) - 1
        whole = identity_read(read.node, rank + 1)
        sizes = self.maker.graph.node(read.node).shape
        made = self.maker.add(Reduce(kind), (whole,), sizes, rank, dtype)
        return Read(made, read.subscripts[:-1])

    def lead(self, cells: Cells) -> Scalar:
        """The positive component, over the batch and the column."""
        own = self.maker.cells()
        value = own.read(self.vectors(self.row, self.column))
        led = own.apply("where", self.leads(own), value, number(0, Dtype.COMPLEX))
        kept = self.maker.computed(led, own, range(self.node.rank), self.sizes)
        return cells.apply("real", cells.read(self.sum((kept,), (*self.batch, self.column))))
