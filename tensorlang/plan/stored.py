"""How parameters lie in memory: one order of axes for each, such that its readers need no copy.

Declared shapes stay; only strides change. Every reader in every regime says which orders suit it;
the order with the least time lost, as a share of each regime's, is taken, else the declared one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Affine, At, Contract, Group, Node, Pointwise, Read, Semiring
from tensorlang.ir.reads import operands, read_indices
from tensorlang.order.grid import Point
from tensorlang.order.profile import Profile
from tensorlang.plan.builder import is_simple
from tensorlang.plan.cost import used
from tensorlang.plan.plan import AnyStep, AttentionStep, ProjectionsStep, Regime, Slot, Step
from tensorlang.plan.regimes import regime_at
from tensorlang.plan.seconds import seconds
from tensorlang.size import Size

Order = tuple[int, ...]
Shapes = Mapping[Slot, tuple[tuple[Size, ...], Dtype]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader wants: axes of a parameter in parts one after another, in any of these ways.

    A part is in exactly its order if it is `ordered`, else in any.
    """

    ways: tuple[tuple[tuple[Order, bool], ...], ...]

    def suits(self, order: Order) -> bool:
        return any(_fits(order, way) for way in self.ways)

    def orders(self) -> Iterator[Order]:
        for way in self.ways:
            yield tuple(axis for part, _ in way for axis in part)


def _fits(order: Order, way: tuple[tuple[Order, bool], ...]) -> bool:
    start = 0
    for part, ordered in way:
        here = order[start : start + len(part)]
        if here != part and (ordered or set(here) != set(part)):
            return False
        start += len(part)
    return True


def stored_orders(
    regimes: Sequence[Regime],
    params: Sequence[Slot],
    kept: Sequence[Slot],
    shapes: Shapes,
    points: Sequence[Point],
    profile: Profile,
) -> dict[Slot, Order]:
    """The orders that are not as declared. What is made into `kept` slots is made once in eval."""
    found: dict[Slot, list[tuple[int, Wish]]] = {slot: [] for slot in params}
    for number, regime in enumerate(regimes):
        for step in regime.steps:
            made_once = regime.kept and isinstance(step, Step) and step.out in kept
            if not made_once and not found.keys().isdisjoint(used(step)):
                for slot, wish in _wishes(step, found.keys(), shapes):
                    found[slot].append((number, wish))
    weights = _Weights(regimes, shapes, points, profile)
    out: dict[Slot, Order] = {}
    for slot, wishes in found.items():
        declared = tuple(range(len(shapes[slot][0])))
        orders = dict.fromkeys((declared, *(order for _, w in wishes for order in w.orders())))

        def lost(order: Order, wishes: Sequence[tuple[int, Wish]] = wishes) -> float:
            return sum(weights.of(k) for k, wish in wishes if not wish.suits(order))

        best = min(orders, key=lost)
        if best != declared:
            out[slot] = best
    return out


class _Weights:
    """How much a copy counts in each regime: its share of what the regime takes where it holds."""

    def __init__(
        self, regimes: Sequence[Regime], shapes: Shapes, points: Sequence[Point], profile: Profile
    ) -> None:
        self.regimes, self.shapes, self.points, self.profile = regimes, shapes, points, profile
        self.found: dict[int, float] = {}

    def of(self, number: int) -> float:
        if len(self.regimes) == 1:
            return 1.0
        if not self.found:
            self.found = dict.fromkeys(range(len(self.regimes)), 0.0)
            for point in self.points:
                for kept in (False, True):
                    regime = regime_at(self.regimes, point, kept)
                    place = self.regimes.index(regime)
                    self.found[place] += 1 / max(self._seconds(place, point), 1e-9)
        return self.found[number]

    def _seconds(self, number: int, point: Point) -> float:
        steps = self.regimes[number].steps
        return sum(seconds(step, self.shapes, point, self.profile) for step in steps)


# --- what readers want ---------------------------------------------------------------------------
def _wishes(step: AnyStep, params: Container[Slot], shapes: Shapes) -> Iterator[tuple[Slot, Wish]]:
    match step:
        case ProjectionsStep(projections):
            for projection in projections:
                yield from _of_node(projection.node, params, shapes)
        case Step(node=node):
            yield from _of_node(node, params, shapes)
        case AttentionStep():
            for slot in used(step):
                if slot in params:
                    yield slot, _as_declared(shapes, slot)


def _of_node(node: Node, params: Container[Slot], shapes: Shapes) -> Iterator[tuple[Slot, Wish]]:
    direct = [read for read in node.reads if read.node in params]
    for read in direct:
        if len(shapes[read.node][0]) > 1:
            others = [other for other in node.reads if other is not read]
            wish = _of_read(node, read, others) if is_simple(read) else None
            yield read.node, wish or _as_declared(shapes, read.node)
    for slot in operands(node):  # through a gather
        if slot in params and slot not in {read.node for read in direct}:
            yield slot, _as_declared(shapes, slot)


def _as_declared(shapes: Shapes, slot: Slot) -> Wish:
    return Wish((((tuple(range(len(shapes[slot][0]))), True),),))


def _of_read(node: Node, read: Read, others: Sequence[Read]) -> Wish | None:
    """What a plain read wants; None where the declared order is wanted."""
    axis_of = {index: axis for axis, index in enumerate(read_indices(read))}
    match node.op:
        case Contract(semiring=Semiring.SUM_PRODUCT) if len(others) == 1 and node.bound:
            there = _memory(others[0])
            return None if there is None else _of_product(node, axis_of, there)
        case Contract(semiring=Semiring.SUM_PRODUCT) if len(others) == 1:
            return _along(axis_of)
        case Pointwise():
            return _along(axis_of)
    return None


def _along(axis_of: Mapping[int, int]) -> Wish:
    """The axes as they lie in the result."""
    return Wish((((tuple(axis_of[index] for index in sorted(axis_of)), True),),))


def _of_product(node: Node, axis_of: Mapping[int, int], there: Sequence[int]) -> Wish:
    """A matrix, or a batch of them: what is shared, then rows and columns either way."""

    def axes(indices: Iterable[int]) -> Order:
        return tuple(axis_of[index] for index in indices)

    batch = axes(i for i in range(node.rank) if i in axis_of and i in there)
    summed = axes(i for i in there if i in axis_of and i >= node.rank)
    own = axes(i for i in axis_of if i not in there and i < node.rank)
    alone = axes(i for i in axis_of if i not in there and i >= node.rank)
    if alone:  # summed before
        return Wish((((tuple(range(len(axis_of))), True),),))
    lead = ((batch, True),) if batch else ()
    first = ((own, False), (summed, True))
    ways = (first[::-1], first) if batch else (first, first[::-1])
    return Wish(tuple((*lead, *(part for part in way if part[0])) for way in ways))


def _memory(read: Read) -> list[int] | None:
    """Indices of a read that is whole, split or a slice, as they lie in memory."""
    out: list[int] = []
    for subscript in read.subscripts:
        match subscript:
            case At(index) | Affine(((index, 1),), _, Boundary.INSIDE):
                out.append(index)
            case Group(indices):
                out += indices
            case Affine((), _, Boundary.INSIDE):
                pass
            case _:
                return None
    return out if len(set(out)) == len(out) else None
