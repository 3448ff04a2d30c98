"""Derivatives of spherical harmonics, by harmonics of one degree less (Varshalovich, 1988, 5.8).

The gradient of r^l Y_l is linear in r^(l-1) Y_(l-1); of Y(r / |r|) the part along r goes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from math import isqrt

import numpy as np

from tensorlang import registry
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker
from tensorlang.differentiate.reads import Product
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Array, At, Const, NodeId, Read, Transform
from tensorlang.ir.reads import rename_read
from tensorlang.library.angular import Real, wigner_3j


@functools.cache
def lowering(size: int) -> Real:
    """D[i, j, k]: the gradient of the solid harmonic j is the sum of D[i, j, k] times those k."""
    out = np.zeros((3, size, size))
    harmonics = registry.transforms()["spherical_harmonics"].numpy
    way = np.array([0.36, 0.48, 0.8])
    at = harmonics(way, sizes=(size,), norm="backward")
    for degree in range(1, isqrt(size)):
        below = slice((degree - 1) ** 2, degree**2)
        own = slice(degree**2, (degree + 1) ** 2)
        couple = np.transpose(wigner_3j(1, degree - 1, degree), (0, 2, 1))
        # Euler: r . grad = degree, which is the factor that the coupling lacks
        along = np.einsum("i,ijk,k,j->", way, couple, at[below], at[own])
        out[:, own, below] = couple * degree * (2 * degree + 1) / along
    out.setflags(write=False)
    return out


@functools.cache
def degrees(size: int) -> Real:
    return np.array([float(isqrt(j)) for j in range(size)])


def pull(maker: Maker, identity: NodeId, given: Read) -> Product:
    form = _Form(maker, identity)
    node, cells = form.node, maker.cells()
    first = cells.read(form.sum((form.table, given, form.below), (*form.batch, form.vector)))
    second = cells.read(form.sum((form.degrees, given, form.value), form.batch))
    inverse, x = cells.read(form.inverse_length()), cells.read(node.reads[0])
    radial = cells.apply("mul", x, inverse, second)
    expr = cells.apply("mul", inverse, cells.apply("add", first, cells.apply("neg", radial)))
    field = maker.computed(expr, cells, (*form.batch, form.vector), form.sizes)
    return Product((field,), node.sizes, node.rank, node.dtype)


def push(maker: Maker, identity: NodeId, tangent: Read) -> NodeId:
    form = _Form(maker, identity)
    node, cells = form.node, maker.cells()
    first = cells.read(form.sum((form.table, form.below, tangent), range(node.rank)))
    along = cells.read(form.sum((node.reads[0], tangent), form.batch))
    inverse = cells.read(form.inverse_length())
    value, degree = cells.read(form.value), cells.read(form.degrees)
    radial = cells.apply("mul", degree, value, inverse, along)
    expr = cells.apply("mul", inverse, cells.apply("add", first, cells.apply("neg", radial)))
    return maker.pointwise(expr, cells, node.shape)


class _Form:
    """The tensors of both rules, over the node's local indices and one for the degrees below."""

    def __init__(self, maker: Maker, identity: NodeId) -> None:
        self.maker, self.node = maker, maker.graph.node(identity)
        assert isinstance(self.node.op, Transform), self.node
        (axis,), (self.vector,) = self.node.op.target, self.node.op.source
        size = self.node.sizes[axis]
        assert isinstance(size, int), self.node
        below = len(self.node.sizes)
        self.batch = tuple(k for k in range(self.node.rank) if k != axis)
        self.sizes = {**dict(enumerate(self.node.sizes)), below: size}
        self.value = maker.whole(identity)
        self.below = rename_read(self.value, {axis: below})
        self.table = Read(self._const(lowering(size)), (At(self.vector), At(axis), At(below)))
        self.degrees = Read(self._const(degrees(size)), (At(axis),))

    def _const(self, value: Real) -> NodeId:
        return self.maker.add(Const(Array(value)), (), value.shape, value.ndim, Dtype.REAL)

    def sum(self, factors: tuple[Read, ...], out: Iterable[int]) -> Read:
        return self.maker.contracted(factors, 1, tuple(out), self.sizes, Dtype.REAL)

    def inverse_length(self) -> Read:
        """1 / |r|, 0 at the zero vector."""
        (vector,) = self.node.reads
        cells = self.maker.cells()
        square = cells.read(self.sum((vector, vector), self.batch))
        some = cells.apply("gt", square, number(0, Dtype.REAL))
        safe = cells.apply("where", some, square, number(1, Dtype.REAL))
        inverse = cells.apply("where", some, cells.apply("rsqrt", safe), number(0, Dtype.REAL))
        return self.maker.computed(inverse, cells, self.batch, self.sizes)
