"""Sums against a delta: sum_j [j == i] x[j] = x[i], and sum_j [j == k[i]] x[j] = x[k[i]] else 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Const,
    Contract,
    Gather,
    Iota,
    Node,
    Pointwise,
    Read,
    Scalar,
    Semiring,
    Subscript,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.rewrite.compose import complete, constant, is_whole
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.factors import opened, with_factors
from tensorlang.size import same


def open_deltas(node: Node, site: Site) -> Node | None:
    """Open a factor that holds a delta under a sum, e.g. `x if i == j else 0`."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if not node.bound:
        return None
    for position, read in enumerate(node.reads):
        inner = site.node(read.node)
        if not isinstance(inner.op, Pointwise) or not _mentions_equal(inner.op.expr):
            continue
        plain = _condition(inner)
        if isinstance(plain, App) and plain.function == "eq":
            continue
        factors = opened(read, site, always=True)
        if factors is not None:
            return with_factors(node, position, factors)
    return None


def _mentions_equal(expr: Scalar) -> bool:
    if not isinstance(expr, App):
        return False
    return expr.function == "eq" or any(_mentions_equal(arg) for arg in expr.args)


def deltas(node: Node, site: Site) -> Node | None:
    """Do the sum that a delta picks one cell of."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    for position, read in enumerate(node.reads):
        rest = node.reads[:position] + node.reads[position + 1 :]
        if not is_whole(read) or read.fill is not None:
            continue
        axes = [s.index for s in read.subscripts if isinstance(s, At)]
        pair = _pair(axes, read, site)
        if not rest:
            return _counted(node, pair, site)
        if pair is not None:
            done = _identified(node, rest, *pair, site)
        else:
            done = _picked(node, rest, axes, read, site)
        if done is not None:
            return done
    return None


def _pair(axes: list[int], read: Read, site: Site) -> tuple[int, int] | None:
    """The two indices of an identity matrix or of `i == j`."""
    if len(axes) != 2 or axes[0] == axes[1]:
        return None
    match _condition(site.node(read.node)):
        case App("eq", (Iota(a), Iota(b))) if a != b:
            return axes[a], axes[b]
    match site.node(read.node).op:
        case Const(array):
            value = array.value
            square = len(set(value.shape)) == 1
            if square and value.dtype.kind != "b" and np.array_equal(value, np.eye(len(value))):
                return axes[0], axes[1]
    return None


def _condition(node: Node) -> Scalar | None:
    """The expression of a pointwise node, a cast of 0 and 1 to reals set aside."""
    match node.op:
        case Pointwise(App("to_real" | "to_int", (inner,))):
            return inner
        case Pointwise(expr):
            return expr
    return None


def _identified(node: Node, rest: tuple[Read, ...], a: int, b: int, site: Site) -> Node | None:
    """sum_b [a == b] f(a, b) = f(a, a), for indices of one size."""
    if not same(node.sizes[a], node.sizes[b]):
        return None
    if b not in node.bound:
        a, b = b, a
    if b not in node.bound:
        return None
    mentioned = {index for read in rest for index in read_indices(read)}
    if a not in mentioned and b not in mentioned:
        return None
    site.did("a delta picks one cell of a sum")
    return complete(_dropped(node, tuple(rename_read(read, {b: a}) for read in rest), b), site)


def _counted(node: Node, pair: tuple[int, int] | None, site: Site) -> Node | None:
    """sum_b [a == b] = 1."""
    if pair is None or sum(index in node.bound for index in pair) != 1 or len(node.bound) != 1:
        return None
    if not same(*(node.sizes[index] for index in pair)) or node.dtype is Dtype.COMPLEX:
        return None
    assert isinstance(node.op, Contract) and not isinstance(node.op.coefficient, complex), node
    site.did("a delta has one cell in a row")
    value = node.op.coefficient
    return constant(value if node.dtype is Dtype.INT else float(value), node.shape, node.dtype)


def _picked(
    node: Node, rest: tuple[Read, ...], axes: list[int], read: Read, site: Site
) -> Node | None:
    """sum_j [j == k[i]] x[j] y = x[k[i]] y, 0 where k[i] is outside."""
    delta = site.node(read.node)
    match _condition(delta):
        case App("eq", (Iota(axis), Arg(position))):
            pass
        case App("eq", (Arg(position), Iota(axis))):
            pass
        case _:
            return None
    j = axes[axis]
    key = rename_read(delta.reads[position], dict(enumerate(axes)))
    if site.node(key.node).dtype is not Dtype.INT or j in read_indices(key):
        return None
    if j not in node.bound or any(isinstance(s, Gather) for s in key.subscripts):
        return None
    out: list[Read] = []
    found = False
    for other in rest:
        if j not in read_indices(other):
            out.append(other)
            continue
        moved = _gathered(other, j, key)
        if moved is None:
            return None
        found = True
        out.append(moved)
    if not found or not all(site.finite(other.node) for other in rest):
        return None
    site.did("a one-hot sum is a gather")
    return complete(_dropped(node, tuple(out), j), site)


def _gathered(read: Read, index: int, key: Read) -> Read | None:
    if read.fill not in (None, 0):
        return None
    subscripts: list[Subscript] = []
    for subscript in read.subscripts:
        match subscript:
            case At(at) if at == index:
                subscripts.append(Gather(key, Boundary.ELSE))
            case At():
                subscripts.append(subscript)
            case _:
                return None
    return Read(read.node, tuple(subscripts), 0.0)


def _dropped(node: Node, reads: tuple[Read, ...], gone: int) -> Node:
    names = {index: index - 1 for index in range(gone + 1, len(node.sizes))}
    return replace(
        node,
        reads=tuple(rename_read(read, names) for read in reads),
        sizes=node.sizes[:gone] + node.sizes[gone + 1 :],
    )
