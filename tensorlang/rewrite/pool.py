"""A softmax-weighted mean of a linear map is the map of the mean: sum_j A[i j] (W x[j]) is
W (sum_j A[i j] x[j]), and sum_j A[i j] b is b where the row has a cell.
"""

from __future__ import annotations

from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Contract,
    Lit,
    Node,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Semiring,
    SizeOf,
)
from tensorlang.ir.reads import mentions, read_indices, rename_read
from tensorlang.order.grid import Point
from tensorlang.rewrite.apart import left_over, softmax_keys, summed_first
from tensorlang.rewrite.compose import complete
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.flatten import mergeable, merged
from tensorlang.rewrite.price import Comparison, compared, node_price, points
from tensorlang.size import same


def pool(node: Node, site: Site) -> Node | None:
    """Take the mean before the map of the values where that costs less."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    softmaxes = [k for k, read in enumerate(node.reads) if softmax_keys(read, node, site)]
    if len(softmaxes) != 1:
        return None
    weights = node.reads[softmaxes[0]]
    key = softmax_keys(weights, node, site)
    values = [k for k, r in enumerate(node.reads) if r is not weights and mentions(r, key)]
    if len(values) != 1 or site.uses(node.reads[values[0]].node) > 1:
        return None
    (at,) = values
    if not mergeable(node.op, node.reads[at], site):
        return None
    whole = merged(node, [at], site)
    inside = [r for r in whole.reads if mentions(r, key)]
    outside = [r for r in whole.reads if not mentions(r, key)]
    if len(inside) < 2 or not outside or not all(site.finite(r.node) for r in whole.reads):
        return None
    mean, kept = summed_first(whole, inside, outside)
    rest = left_over(whole, outside, kept, 0)
    value = site.node(node.reads[at].node)
    found = _compared((node, value), (mean, rest), site)
    if not found.mostly():
        return None
    site.did("the mean is taken before the linear map", found.saved())
    return left_over(whole, outside, kept, site.add(mean))


def _compared(before: tuple[Node, Node], after: tuple[Node, Node], site: Site) -> Comparison:
    options = site.options

    def total(nodes: tuple[Node, Node], point: Point) -> float:
        return sum(node_price(node, point, options) for node in nodes)

    where = points((*before[0].sizes, *before[1].sizes), options)
    return compared(where, lambda at: total(before, at), lambda at: total(after, at))


# --- rows sum to one -----------------------------------------------------------------------------
def unit_rows(node: Node, site: Site) -> Node | None:
    """The sum over a row of a softmax that nothing else weighs is 1, and 0 if the row is empty."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    for position, read in enumerate(node.reads):
        key = softmax_keys(read, node, site)
        rest = node.reads[:position] + node.reads[position + 1 :]
        if not key or not rest or any(mentions(other, key) for other in rest):
            continue
        if site.uses(read.node) < 2 or not site.finite(read.node):
            continue  # what nothing else reads would lose its gradient, which is 0
        one = _ones(read, key, node, site)
        reads = rest if one is None else (*rest, one)
        left = [index for index in range(len(node.sizes)) if index not in key]
        local = {index: place for place, index in enumerate(left)}
        named = tuple(rename_read(other, local) for other in reads)
        sizes = tuple(node.sizes[index] for index in left)
        site.did("a row of a softmax sums to 1")
        return complete(Node(node.op, named, sizes, node.rank, node.dtype), site)
    return None


def _ones(read: Read, key: tuple[int, ...], node: Node, site: Site) -> Read | None:
    """1 where a row has a cell, else 0; None where all have."""
    softmax = site.node(read.node)
    at = {axis: s.index for axis, s in enumerate(read.subscripts) if isinstance(s, At)}
    if len(softmax.reads) > 1:
        return _any(rename_read(softmax.reads[1], at), key, node, site)
    cells: list[Scalar] = []  # 0 for each index that has no position, else 1
    for index in key:
        size = node.sizes[index]
        never = isinstance(size, int) and size > 0
        if not never and not any(same(size, node.sizes[axis]) for axis in range(node.rank)):
            cells.append(App("min", (SizeOf(size), Lit(1, Dtype.INT)), Dtype.INT))
    if not cells:
        return None
    some = cells[0] if len(cells) == 1 else App("mul", tuple(cells), Dtype.INT)
    expr = App("to_real", (some,), Dtype.REAL)
    return Read(site.add(Node(Pointwise(expr), (), (), 0, Dtype.REAL)), ())


def _any(mask: Read, key: tuple[int, ...], node: Node, site: Site) -> Read:
    """Whether a mask holds anywhere in a row, as 1 or 0."""
    axes = [i for i in dict.fromkeys(read_indices(mask)) if i not in key]
    order = [*axes, *key]
    local = {index: place for place, index in enumerate(order)}
    sizes = tuple(node.sizes[index] for index in order)
    operand = rename_read(mask, local)
    if not set(key) <= set(read_indices(mask)):
        copy = Node(Pointwise(Arg(0)), (operand,), sizes, len(order), Dtype.BOOL)
        operand = Read(site.add(copy), tuple(At(k) for k in range(len(order))))
    found = Node(Reduce(ReduceOp.ANY), (operand,), sizes, len(axes), Dtype.BOOL)
    whole = Read(site.add(found), tuple(At(k) for k in range(len(axes))))
    cast = Pointwise(App("to_real", (Arg(0),), Dtype.REAL))
    made = Node(cast, (whole,), sizes[: len(axes)], len(axes), Dtype.REAL)
    return Read(site.add(made), tuple(At(index) for index in axes))
