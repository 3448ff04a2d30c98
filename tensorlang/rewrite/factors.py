"""Factors of a product brought into the open: numbers, and parts that have fewer indices.

x * (2 * y) = 2 * x * y, and sum_d (P[t d] / n[t]) W[d o] = sum_d P[t d] W[d o] * (1 / n[t]): the
planner then puts every factor where it costs least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    Contract,
    Iota,
    Lit,
    Node,
    Pointwise,
    Read,
    Scalar,
    Semiring,
    Softmax,
)
from tensorlang.order.grid import Point, number
from tensorlang.rewrite.compose import (
    Number,
    compose,
    counted,
    is_whole,
    part,
    product,
    scalar_dtype,
    scalar_indices,
)
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import Comparison, compared, node_price, points, stream


@dataclass(frozen=True, slots=True)
class Factors:
    """A read as number * product of reads, in the indices of the reader."""

    number: Number
    reads: tuple[Read, ...]


def open_factors(node: Node, site: Site) -> Node | None:
    """Products inside a computed factor of a contraction become factors where that can save."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    for position, read in enumerate(node.reads):
        shared = site.uses(read.node) > 1
        factors = opened(read, site, always=False)
        if factors is None or (shared and not _weights(factors, site)):
            continue
        result = with_factors(node, position, factors)
        if result is None:
            continue
        if len(factors.reads) == 1:
            return result
        found = _compared(node, read, result, site)
        if found.mostly():
            site.did(f"{len(factors.reads)} factors of a factor stand alone", found.saved())
            return result
    return None


def _weights(factors: Factors, site: Site) -> bool:
    """Whether they are softmaxes side by side, which each reader sums with its own values."""
    return all(isinstance(site.node(read.node).op, Softmax) for read in factors.reads)


def _compared(node: Node, read: Read, result: Node, site: Site) -> Comparison:
    """The contraction and the pass that forms its factor, against the open product."""
    options = site.options
    inner = site.node(read.node)
    shapes = [inner.shape, *(site.node(other.node).shape for other in inner.reads)]

    def apart(point: Point) -> float:
        cells = sum(math.prod(float(number(size, point)) for size in shape) for shape in shapes)
        return node_price(node, point, options) + stream(4.0 * cells, options)

    where = points(result.sizes, options)
    return compared(where, apart, lambda point: node_price(result, point, options))


def with_factors(node: Node, position: int, factors: Factors) -> Node | None:
    """A contraction with one read replaced by its factors.

    None where these lack an index of the sum whose size only a call knows.
    """
    assert isinstance(node.op, Contract), node
    reads = (*node.reads[:position], *factors.reads, *node.reads[position + 1 :])
    coefficient = node.op.coefficient * factors.number
    return counted(replace(node, op=replace(node.op, coefficient=coefficient), reads=reads))


def opened(read: Read, site: Site, always: bool) -> Factors | None:
    """The factors of a computed operand; None if there are none worth opening.

    Worth it are numbers and factors over different indices; `always` opens all.
    """
    inner = site.node(read.node)
    if not isinstance(inner.op, Pointwise) or not is_whole(read) or not _real(inner):
        return None
    number, factors = _conditions(*product(inner.op.expr), inner, site)
    groups = _grouped(factors, inner, site)
    if not groups and number == 0:
        return None
    spread = len({frozenset(indices) for indices, _ in groups})
    if len(groups) < 2 and number == 1 and not (always and groups and _bare(groups)):
        return None
    if spread < 2 and number == 1 and not always:
        return None
    if isinstance(number, bool) or (inner.dtype is Dtype.INT and not isinstance(number, int)):
        return None
    parts = [part(inner, expr, site) for _, expr in groups]
    reads = []
    for piece in parts:
        composed = compose(read, piece)
        if composed is None:
            return None
        reads.append(composed)
    return Factors(number, tuple(reads))


def _real(node: Node) -> bool:
    return node.dtype in {Dtype.REAL, Dtype.COMPLEX}


def _bare(groups: list[tuple[tuple[int, ...], Scalar]]) -> bool:
    return isinstance(groups[0][1], Arg)


def _conditions(
    number: Number, factors: list[Scalar], node: Node, site: Site
) -> tuple[Number, list[Scalar]]:
    """[c] x for `x if c else 0`, where x is finite: 0 * x is 0."""
    out: list[Scalar] = []
    for factor in factors:
        match factor:
            case App("where", (condition, then, Lit(0 | 0.0))) if _finite(then, node, site):
                more, inner = _conditions(*product(then), node, site)
                number = number * more
                out += (*inner, *conjuncts(condition))
            case App("to_real", (App(dtype=Dtype.BOOL) as condition,)):
                out += conjuncts(condition)
            case _:
                out.append(factor)
    return number, out


def conjuncts(condition: Scalar) -> list[Scalar]:
    """The conditions that hold where this one does."""
    if isinstance(condition, App) and condition.function == "and":
        return [one for arg in condition.args for one in conjuncts(arg)]
    return [condition]


def _finite(expr: Scalar, node: Node, site: Site) -> bool:
    return site.finite.scalar(expr, node)


def _grouped(factors: list[Scalar], node: Node, site: Site) -> list[tuple[tuple[int, ...], Scalar]]:
    """Factors that are reads stand alone, conditions too; computed ones over equal indices join."""
    out: list[tuple[tuple[int, ...], Scalar]] = []
    joined: dict[frozenset[int], list[Scalar]] = {}
    for factor in factors:
        indices = scalar_indices(factor, node.reads)
        if scalar_dtype(factor, node.reads, site) is Dtype.BOOL:
            cast = "to_complex" if node.dtype is Dtype.COMPLEX else "to_real"
            out.append((indices, App(cast, (factor,), node.dtype)))
        elif isinstance(factor, Arg):
            out.append((indices, factor))
        else:
            joined.setdefault(frozenset(indices), []).append(factor)
    for alike in joined.values():
        expr = alike[0] if len(alike) == 1 else App("mul", tuple(alike), node.dtype)
        out.append((scalar_indices(expr, node.reads), expr))
    return out


def index_only(expr: Scalar) -> bool:
    """Whether a condition compares index values alone."""
    match expr:
        case Iota() | Lit():
            return True
        case App(_, args):
            return all(index_only(arg) for arg in args)
    return False
