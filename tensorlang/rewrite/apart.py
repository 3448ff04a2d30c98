"""Softmaxes side by side are attentions of their own: sum_jk A[i j] B[i k] v[j c] w[k c] is
(sum_j A[i j] v[j c]) * (sum_k B[i k] w[k c]).
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.ir.nodes import At, Contract, Node, Read, Semiring, Softmax
from tensorlang.ir.reads import mentions, read_indices, rename_read
from tensorlang.order.grid import Point
from tensorlang.rewrite.compose import is_whole
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points

_SLACK = 1.05  # an attention that is one step is worth as much more


def apart(node: Node, site: Site) -> Node | None:
    """Sum a softmax with the values that only it weighs, where the product has another softmax."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    keys = [softmax_keys(read, node, site) for read in node.reads]
    if sum(bool(key) for key in keys) < 2:
        return None
    for key in keys:
        others = [index for other in keys if other is not key for index in other]
        inside = [read for read in node.reads if mentions(read, key)]
        outside = [read for read in node.reads if not mentions(read, key)]
        if len(inside) < 2 or any(mentions(read, others) for read in inside):
            continue
        first, kept = summed_first(node, inside, outside)
        rest = left_over(node, outside, kept, 0)
        if not _pays(node, first, rest, site):
            continue
        site.did("a softmax is summed with its own values")
        return left_over(node, outside, kept, site.add(first))
    return None


def softmax_keys(read: Read, node: Node, site: Site) -> tuple[int, ...]:
    """The indices that a factor is a softmax over, if the product sums all of them, row by row."""
    op = site.node(read.node).op
    if not isinstance(op, Softmax) or op.log or not is_whole(read):
        return ()
    at = [s.index for s in read.subscripts if isinstance(s, At)]
    key = tuple(at[axis] for axis in op.axes)
    return key if all(index in node.bound and at.count(index) == 1 for index in key) else ()


def summed_first(
    node: Node, inside: Sequence[Read], outside: Sequence[Read]
) -> tuple[Node, tuple[int, ...]]:
    """The product of these factors, and its axes as indices of the whole."""
    mentioned = sorted({index for read in inside for index in read_indices(read)})
    needed = {*range(node.rank), *(index for read in outside for index in read_indices(read))}
    kept = tuple(index for index in mentioned if index in needed)
    order = (*kept, *(index for index in mentioned if index not in needed))
    local = {index: place for place, index in enumerate(order)}
    reads = tuple(rename_read(read, local) for read in inside)
    sizes = tuple(node.sizes[index] for index in order)
    return Node(Contract(), reads, sizes, len(kept), node.dtype), kept


def left_over(node: Node, outside: Sequence[Read], kept: Sequence[int], first: int) -> Node:
    """What is left of the product, with the value of those factors in their place."""
    reads = (Read(first, tuple(At(index) for index in kept)), *outside)
    mentioned = {index for read in reads for index in read_indices(read)}
    left = [*range(node.rank), *(index for index in node.bound if index in mentioned)]
    local = {index: place for place, index in enumerate(left)}
    named = tuple(rename_read(read, local) for read in reads)
    sizes = tuple(node.sizes[index] for index in left)
    return Node(node.op, named, sizes, node.rank, node.dtype)


def _pays(node: Node, first: Node, rest: Node, site: Site) -> bool:
    options = site.options

    def both(point: Point) -> float:
        return (node_price(first, point, options) + node_price(rest, point, options)) / _SLACK

    found = compared(points(node.sizes, options), both, lambda at: node_price(node, at, options))
    pairs = list(zip(found.before, found.after, strict=True))
    return 2 * sum(new <= old for new, old in pairs) > len(pairs)
