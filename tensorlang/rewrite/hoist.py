"""A linear map out of a sum: sum_w m[t w] (sum_p U[t w p] W[p d] + b[d]) maps once, not once per w.

The product is distributed over the terms only where a term's own contraction then joins the sum and
the whole costs less.
"""

from __future__ import annotations

from collections.abc import Callable

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Contract,
    Node,
    NodeId,
    Pointwise,
    Read,
    Scalar,
    Semiring,
)
from tensorlang.order.grid import Point
from tensorlang.rewrite.compose import complete, compose, is_whole, part, product
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.factors import Factors, with_factors
from tensorlang.rewrite.flatten import is_squared, mergeable, merged
from tensorlang.rewrite.price import Comparison, compared, node_price, points


def hoist(node: Node, site: Site) -> Node | NodeId | None:
    """Distribute a product over the terms of a factor where a linear map then leaves the sum."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if not node.bound or len(node.reads) > 12:
        return None
    for position, read in enumerate(node.reads):
        inner = site.node(read.node)
        added = terms_of(read, site)
        if site.uses(read.node) > 1 or not any(_maps(term, inner, site) for term in added):
            continue
        if is_squared(read, node):
            continue
        spread = distributed(node, position, site)
        if spread is None:
            continue
        found = _compared(node, read, spread, site)
        if not found.mostly():
            continue
        site.did("distributed over a sum, whose linear map then runs once", found.saved())
        return summed(node, spread, site)
    return None


def terms_of(read: Read, site: Site) -> list[Scalar]:
    """The terms of a factor that is a sum, in the indices of its node; none if it is no sum."""
    inner = site.node(read.node)
    if not is_whole(read) or not isinstance(inner.op, Pointwise) or inner.dtype < Dtype.REAL:
        return []
    terms = plain_terms(inner.op.expr)
    return terms if len(terms) > 1 else []


def distributed(node: Node, position: int, site: Site) -> list[Node] | None:
    """A product with each term of the sum at this position; None where that has no form."""
    read = node.reads[position]
    inner = site.node(read.node)
    out: list[Node] = []
    for term in terms_of(read, site):
        factors = _term(term, inner, read, site)
        spread = None if factors is None else with_factors(node, position, factors)
        if spread is None:
            return None
        out.append(spread)
    return out


def plain_terms(expr: Scalar) -> list[Scalar]:
    """The terms of a sum of sums."""
    if isinstance(expr, App) and expr.function == "add":
        return [term for arg in expr.args for term in plain_terms(arg)]
    return [expr]


def _maps(term: Scalar, inner: Node, site: Site) -> bool:
    """A term that is a number times a contraction nobody else reads."""
    _, factors = product(term)
    if len(factors) != 1 or not isinstance(factors[0], Arg):
        return False
    read = inner.reads[factors[0].position]
    value = site.node(read.node)
    mine = site.uses(read.node) == 1 and is_whole(read)
    return mine and isinstance(value.op, Contract) and len(value.reads) > 1 and bool(value.bound)


def _term(term: Scalar, inner: Node, read: Read, site: Site) -> Factors | None:
    number, factors = product(term)
    if inner.dtype is Dtype.REAL and isinstance(number, complex):
        return None
    reads = []
    for factor in factors:
        composed = compose(read, part(inner, factor, site))
        if composed is None or site.node(composed.node).dtype < Dtype.REAL:
            return None
        reads.append(composed)
    return Factors(number, tuple(reads))


def _flat(node: Node, site: Site) -> Node:
    assert isinstance(node.op, Contract), node
    chosen = [
        k
        for k, read in enumerate(node.reads)
        if mergeable(node.op, read, site) and site.uses(read.node) == 1
    ]
    return merged(node, chosen, site) if chosen else node


def _compared(node: Node, read: Read, spread: list[Node], site: Site) -> Comparison:
    """The sum and the maps inside it, against one flattened product for each term."""
    options = site.options
    reads = site.node(read.node).reads
    maps = [site.node(r.node) for r in reads if site.uses(r.node) == 1]
    apart = [node, *(value for value in maps if isinstance(value.op, Contract))]
    flat = [_flat(term, site) for term in spread]

    def total(nodes: list[Node]) -> Callable[[Point], float]:
        return lambda point: sum(node_price(value, point, options) for value in nodes)

    where = points([size for term in flat for size in term.sizes], options)
    return compared(where, total(apart), total(flat))


def summed(node: Node, terms: list[Node], site: Site) -> Node:
    """The sum of contractions over the same axes; an index that a term lacks counts its size."""
    reads = []
    for term in terms:
        added = complete(term, site)
        whole = tuple(At(axis) for axis in range(node.rank))
        copied = isinstance(added.op, Pointwise)
        reads.append(added.reads[0] if copied else Read(site.add(added), whole))
    expr = App("add", tuple(Arg(k) for k in range(len(reads))), node.dtype)
    return Node(Pointwise(expr), tuple(reads), node.shape, node.rank, node.dtype)
