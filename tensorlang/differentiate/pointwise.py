"""Derivatives of a Pointwise: the chain rule through its scalar expression.

The condition of a choice is put around the whole product of slopes, so that a branch not taken
gives 0 whatever its slope is there.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from tensorlang import registry
from tensorlang.differentiate.cells import Cells, number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.differentiate.slopes import pulled, pushed
from tensorlang.dtype import Dtype
from tensorlang.ir.cost import applications
from tensorlang.ir.nodes import App, Arg, At, Iota, Lit, Node, NodeId, Pointwise, Read, Scalar
from tensorlang.ir.reads import applied, leaves, read_indices, rename_read, substitute

Guards = tuple[tuple[Scalar, bool], ...]
_CHEAP = {"abs", "ceil", "complex", "conj", "dropout", "floor", "frac", "imag", "max", "min"}
_CHEAP |= {"real", "relu", "sign", "stopgrad"}  # as operators are
_LONGEST = 32  # applications of functions in a slope


# --- reverse -------------------------------------------------------------------------------------
def pull(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    """What each read contributes to the cotangent of the tensor that it reads."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Pointwise), node
    cells = maker.cells(node.reads)
    live = frozenset(k for k, read in enumerate(node.reads) if read.node in active)
    back = _Back(maker, identity, cells, live, node.op.expr)
    back.through(node.op.expr, cells.read(maker.whole(cotangent)), ())
    out: list[tuple[NodeId, Term]] = []
    for place, slopes in back.found.items():
        total = slopes[0] if len(slopes) == 1 else cells.apply("add", *slopes)
        if not (isinstance(total, Lit) and total.value == 0):
            out.append((node.reads[place].node, _carried(maker, node, cells, total, place)))
    return out


class _Back:
    """The walk from an expression to its reads."""

    def __init__(
        self, maker: Maker, identity: NodeId, cells: Cells, live: frozenset[int], root: Scalar
    ) -> None:
        self.maker, self.cells, self.live = maker, cells, live
        self.value = maker.whole(identity)
        self.known = [root]  # what has the node's value where it counts: a branch is guarded
        match root:
            case App("where", (_, App() as branch, Lit(value))) | App(
                "where", (_, Lit(value), App() as branch)
            ) if math.isfinite(abs(value)) and branch.function != "sqrt":
                self.known.append(branch)  # sqrt would divide by the other branch's value
        self.sizes = maker.graph.node(identity).sizes
        self.found: dict[int, list[Scalar]] = {}

    def through(self, expr: Scalar, cotangent: Scalar, guards: Guards) -> None:
        match expr:
            case Arg(position) if position in self.live:
                self.found.setdefault(position, []).append(guarded(self.cells, cotangent, guards))
            case App("where", (condition, then, otherwise)):
                for branch, holds in ((then, True), (otherwise, False)):
                    if depends(branch, self.live):
                        self.through(branch, cotangent, _and(guards, condition, holds))
            case App("dropout", (inner, rate)) if depends(inner, self.live):
                self.through(inner, dropped(self.cells, expr, cotangent, rate), guards)
            case App(_, args):
                for place, arg in enumerate(args):
                    if not depends(arg, self.live):
                        continue
                    passed = pulled(self.cells, expr, place, cotangent)
                    if passed is None:
                        continue
                    self.through(arg, self.named(passed, expr), guards)
            case _:
                pass

    def named(self, slope: Scalar, expr: App) -> Scalar:
        """A slope that reads the values of costly functions which it shares, with the node if all.

        The value of the whole node is there; that of a part, or what a slope says twice, becomes a
        tensor of its own, which the node too will read. So does a long slope: its copies would grow
        with a power of the order.
        """
        if expr in self.known and _count(slope, expr):
            slope = _renamed(slope, expr, self.cells.read(self.value))
        if _is_costly(expr.function) and _is_value(expr):
            slope = self.valued(slope, expr, least=1)
            for arg in filter(_is_value, expr.args):
                slope = self.valued(slope, arg, least=1)
        for part in _costly(slope):
            slope = self.valued(slope, part, least=1 if _count(expr, part) else 2)
        return self.valued(slope, slope, least=1) if applications(slope) > _LONGEST else slope

    def valued(self, slope: Scalar, part: Scalar, least: int) -> Scalar:
        """A slope that reads a part of it which it says so often at least."""
        if _count(slope, part) < least:
            return slope
        axes, sizes = axes_of(part, self.cells), dict(enumerate(self.sizes))
        own = self.maker.computed(part, self.cells, axes, sizes)
        return _renamed(slope, part, self.cells.read(own))


def _costly(expr: Scalar) -> list[App]:
    """Functions of data that cost much more than a read, each once, outer ones first."""
    if not isinstance(expr, App):
        return []
    found = [part for arg in expr.args for part in _costly(arg)]
    costly = _is_costly(expr.function) and _is_value(expr)
    return list(dict.fromkeys([expr, *found] if costly else found))


def _is_value(expr: Scalar) -> bool:
    """Whether an expression is computed from data, and the same whenever it is."""
    data = any(isinstance(leaf, Arg) for leaf in leaves(expr))
    return isinstance(expr, App) and data and "dropout" not in applied(expr)


def _is_costly(function: str) -> bool:
    return function not in _CHEAP and not registry.functions()[function].reserved


def _count(expr: Scalar, part: Scalar) -> int:
    if expr == part:
        return 1
    return sum(_count(arg, part) for arg in expr.args) if isinstance(expr, App) else 0


def dropped(cells: Cells, expr: App, cotangent: Scalar, rate: Scalar) -> Scalar:
    """The cotangent or tangent under the mask that the value was drawn with."""
    return App("dropout", (cotangent, rate), cells.dtype(cotangent), expr.site)


def depends(expr: Scalar, live: Collection[int]) -> bool:
    return any(isinstance(leaf, Arg) and leaf.position in live for leaf in leaves(expr))


def _and(guards: Guards, condition: Scalar, holds: bool) -> Guards:
    return guards if (condition, holds) in guards else (*guards, (condition, holds))


def guarded(cells: Cells, value: Scalar, guards: Guards) -> Scalar:
    """A value where all guards hold, else 0."""
    zero = number(0, cells.dtype(value))
    if not guards:
        return value
    if len(guards) == 1:
        ((condition, holds),) = guards
        return cells.apply("where", condition, *((value, zero) if holds else (zero, value)))
    needed = [c if holds else cells.apply("not", c) for c, holds in guards]
    return cells.apply("where", cells.apply("and", *needed), value, zero)


def _renamed(expr: Scalar, part: Scalar, name: Scalar) -> Scalar:
    """The expression with a part of it replaced."""
    if expr == part:
        return name
    if not isinstance(expr, App):
        return expr
    return replace(expr, args=tuple(_renamed(arg, part, name) for arg in expr.args))


def _carried(maker: Maker, node: Node, cells: Cells, total: Scalar, place: int) -> Term:
    """A cotangent over the node's axes as a term over those of the tensor read."""
    read = node.reads[place]
    inverse = _inverse(read, node)
    if inverse is not None:  # nothing is summed: the expression itself, over other axes
        return Term(
            _with_axes(total, inverse),
            tuple(rename_read(other, inverse) for other in cells.reads),
        )
    dtype = maker.graph.node(read.node).dtype
    factors, coefficient = _factors(maker, node, cells, total, dtype)
    mentioned = {i for factor in (*factors, read) for i in read_indices(factor)}
    times = maker.count((size for k, size in enumerate(node.sizes) if k not in mentioned), dtype)
    if isinstance(times, Read):  # cells that neither the slope nor the read tells apart
        factors = (*factors, times)
    else:
        coefficient = coefficient * times
    return carried(maker, Product(factors, node.sizes, node.rank, dtype, coefficient), read)


def _inverse(read: Read, node: Node) -> dict[int, int] | None:
    """The axes read by the node's axes, where the read is a permutation of them."""
    inverse = {s.index: axis for axis, s in enumerate(read.subscripts) if isinstance(s, At)}
    return inverse if len(inverse) == len(read.subscripts) == node.rank else None


def _with_axes(expr: Scalar, names: dict[int, int]) -> Scalar:
    return substitute(
        expr, lambda leaf: Iota(names[leaf.index]) if isinstance(leaf, Iota) else leaf
    )


def _factors(
    maker: Maker, node: Node, cells: Cells, total: Scalar, dtype: Dtype
) -> tuple[tuple[Read, ...], int | float | complex]:
    """The factors of an expression as reads; those that are computed, one for each set of axes."""
    coefficient: int | float | complex = 1
    reads: list[Read] = []
    computed: dict[tuple[int, ...], list[Scalar]] = {}
    stack = [total]
    while stack:
        match stack.pop(0):
            case App("mul", args):
                stack = [*args, *stack]
            case App("neg", (inner,)):
                coefficient = -coefficient
                stack.insert(0, inner)
            case Lit(value):
                coefficient = coefficient * value
            case Arg(position):
                reads.append(cells.reads[position])
            case factor:
                computed.setdefault(axes_of(factor, cells), []).append(factor)
    sizes = dict(enumerate(node.sizes))
    for axes, parts in computed.items():
        expr = parts[0] if len(parts) == 1 else cells.apply("mul", *parts)
        reads.append(maker.computed(expr, cells, axes, sizes))
    if not reads:
        reads.append(Read(maker.full(1, (), dtype), ()))
    return tuple(reads), coefficient


def axes_of(expr: Scalar, cells: Cells) -> tuple[int, ...]:
    """The axes that an expression varies along."""
    found: set[int] = set()
    for leaf in leaves(expr):
        match leaf:
            case Arg(position):
                found.update(read_indices(cells.reads[position]))
            case Iota(index):
                found.add(index)
    return tuple(sorted(found))


# --- forward -------------------------------------------------------------------------------------
def push(maker: Maker, identity: NodeId, tangents: dict[int, Read]) -> tuple[Scalar, Cells] | None:
    """The tangent of the node from reads of its arguments' tangents, by position."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Pointwise), node
    cells = maker.cells(node.reads)
    slope = _along(cells, node.op.expr, tangents)
    return None if slope is None else (slope, cells)


def _along(cells: Cells, expr: Scalar, tangents: dict[int, Read]) -> Scalar | None:
    match expr:
        case Arg(position):
            return cells.read(tangents[position]) if position in tangents else None
        case App("where", (condition, then, otherwise)):
            parts = [_along(cells, branch, tangents) for branch in (then, otherwise)]
            if parts == [None, None]:
                return None
            zero = number(0, expr.dtype)
            return cells.apply("where", condition, *(zero if p is None else p for p in parts))
        case App("dropout", (inner, rate)):
            moved = _along(cells, inner, tangents)
            return None if moved is None else dropped(cells, expr, moved, rate)
        case App(_, args):
            terms: list[Scalar] = []
            for place, arg in enumerate(args):
                moved = _along(cells, arg, tangents)
                passed = None if moved is None else pushed(cells, expr, place, moved)
                if passed is not None:
                    terms.append(passed)
            if not terms:
                return None
            return terms[0] if len(terms) == 1 else cells.apply("add", *terms)
        case _:
            return None
