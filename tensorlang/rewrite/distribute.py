"""A product over a sum of terms with fewer indices: sum_c q[i c] (k[j c] + w[k c]) is
sum_c q[i c] k[j c] + sum_c q[i c] w[k c].

Only where a term then factors and the whole costs less.
"""

from __future__ import annotations

import math

from tensorlang.ir.nodes import At, Contract, Node, Semiring
from tensorlang.ir.reads import mentions
from tensorlang.order.grid import Point, number
from tensorlang.rewrite.apart import softmax_keys
from tensorlang.rewrite.compose import scalar_indices
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.flatten import is_squared
from tensorlang.rewrite.hoist import distributed, summed, terms_of
from tensorlang.rewrite.price import Comparison, compared, node_price, points, stream
from tensorlang.size import Size

_MOST_FACTORS = 8


def distribute(node: Node, site: Site) -> Node | None:
    """Distribute over a sum one of whose terms lacks an index of the sum."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if not 1 < len(node.reads) <= _MOST_FACTORS:
        return None
    for position, read in enumerate(node.reads):
        inner = site.node(read.node)
        spans = [set(scalar_indices(term, inner.reads)) for term in terms_of(read, site)]
        if not any(len(span) < inner.rank for span in spans):
            continue
        if is_squared(read, node) or _keeps(node, position, spans, site):
            continue
        spread = distributed(node, position, site)
        if spread is None:
            continue
        shared = site.uses(read.node) > 1
        found = _compared(node, None if shared else inner, spread, site)
        if found.mostly():
            site.did(f"distributed over a sum of {len(spread)} terms", found.saved())
            return summed(node, spread, site)
    return None


def _keeps(node: Node, position: int, spans: list[set[int]], site: Site) -> bool:
    """Whether a softmax would be summed with the values of several terms: it is formed for one."""
    at = [s.index for s in node.reads[position].subscripts if isinstance(s, At)]
    for k, read in enumerate(node.reads):
        key = softmax_keys(read, node, site)
        others = [r for j, r in enumerate(node.reads) if j not in (k, position)]
        if key and any(mentions(other, key) for other in others):
            return True
        if sum(any(at[axis] in key for axis in span) for span in spans) > 1:
            return True
    return False


def _compared(node: Node, inner: Node | None, spread: list[Node], site: Site) -> Comparison:
    """The product, and the pass that forms the sum if only it reads that, against all products."""
    options = site.options

    def cells(shape: tuple[Size, ...], point: Point) -> float:
        return math.prod(float(number(size, point)) for size in shape)

    def apart(point: Point) -> float:
        formed = 0.0 if inner is None else stream(4.0 * cells(inner.shape, point), options)
        return node_price(node, point, options) + formed

    def after(point: Point) -> float:
        passed = stream(4.0 * (len(spread) + 1) * cells(node.shape, point), options)
        return passed + sum(node_price(term, point, options) for term in spread)

    return compared(points(node.sizes, options), apart, after)
