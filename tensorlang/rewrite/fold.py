"""Numbers known at compile time: out of scalar expressions, products, sums over one cell."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tensorlang.check.program import Boundary, ReduceOp
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
    NodeId,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Semiring,
    SizeOf,
    Softmax,
    Subscript,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.registry import functions
from tensorlang.rewrite.compose import complete, compose, constant, counted, is_whole, scalar_dtype
from tensorlang.rewrite.engine import Site

_KINDS = (np.bool_, np.int64, np.float64, np.complex128)
_NEVER = {"dropout", "stopgrad"}


def literal_of(read: Read, site: Site) -> Lit | None:
    """The number that a read gives everywhere, outside included."""
    node = site.node(read.node)
    if not isinstance(node.op, Pointwise) or not isinstance(node.op.expr, Lit):
        return None
    if any(isinstance(s, Gather) and s.boundary is Boundary.CHECKED for s in read.subscripts):
        return None
    if read.fill is not None and read.fill != node.op.expr.value:
        return None
    return node.op.expr


# --- scalar expressions --------------------------------------------------------------------------
def fold_scalars(node: Node, site: Site) -> Node | NodeId | None:
    """f(1, 2) is a number; x + 0, 1 * x, x / 1, --x are x; reads of numbers are numbers."""
    if not isinstance(node.op, Pointwise):
        return None
    expr = node.op.expr
    if isinstance(expr, Arg):
        return _view(node, node.reads[expr.position], site)
    known = [literal_of(read, site) for read in node.reads]
    folded = _fold(expr, node, known, site)
    if folded == expr:
        return None
    if isinstance(folded, Lit):
        site.did(f"a number, {folded.value!r}")
        return constant(folded.value, node.shape, node.dtype)
    return replace(node, op=Pointwise(folded))


def _view(node: Node, read: Read, site: Site) -> NodeId | None:
    """A copy of a whole tensor is that tensor."""
    source = site.node(read.node)
    same = read.subscripts == tuple(At(axis) for axis in range(node.rank))
    return read.node if same and source.rank == node.rank and source.dtype is node.dtype else None


def _fold(expr: Scalar, node: Node, known: list[Lit | None], site: Site) -> Scalar:
    match expr:
        case Arg(position):
            return known[position] or expr
        case SizeOf(size) if isinstance(size, int):
            return Lit(size, Dtype.INT)
        case App():
            args = tuple(_fold(arg, node, known, site) for arg in expr.args)
            if args != expr.args:
                expr = App(expr.function, args, expr.dtype, expr.site)
            return _simpler(expr, node, site)
    return expr


def _simpler(expr: App, node: Node, site: Site) -> Scalar:
    value = _value(expr)
    if value is not None:
        return value

    def typed(scalar: Scalar) -> Scalar:
        kind = scalar_dtype(scalar, node.reads, site)
        return scalar if kind is expr.dtype else expr

    match expr:
        case App("add" | "mul" | "and" | "or"):
            return _nary(expr, node, site)
        case App("neg", (App("neg", (inner,)),)):
            return typed(inner)
        case App("div", (above, Lit(1 | 1.0))):
            return typed(above)
        case App("pow", (base, Lit(1 | 1.0))):
            return typed(base)
        case App("where", (Lit(condition), then, otherwise)):
            return typed(then if condition else otherwise)
        case App("where", (_, then, otherwise)) if then == otherwise:
            return then
        case App("where", (condition, Lit(1), Lit(0))) if expr.dtype in _CASTS:
            return App(_CASTS[expr.dtype], (condition,), expr.dtype)
        case App("to_real" | "to_complex", (App("where", (condition, Lit() as a, Lit() as b)),)):
            then, otherwise = (Lit(_typed_number(c.value, expr.dtype), expr.dtype) for c in (a, b))
            return _simpler(App("where", (condition, then, otherwise), expr.dtype), node, site)
        case App("to_real" | "to_complex", (App("to_int", (condition,)),)):
            return App(expr.function, (condition,), expr.dtype)
        case App("not", (App("not", (inner,)),)):
            return inner
        case App("eq" | "le" | "ge", (Iota(a), Iota(b))) if a == b:
            return Lit(True, Dtype.BOOL)
        case App("ne" | "lt" | "gt", (Iota(a), Iota(b))) if a == b:
            return Lit(False, Dtype.BOOL)
        case App("dropout", (inner, Lit(0 | 0.0))):
            return typed(inner)
    return expr


_CASTS = {Dtype.INT: "to_int", Dtype.REAL: "to_real", Dtype.COMPLEX: "to_complex"}
_UNITS: dict[str, bool | int] = {"add": 0, "mul": 1, "and": True, "or": False}
_ZEROS: dict[str, bool] = {"and": False, "or": True}


def _nary(expr: App, node: Node, site: Site) -> Scalar:
    unit = _UNITS[expr.function]
    kept = [arg for arg in expr.args if not (isinstance(arg, Lit) and arg.value == unit)]
    if expr.function in _ZEROS:
        zero = _ZEROS[expr.function]
        if any(isinstance(arg, Lit) and arg.value is zero for arg in kept):
            return Lit(zero, Dtype.BOOL)
        kept = list(dict.fromkeys(kept))
    if expr.function == "mul" and expr.dtype is Dtype.INT and Lit(0, Dtype.INT) in kept:
        return Lit(0, Dtype.INT)
    if not kept:
        return Lit(_typed(unit, expr.dtype), expr.dtype)
    if len(kept) == 1:
        kind = scalar_dtype(kept[0], node.reads, site)
        return kept[0] if kind is expr.dtype else expr
    if tuple(kept) == expr.args:
        return expr
    if max(scalar_dtype(arg, node.reads, site) for arg in kept) is not expr.dtype:
        return expr
    return App(expr.function, tuple(kept), expr.dtype, expr.site)


def _typed(value: bool | int, dtype: Dtype) -> bool | int | float | complex:
    return (bool, int, float, complex)[dtype](value)


def _value(expr: App) -> Lit | None:
    values = [arg for arg in expr.args if isinstance(arg, Lit)]
    if len(values) < len(expr.args) or expr.function in _NEVER:
        return None
    row = functions()[expr.function]
    with np.errstate(all="ignore"):
        out = row.numpy(*(np.asarray(v.value, _KINDS[v.dtype])[()] for v in values))
    found = complex(out) if expr.dtype is Dtype.COMPLEX else np.asarray(out).item()
    return Lit(found, expr.dtype) if math.isfinite(abs(found)) else None


# --- products and sums ---------------------------------------------------------------------------
def fold_products(node: Node, site: Site) -> Node | NodeId | None:
    """Numbers among factors join the coefficient; 0 times is 0; a sum over one cell is none."""
    if not isinstance(node.op, Contract):
        return None
    op = node.op
    if not node.reads and not node.bound:
        value = _typed_number(op.coefficient, node.dtype)
        return constant(value, node.shape, node.dtype)
    if len(node.reads) == 1 and not node.bound:
        return _scaled(node, op.coefficient, site)
    once = _over_one_cell(node)
    if once is not None:
        return once
    if op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if op.coefficient == 0:
        return _zero(node, site)
    for position, read in enumerate(node.reads):
        value_here = literal_of(read, site)
        if value_here is None:
            continue
        rest = node.reads[:position] + node.reads[position + 1 :]
        if value_here.value == 0:
            return _zero(node, site)
        mentioned = {index for other in rest for index in read_indices(other)}
        gone = [index for index in node.bound if index not in mentioned]
        factor = op.coefficient * value_here.value
        sizes = [node.sizes[index] for index in gone]
        if not all(isinstance(size, int) for size in sizes):
            continue
        for size in sizes:
            factor = factor * int(size)
        site.did(f"the factor {value_here.value!r} joins the coefficient")
        left = _without(replace(node, op=replace(op, coefficient=factor), reads=rest), gone)
        if not left.reads:
            return constant(_typed_number(factor, node.dtype), node.shape, node.dtype)
        return complete(left, site)
    return None


def _scaled(node: Node, coefficient: int | float | complex, site: Site) -> Node | NodeId:
    """A product of one factor over no sum is that factor."""
    expr: Scalar = Arg(0)
    if coefficient != 1:
        number = Lit(_typed_number(coefficient, node.dtype), node.dtype)
        expr = App("mul", (number, expr), node.dtype)
        return Node(Pointwise(expr), node.reads, node.sizes, node.rank, node.dtype)
    copied = _view(node, node.reads[0], site)
    copy = Node(Pointwise(expr), node.reads, node.sizes, node.rank, node.dtype)
    return copy if copied is None else copied


def _zero(node: Node, site: Site) -> Node | None:
    if not all(site.finite(read.node) for read in node.reads):
        return None  # 0 * inf is NaN
    site.did("a product with 0 is 0")
    return constant(_typed_number(0, node.dtype), node.shape, node.dtype)


def _typed_number(value: int | float | complex, dtype: Dtype) -> bool | int | float | complex:
    if dtype is Dtype.COMPLEX:
        return complex(value)
    assert not isinstance(value, complex), (value, dtype)
    return (bool, int, float)[dtype](value)


def _over_one_cell(node: Node) -> Node | None:
    """sum_j x[i j] with |j| = 1 is x[i 0]."""
    gone = [index for index in node.bound if node.sizes[index] == 1]
    if not gone:
        return None
    reads = []
    for read in node.reads:
        subscripts = tuple(_fixed(s, gone) for s in read.subscripts)
        if any(s is None for s in subscripts):
            return None
        reads.append(Read(read.node, tuple(s for s in subscripts if s is not None), read.fill))
    return _without(replace(node, reads=tuple(reads)), gone)


def _fixed(subscript: Subscript, gone: list[int]) -> Subscript | None:
    """The subscript with the indices `gone` at 0; None where that has no form."""
    match subscript:
        case At(index) if index in gone:
            return Affine((), 0, Boundary.INSIDE)
        case Group(indices) if any(index in gone for index in indices):
            left = tuple(index for index in indices if index not in gone)
            if not left:
                return Affine((), 0, Boundary.INSIDE)
            return At(left[0]) if len(left) == 1 else Group(left)
        case Affine(terms, offset, boundary):
            return Affine(tuple(t for t in terms if t[0] not in gone), offset, boundary)
        case Gather(read, boundary):
            inner = tuple(_fixed(s, gone) for s in read.subscripts)
            if any(s is None for s in inner):
                return None
            moved = Read(read.node, tuple(s for s in inner if s is not None), read.fill)
            return Gather(moved, boundary)
    return subscript


def _without(node: Node, gone: list[int]) -> Node:
    """Drop bound indices that no read mentions any more."""
    if not gone:
        return node
    kept = [index for index in range(len(node.sizes)) if index not in gone]
    names = {index: place for place, index in enumerate(kept)}
    return replace(
        node,
        reads=tuple(rename_read(read, names) for read in node.reads),
        sizes=tuple(node.sizes[index] for index in kept),
    )


# --- masks and reductions ------------------------------------------------------------------------
def fold_conditions(node: Node, site: Site) -> Node | NodeId | None:
    """A mask that is true everywhere is none; one false everywhere leaves 0."""
    if isinstance(node.op, Softmax) and len(node.reads) > 1:
        value = literal_of(node.reads[1], site)
        if value is None:
            return None
        if value.value:
            site.did("the condition holds everywhere")
            return replace(node, reads=node.reads[:1])
        site.did("the condition holds nowhere")
        return constant(0.0, node.shape, node.dtype)
    return None


def fold_reductions(node: Node, site: Site) -> Node | None:
    """max, min, prod, logsumexp, any, all over one cell are that cell."""
    if not isinstance(node.op, Reduce) or node.op.op in {ReduceOp.ARGMAX, ReduceOp.ARGMIN}:
        return None
    if not node.bound or any(node.sizes[index] != 1 for index in node.bound):
        return None
    read = node.reads[0]
    subscripts = tuple(_fixed(s, list(node.bound)) for s in read.subscripts)
    if any(s is None for s in subscripts) or site.node(read.node).dtype is not node.dtype:
        return None
    moved = Read(read.node, tuple(s for s in subscripts if s is not None), read.fill)
    return Node(Pointwise(Arg(0)), (moved,), node.shape, node.rank, node.dtype)


# --- copies --------------------------------------------------------------------------------------
def fold_views(node: Node, site: Site) -> Node | None:
    """A read of a node that only reads another reads that other one."""
    if not isinstance(node.op, Contract | Pointwise):
        return None
    reads = list(node.reads)
    changed = False
    for position, read in enumerate(reads):
        inner = site.node(read.node)
        source = _only_read(inner)
        if source is None or site.node(source.node).dtype is not inner.dtype:
            continue
        if not is_whole(read) and not is_whole(source):
            continue
        composed = compose(read, source)
        if composed is not None:
            reads[position] = composed
            changed = True
    if not changed:
        return None
    node = replace(node, reads=tuple(reads))
    return _all_mentioned(node, site) if isinstance(node.op, Contract) else node


def _all_mentioned(node: Node, site: Site) -> Node | None:
    """The contraction, an index that no factor has any more taken out of it."""
    assert isinstance(node.op, Contract), node
    mentioned = {index for read in node.reads for index in read_indices(read)}
    if mentioned.issuperset(node.bound):
        return complete(node, site)
    if node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    once = counted(node)
    return None if once is None else complete(once, site)


def _only_read(node: Node) -> Read | None:
    """The read that a copy consists of; gathers stay where they are, formed once."""
    single = len(node.reads) == 1 and not node.bound
    copies = isinstance(node.op, Pointwise) and node.op.expr == Arg(0)
    scales = isinstance(node.op, Contract) and node.op.coefficient == 1
    if not single or not (copies or scales):
        return None
    read = node.reads[0]
    return None if any(isinstance(s, Gather) for s in read.subscripts) else read
