"""A condition that sets an index of a softmax or a maximum to an axis leaves nothing to run over.

softmax over (h', w') where h' == h is a softmax over w' at h' = h, and 0 elsewhere: attention over
the rows of an image is axial, however it is written. The condition may be a mask or -inf in the
logits; joined by `or` with another it sets nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tensorlang.check.program import ReduceOp
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
    Reduce,
    Scalar,
    Softmax,
)
from tensorlang.ir.reads import rename_read
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.factors import conjuncts
from tensorlang.size import same

_IDENTITIES = {
    ReduceOp.MAX: -math.inf,
    ReduceOp.LOGSUMEXP: -math.inf,
    ReduceOp.MIN: math.inf,
    ReduceOp.PROD: 1.0,
}


def equalities(node: Node, site: Site) -> Node | None:
    """Set an index to the axis that its condition says."""
    match node.op:
        case Softmax(_, False):
            return _softmax(node, site)
        case Reduce(op) if op in _IDENTITIES:
            return _reduce(node, _IDENTITIES[op], site)
    return None


def _reduce(node: Node, identity: float, site: Site) -> Node | None:
    (read,) = node.reads
    found = _equal(_conditions(read, identity, site), node.bound, node, site)
    if found is None:
        return None
    gone, kept = found
    left = [index for index in range(len(node.sizes)) if index != gone]
    chosen = _at(read, gone, kept, left)
    site.did("an index that its condition sets to an axis is that axis")
    rank = node.rank
    if len(node.bound) == 1:
        return Node(Pointwise(Arg(0)), (chosen,), node.shape, rank, node.dtype)
    sizes = tuple(node.sizes[index] for index in left)
    return Node(node.op, (_formed(chosen, node, left, site),), sizes, rank, node.dtype)


def _softmax(node: Node, site: Site) -> Node | None:
    assert isinstance(node.op, Softmax), node
    logits = node.reads[0]
    masked = len(node.reads) > 1
    said = _masks(node.reads[1], site) if masked else _conditions(logits, -math.inf, site)
    found = _equal(said, node.op.axes, node, site)
    if found is None:
        return None
    gone, kept = found
    left = [axis for axis in range(node.rank) if axis != gone]
    if len(node.op.axes) == 1:
        return _one_cell(node, site)
    sizes = tuple(node.sizes[axis] for axis in left)
    reads = tuple(_formed(_at(r, gone, kept, left), node, left, site) for r in node.reads)
    axes = tuple(left.index(axis) for axis in node.op.axes if axis != gone)
    inner = Node(Softmax(axes, log=False), reads, sizes, len(left), node.dtype)
    whole = Read(site.add(inner), tuple(At(axis) for axis in left))
    site.did("a softmax whose condition sets an index to an axis runs over the others")
    condition = App("eq", (Iota(gone), Iota(kept)), Dtype.BOOL)
    chosen = App("where", (condition, Arg(0), Lit(0.0, node.dtype)), node.dtype)
    return Node(Pointwise(chosen), (whole,), node.shape, node.rank, node.dtype)


def _one_cell(node: Node, site: Site) -> Node | None:
    """A softmax of at most one finite cell a row is 1 there."""
    if not site.finite(node.reads[0].node) or len(node.reads) < 2 or node.dtype is not Dtype.REAL:
        return None
    site.did("a softmax over one cell is 1")
    one = App("to_real", (Arg(0),), Dtype.REAL)
    return Node(Pointwise(one), node.reads[1:], node.shape, node.rank, node.dtype)


def _equal(
    said: Sequence[Scalar], along: Sequence[int], node: Node, site: Site
) -> tuple[int, int] | None:
    """(index, axis) of a condition that sets an index of `along` to an axis of the same size."""
    for condition in said:
        match condition:
            case App("eq", (Iota(a), Iota(b))):
                gone, kept = (a, b) if a in along else (b, a)
                inside = gone in along and kept not in along
                if inside and same(node.sizes[gone], node.sizes[kept]):
                    return gone, kept
    return None


def _masks(read: Read, site: Site) -> list[Scalar]:
    """The conditions of a mask, in the indices of its reader."""
    mask = site.node(read.node)
    return _named(conjuncts(mask.op.expr), read) if isinstance(mask.op, Pointwise) else []


def _conditions(read: Read, identity: float, site: Site) -> list[Scalar]:
    """Conditions outside of which a value is `identity`, in the indices of its reader."""
    value = site.node(read.node)
    if not isinstance(value.op, Pointwise):
        return []
    return _named(_needed(value.op.expr, identity, value, site), read)


def _needed(expr: Scalar, identity: float, node: Node, site: Site) -> list[Scalar]:
    match expr:
        case App("where", (condition, _, other)) if _is(other, identity):
            return conjuncts(condition)
        case App("where", (App("ne", pair), other, _)) if _is(other, identity):
            return [App("eq", pair, Dtype.BOOL)]
        case App("add", terms) if math.isinf(identity):
            for k, term in enumerate(terms):
                found = _needed(term, identity, node, site)
                others = terms[:k] + terms[k + 1 :]
                if found and all(site.finite.scalar(other, node) for other in others):
                    return found
    return []


def _is(expr: Scalar, value: float) -> bool:
    match expr:
        case Lit(found):
            return found == value
        case App("neg", (Lit(found),)):
            return -found == value
    return False


def _named(conditions: Sequence[Scalar], read: Read) -> list[Scalar]:
    """Comparisons of two indices of a node, in those of its reader."""
    at: Mapping[int, int] = {
        axis: s.index for axis, s in enumerate(read.subscripts) if isinstance(s, At)
    }
    out: list[Scalar] = []
    for condition in conditions:
        match condition:
            case App("eq", (Iota(a), Iota(b))):
                out.append(App("eq", (Iota(at[a]), Iota(at[b])), Dtype.BOOL))
    return out


def _at(read: Read, gone: int, kept: int, left: Sequence[int]) -> Read:
    """The read where one index is another, in the indices that are left."""
    place = {index: new for new, index in enumerate(left)}
    return rename_read(rename_read(read, {gone: kept}), place)


def _formed(read: Read, node: Node, left: Sequence[int], site: Site) -> Read:
    """A read of distinct axes; a diagonal is a value of its own."""
    at = [s.index for s in read.subscripts if isinstance(s, At)]
    axes = list(dict.fromkeys(at))
    if len(axes) == len(at):
        return read
    names = {index: place for place, index in enumerate(axes)}
    sizes = tuple(node.sizes[left[index]] for index in axes)
    dtype = site.node(read.node).dtype
    copy = Node(Pointwise(Arg(0)), (rename_read(read, names),), sizes, len(axes), dtype)
    return Read(site.add(copy), tuple(At(index) for index in axes))
