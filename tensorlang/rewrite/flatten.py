"""A contraction of contractions becomes one, so that the planner may choose another order.

sum_j (sum_i A[n i] B[i j]) C[j m] = sum_ij A[n i] B[i j] C[j m], where the best order then costs
less. A value that others read stays for them; its reader takes the factors where even that pays.
"""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.nodes import At, Contract, Node, Read, Semiring, Softmax
from tensorlang.ir.reads import rename_read
from tensorlang.order.grid import Point
from tensorlang.rewrite.compose import Number, is_whole
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import Comparison, compared, node_price, points
from tensorlang.size import Size


def flatten(node: Node, site: Site) -> Node | None:
    """Merge operands that are contractions where the best order of all factors costs less."""
    if not isinstance(node.op, Contract) or len(node.reads) > 24:
        return None
    if any(isinstance(site.node(read.node).op, Softmax) for read in node.reads):
        return None  # the planner keeps a softmax and its values together
    inner = [
        k
        for k, read in enumerate(node.reads)
        if mergeable(node.op, read, site) and not is_squared(read, node)
    ]
    if not inner:
        return None
    for chosen in ([inner] if len(inner) > 1 else []) + [[k] for k in inner]:
        one = merged(node, chosen, site)
        found = _compared(node, one, chosen, site)
        if _pays(found, node, chosen, site):
            site.did(f"one product of {len(one.reads)} factors", found.saved())
            return one
    return None


def is_squared(read: Read, node: Node) -> bool:
    """Whether a factor occurs twice: in a sum of squares nothing cancels, taken apart it would."""
    return node.reads.count(read) > 1


def mergeable(op: Contract, read: Read, site: Site) -> bool:
    """Whether a factor is a contraction that can join this one."""
    inner = site.node(read.node)
    return (
        isinstance(inner.op, Contract)
        and inner.op.semiring is op.semiring
        and (op.semiring is Semiring.SUM_PRODUCT or inner.op.coefficient == 1)
        and read.fill is None
        and is_whole(read)
        and len(inner.reads) > 0
        and bool(inner.bound or len(inner.reads) > 1)
        and not any(isinstance(site.node(factor.node).op, Softmax) for factor in inner.reads)
    )


def merged(node: Node, chosen: list[int], site: Site) -> Node:
    """The contraction with the factors at these positions taken apart."""
    assert isinstance(node.op, Contract), node
    reads: list[Read] = []
    sizes: list[Size] = list(node.sizes)
    coefficient: Number = node.op.coefficient
    for position, read in enumerate(node.reads):
        if position not in chosen:
            reads.append(read)
            continue
        inner = site.node(read.node)
        assert isinstance(inner.op, Contract), inner
        names = {axis: s.index for axis, s in enumerate(read.subscripts) if isinstance(s, At)}
        for index in inner.bound:
            names[index] = len(sizes)
            sizes.append(inner.sizes[index])
        reads += [rename_read(factor, names) for factor in inner.reads]
        coefficient = coefficient * inner.op.coefficient
    op = replace(node.op, coefficient=coefficient)
    return replace(node, op=op, reads=tuple(reads), sizes=tuple(sizes))


def _pays(found: Comparison, node: Node, chosen: list[int], site: Site) -> bool:
    """Cheaper at some sizes where the value has no other reader, at all sizes where it has."""
    shared = any(site.uses(node.reads[k].node) > 1 for k in chosen)
    cheaper = found.cheaper()
    return all(cheaper) if shared else any(cheaper)


def _compared(node: Node, one: Node, chosen: list[int], site: Site) -> Comparison:
    """The contraction and those that only it reads, against all of them in one."""
    options = site.options
    left = {read.node for k, read in enumerate(node.reads) if k not in chosen}
    values = dict.fromkeys(node.reads[k].node for k in chosen)
    own = [site.node(v) for v in values if site.uses(v) == 1 and v not in left]

    def apart(point: Point) -> float:
        return sum(node_price(value, point, options) for value in (node, *own))

    where = points(one.sizes, options)
    return compared(where, apart, lambda point: node_price(one, point, options))
