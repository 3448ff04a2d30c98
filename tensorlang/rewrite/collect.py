"""Linear maps of one value that are added are one map of it: W x + s A B x is (W + s A B) x, where
forming the weight costs less than another pass over x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    Scalar,
    Semiring,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.order.grid import Point
from tensorlang.rewrite.compose import Number, is_whole, product
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.hoist import plain_terms
from tensorlang.rewrite.merges import is_weight
from tensorlang.rewrite.price import Comparison, compared, node_price, points


@dataclass(frozen=True, slots=True)
class _Map:
    """A term of a sum: number * sum over the indices of `value` that are None of value * weight.

    `value` is a node and, for each of its axes, an axis of the sum or None. The weight is a product
    over the None axes in order, then over `axes` of the sum, then over what it sums itself.
    """

    term: int
    number: Number
    whole: Node
    value: tuple[int, tuple[int | None, ...]]
    axes: tuple[int, ...]
    weight: Node


def collect(node: Node, site: Site) -> Node | None:
    """Add the weights of linear maps of one value where that costs less."""
    if not isinstance(node.op, Pointwise) or node.dtype < Dtype.REAL:
        return None
    terms = plain_terms(node.op.expr)
    maps = [found for k, term in enumerate(terms) for found in _maps(k, term, node, site)]
    for first in maps:
        alike = {first.term: first}
        for other in maps:
            if (other.value, other.axes) == (first.value, first.axes):
                alike.setdefault(other.term, other)
        if len(alike) < 2:
            continue
        together = list(alike.values())
        one = _joined(together, 0, node, site)
        found = _compared(together, one, site)
        if found.mostly():
            site.did(f"{len(together)} linear maps of one value are one", found.saved())
            return _collected(node, terms, together, site)
    return None


def _maps(k: int, term: Scalar, node: Node, site: Site) -> list[_Map]:
    """A term as linear maps by weights, one for each factor that may be the value mapped."""
    number, factors = product(term)
    if len(factors) != 1 or not isinstance(factors[0], Arg):
        return []
    read = node.reads[factors[0].position]
    whole = site.node(read.node)
    at = [s.index for s in read.subscripts if isinstance(s, At)]
    if not isinstance(whole.op, Contract) or whole.op.semiring is not Semiring.SUM_PRODUCT:
        return []
    if not is_whole(read) or len(set(at)) < len(at) or site.uses(read.node) > 1:
        return []
    if whole.dtype is not node.dtype or not whole.bound or len(whole.reads) < 2:
        return []
    out = []
    for position, value in enumerate(whole.reads):
        rest = whole.reads[:position] + whole.reads[position + 1 :]
        summed = [i for i in read_indices(value) if i >= whole.rank]
        if is_weight(value.node, site) or not all(is_weight(r.node, site) for r in rest):
            continue
        if not is_whole(value) or value.fill is not None or not summed:
            continue
        if len(set(read_indices(value))) < len(value.subscripts):
            continue
        out.append(_map(k, number * whole.op.coefficient, whole, value, rest, at))
    return out


def _map(
    term: int,
    number: Number,
    whole: Node,
    value: Read,
    rest: Sequence[Read],
    at: Sequence[int],
) -> _Map:
    places = read_indices(value)
    summed = [i for i in places if i >= whole.rank]
    mentioned = sorted({i for read in rest for i in read_indices(read)})
    kept = sorted((i for i in mentioned if i < whole.rank), key=lambda axis: at[axis])
    own = [i for i in mentioned if i >= whole.rank and i not in summed]
    order = [*summed, *kept, *own]
    local = {index: place for place, index in enumerate(order)}
    weight = Node(
        Contract(),
        tuple(rename_read(read, local) for read in rest),
        tuple(whole.sizes[index] for index in order),
        len(summed) + len(kept),
        whole.dtype,
    )
    pattern = tuple(None if i >= whole.rank else at[i] for i in places)
    axes = tuple(at[axis] for axis in kept)
    return _Map(term, number, whole, (value.node, pattern), axes, weight)


def _joined(together: Sequence[_Map], weight: int, node: Node, site: Site) -> Node:
    """The product of the value with the one weight."""
    first = together[0]
    value, pattern = first.value
    axes = sorted({axis for axis in pattern if axis is not None} | set(first.axes))
    summed = [axis for axis, place in enumerate(pattern) if place is None]
    index = {axis: len(axes) + k for k, axis in enumerate(summed)}
    at = [At(index[k] if p is None else axes.index(p)) for k, p in enumerate(pattern)]
    over = [*index.values(), *(axes.index(axis) for axis in first.axes)]
    reads = (Read(value, tuple(at)), Read(weight, tuple(At(i) for i in over)))
    shape = site.node(value).shape
    sizes = (*(node.sizes[axis] for axis in axes), *(shape[axis] for axis in summed))
    return Node(Contract(), reads, sizes, len(axes), node.dtype)


def _compared(together: Sequence[_Map], one: Node, site: Site) -> Comparison:
    """All maps on their own, against forming the weights that are products, and one map."""
    options = site.options
    formed = [m.weight for m in together if len(m.weight.reads) > 1 or m.weight.bound]

    def total(nodes: Sequence[Node], point: Point) -> float:
        return sum(node_price(each, point, options) for each in nodes)

    where = points([size for each in together for size in each.whole.sizes], options)
    return compared(
        where,
        lambda point: total([each.whole for each in together], point),
        lambda point: total([one, *formed], point),
    )


def _collected(node: Node, terms: Sequence[Scalar], together: Sequence[_Map], site: Site) -> Node:
    first = together[0]
    reads = []
    args: list[Scalar] = []
    for place, each in enumerate(together):
        rank = each.weight.rank
        reads.append(Read(site.add(each.weight), tuple(At(axis) for axis in range(rank))))
        number = Lit(_typed(each.number, node.dtype), node.dtype)
        arg = Arg(place)
        args.append(arg if each.number == 1 else App("mul", (number, arg), node.dtype))
    total = Pointwise(App("add", tuple(args), node.dtype))
    weight = Node(total, tuple(reads), first.weight.shape, first.weight.rank, node.dtype)
    one = _joined(together, site.add(weight), node, site)
    pattern = first.value[1]
    axes = sorted({axis for axis in pattern if axis is not None} | set(first.axes))
    read = Read(site.add(one), tuple(At(axis) for axis in axes))
    gone = {each.term for each in together}
    left = [Arg(len(node.reads)), *(term for k, term in enumerate(terms) if k not in gone)]
    expr = left[0] if len(left) == 1 else App("add", tuple(left), node.dtype)
    return Node(Pointwise(expr), (*node.reads, read), node.sizes, node.rank, node.dtype)


def _typed(number: Number, dtype: Dtype) -> float | complex:
    if dtype is Dtype.COMPLEX:
        return complex(number)
    assert not isinstance(number, complex), number
    return float(number)
