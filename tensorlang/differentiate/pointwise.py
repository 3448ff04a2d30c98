"""Derivatives of a Pointwise: the chain rule through its scalar expression.

The condition of a choice is put around the whole product of slopes, so that a branch not taken
gives 0 whatever its slope is there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tensorlang.differentiate.cells import Cells, number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.differentiate.reads import Product, carried
from tensorlang.differentiate.slopes import pulled, pushed
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Iota, Lit, Node, NodeId, Pointwise, Read, Scalar
from tensorlang.ir.reads import leaves, read_indices, rename_read, substitute

Guards = tuple[tuple[Scalar, bool], ...]


# --- reverse -------------------------------------------------------------------------------------
def pull(
    maker: Maker, identity: NodeId, cotangent: NodeId, active: Collection[NodeId]
) -> list[tuple[NodeId, Term]]:
    """What each read contributes to the cotangent of the tensor that it reads."""
    node = maker.graph.node(identity)
    assert isinstance(node.op, Pointwise), node
    cells = maker.cells(node.reads)
    live = frozenset(k for k, read in enumerate(node.reads) if read.node in active)
    back = _Back(cells, live, node.op.expr, maker.whole(identity))
    back.through(node.op.expr, cells.read(maker.whole(cotangent)), ())
    out: list[tuple[NodeId, Term]] = []
    for place, slopes in back.found.items():
        total = slopes[0] if len(slopes) == 1 else cells.apply("add", *slopes)
        if not (isinstance(total, Lit) and total.value == 0):
            out.append((node.reads[place].node, _carried(maker, node, cells, total, place)))
    return out


class _Back:
    """The walk from an expression to its reads."""

    def __init__(self, cells: Cells, live: frozenset[int], root: Scalar, value: Read) -> None:
        self.cells, self.live = cells, live
        self.root, self.value = root, value
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
            case App(function, args):
                for place, arg in enumerate(args):
                    if not depends(arg, self.live):
                        continue
                    passed = pulled(self.cells, expr, place, cotangent)
                    if passed is None:
                        continue
                    if expr == self.root and _mentions(passed, expr):
                        passed = _renamed(passed, expr, self.cells.read(self.value))
                    if function not in ("stopgrad",):
                        self.through(arg, passed, guards)
            case _:
                pass


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


def _mentions(expr: Scalar, part: Scalar) -> bool:
    if expr == part:
        return True
    return isinstance(expr, App) and any(_mentions(arg, part) for arg in expr.args)


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
                computed.setdefault(_axes_of(factor, cells), []).append(factor)
    sizes = dict(enumerate(node.sizes))
    for axes, parts in computed.items():
        expr = parts[0] if len(parts) == 1 else cells.apply("mul", *parts)
        reads.append(maker.computed(expr, cells, axes, sizes))
    if not reads:
        reads.append(Read(maker.full(1, (), dtype), ()))
    return tuple(reads), coefficient


def _axes_of(expr: Scalar, cells: Cells) -> tuple[int, ...]:
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
