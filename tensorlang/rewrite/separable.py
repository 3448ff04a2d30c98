"""A softmax of a sum over separate indices is a product of softmaxes, where its mask is a product.

softmax over (j, k) of a[i j] + b[i k] where m[i j] and w[i k] is softmax_j a * softmax_k b: two
attentions of order two in place of one of order three. A condition that ties j to k keeps them
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Iota,
    Lit,
    Node,
    Pointwise,
    Read,
    Scalar,
    SizeOf,
    Softmax,
)
from tensorlang.ir.reads import identity_read, rename_read, substitute
from tensorlang.rewrite.compose import compose, constant, is_whole, part, scalar_indices
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.factors import conjuncts
from tensorlang.size import Size

_MOST_OPENED = 8  # values inside the logits that are written out


@dataclass(frozen=True, slots=True)
class _Part:
    """A term of the logits or a condition of the mask: part of a node that the softmax reads."""

    read: Read
    opened: Node
    expr: Scalar
    axes: frozenset[int]  # of the softmax

    def formed(self, site: Site) -> Read:
        """Its value, over axes of the softmax."""
        composed = compose(self.read, part(self.opened, self.expr, site))
        assert composed is not None, self  # a softmax reads whole axes
        return composed


@dataclass(slots=True)
class _Group:
    """Softmax axes that belong together, the terms and the conditions that mention them."""

    axes: list[int]
    terms: list[_Part]
    conditions: list[_Part]


def separable(node: Node, site: Site) -> Node | None:
    """Split a softmax over several axes by the terms of its logits."""
    if not isinstance(node.op, Softmax) or len(node.op.axes) < 2 or node.dtype is not Dtype.REAL:
        return None
    masked = len(node.reads) > 1
    if masked and node.op.log:
        return None  # a row without cells is 0, which the sum of logarithms would not be
    terms = _parts(node.reads[0], "add", site)
    conditions = _parts(node.reads[1], "and", site) if masked else []
    groups = _groups(node.op.axes, terms, conditions)
    if len(groups) < 2:
        return None
    factors = [_softmax(group, node, site) for group in groups]
    site.did(f"logits that are a sum: {len(groups)} softmaxes")
    expr = App("add" if node.op.log else "mul", tuple(map(Arg, range(len(groups)))), node.dtype)
    return Node(Pointwise(expr), tuple(factors), node.shape, node.rank, node.dtype)


def _groups(axes: Sequence[int], terms: list[_Part], conditions: list[_Part]) -> list[_Group]:
    """The finest division of the axes that every term and condition respects."""
    groups = [[axis] for axis in axes]
    for each in (*terms, *conditions):
        tied = [group for group in groups if not each.axes.isdisjoint(group)]
        if len(tied) > 1:
            rest = [group for group in groups if group not in tied]
            groups = [[axis for group in tied for axis in group], *rest]
    out: list[_Group] = []
    for group in groups:
        other = {axis for axis in axes if axis not in group}
        if out:  # what mentions no axis of the softmax goes with the first
            mine = [
                [p for p in parts if not p.axes.isdisjoint(group)] for parts in (terms, conditions)
            ]
        else:
            mine = [[p for p in parts if p.axes.isdisjoint(other)] for parts in (terms, conditions)]
        out.append(_Group(group, *mine))
    return out


# --- terms of the logits, conditions of the mask -------------------------------------------------
def _parts(read: Read, function: str, site: Site) -> list[_Part]:
    """The terms of a sum or the conditions of a conjunction."""
    value = site.node(read.node)
    at = [s.index for s in read.subscripts if isinstance(s, At)]
    if not isinstance(value.op, Pointwise):
        whole = Node(
            Pointwise(Arg(0)),
            (identity_read(read.node, value.rank),),
            value.shape,
            value.rank,
            value.dtype,
        )
        return [_Part(read, whole, Arg(0), frozenset(at))]
    opened = _opened(value, function, site)
    assert isinstance(opened.op, Pointwise), opened
    exprs = _terms(opened.op.expr) if function == "add" else conjuncts(opened.op.expr)
    return [
        _Part(read, opened, expr, frozenset(at[i] for i in scalar_indices(expr, opened.reads)))
        for expr in exprs
    ]


def _opened(node: Node, function: str, site: Site) -> Node:
    """A pointwise node with sums (or conjunctions) that it reads written out."""
    for _ in range(_MOST_OPENED):
        assert isinstance(node.op, Pointwise), node
        for position, read in enumerate(node.reads):
            inner = site.node(read.node)
            if isinstance(inner.op, Pointwise) and _holds(inner.op.expr, function):
                opened = _written_out(node, position, inner) if is_whole(read) else None
                if opened is not None:
                    node = opened
                    break
        else:
            break
    return node


def _holds(expr: Scalar, function: str) -> bool:
    match expr:
        case App("mul" | "div" | "neg", args) if function == "add":
            return any(_holds(arg, function) for arg in args)
        case App(found):
            return found == function
    return isinstance(expr, Arg)


def _written_out(node: Node, position: int, inner: Node) -> Node | None:
    assert isinstance(node.op, Pointwise) and isinstance(inner.op, Pointwise), node
    outer = node.reads[position]
    reads = list(node.reads)
    for read in inner.reads:
        composed = compose(outer, read)
        if composed is None:
            return None
        reads.append(composed)
    at = [s.index for s in outer.subscripts if isinstance(s, At)]

    def inside(leaf: Scalar) -> Scalar:
        match leaf:
            case Arg(k):
                return Arg(len(node.reads) + k)
            case Iota(axis):
                return Iota(at[axis])
        return leaf

    body = substitute(inner.op.expr, inside)
    expr = substitute(node.op.expr, lambda leaf: body if leaf == Arg(position) else leaf)
    return Node(Pointwise(expr), tuple(reads), node.sizes, node.rank, node.dtype)


def _terms(expr: Scalar) -> list[Scalar]:
    """The terms of a sum, what multiplies or divides it put into each."""
    match expr:
        case App("add", args):
            return [term for arg in args for term in _terms(arg)]
        case App("neg", (arg,), dtype):
            return [App("neg", (term,), dtype) for term in _terms(arg)]
        case App("div", (above, below), dtype):
            return [App("div", (term, below), dtype) for term in _terms(above)]
        case App("mul", args, dtype):
            sums = [k for k, arg in enumerate(args) if len(_terms(arg)) > 1]
            if len(sums) == 1:
                (k,) = sums
                before, after = args[:k], args[k + 1 :]
                return [App("mul", (*before, t, *after), dtype) for t in _terms(args[k])]
    return [expr]


# --- one of the softmaxes ------------------------------------------------------------------------
def _softmax(group: _Group, node: Node, site: Site) -> Read:
    """The softmax of a group, over its axes and those that its terms and conditions mention."""
    assert isinstance(node.op, Softmax), node
    mentioned = {axis for each in (*group.terms, *group.conditions) for axis in each.axes}
    axes = sorted(mentioned | set(group.axes))
    along = tuple(axes.index(axis) for axis in group.axes)
    sizes = tuple(node.sizes[axis] for axis in axes)
    if not group.terms and not group.conditions:
        made = _even(sizes, node.op.log)
    else:
        local = {axis: place for place, axis in enumerate(axes)}
        reads = [_joined(group.terms, "add", Dtype.REAL, local, sizes, site)]
        if group.conditions:
            reads.append(_joined(group.conditions, "and", Dtype.BOOL, local, sizes, site))
        made = Node(Softmax(along, node.op.log), tuple(reads), sizes, len(axes), node.dtype)
    return Read(site.add(made), tuple(At(axis) for axis in axes))


def _even(sizes: tuple[Size, ...], log: bool) -> Node:
    """All cells alike."""
    cells: list[Scalar] = [App("to_real", (SizeOf(size),), Dtype.REAL) for size in sizes]
    count = cells[0] if len(cells) == 1 else App("mul", tuple(cells), Dtype.REAL)
    even = App("div", (Lit(1.0, Dtype.REAL), count), Dtype.REAL)
    expr = App("log", (even,), Dtype.REAL) if log else even
    return Node(Pointwise(expr), (), sizes, len(sizes), Dtype.REAL)


def _joined(
    parts: Sequence[_Part],
    function: str,
    dtype: Dtype,
    local: dict[int, int],
    sizes: tuple[Size, ...],
    site: Site,
) -> Read:
    """The sum or conjunction of parts, over all axes of the softmax."""
    rank = len(sizes)
    if not parts:
        made = constant(0.0, sizes, Dtype.REAL)
    else:
        args = tuple(Arg(k) for k in range(len(parts)))
        expr: Scalar = args[0] if len(args) == 1 else App(function, args, dtype)
        named = tuple(rename_read(each.formed(site), local) for each in parts)
        made = Node(Pointwise(expr), named, sizes, rank, dtype)
    return Read(site.add(made), tuple(At(axis) for axis in range(rank)))
