"""What a device is expected to take for a step at given sizes: the price behind the orders.

A step that is no product is a pass over what it reads and writes; a call costs nothing here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Call, Const, Contract, Input, Merge, Node, Param, Read
from tensorlang.ir.reads import read_indices, subscript_indices
from tensorlang.order.grid import Point, number
from tensorlang.order.prices import ITEM, Prices, mask
from tensorlang.order.profile import Profile
from tensorlang.plan.cost import at, flops, moved
from tensorlang.plan.plan import AnyStep, AttentionStep, ProjectionsStep, Slot, Step
from tensorlang.size import Size


def seconds(
    step: AnyStep,
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    point: Point,
    profile: Profile,
) -> float:
    """Seconds of one step."""
    match step:
        case ProjectionsStep(projections):
            return sum(_product(projection.node, point, profile) for projection in projections)
        case AttentionStep():
            work = at(flops(step), point) / (0.5 * profile.flops)
            return max(work, profile.stream(at(moved(step, shapes), point)))
        case Step(node=node):
            if isinstance(node.op, Call | Merge | Input | Param | Const):
                return 0.0
            if isinstance(node.op, Contract) and len(node.reads) == 2:
                return _product(node, point, profile)
    return profile.stream(at(moved(step, shapes), point))


def _product(node: Node, point: Point, profile: Profile) -> float:
    sizes = {index: number(size, point) for index, size in enumerate(node.sizes)}
    prices = Prices(sizes, profile)
    left, right = (mask(frozenset(read_indices(read))) for read in node.reads)
    copies = 0.0
    for read, mine, other in ((node.reads[0], left, right), (node.reads[1], right, left)):
        if _apart(read, mine, other, node.rank):
            copies += profile.permuted(2 * ITEM * prices.volume(mine))
    return copies + prices.step(left, right, mask(frozenset(range(node.rank))))


def _apart(read: Read, mine: int, other: int, rank: int) -> bool:
    """Whether axes that a GEMM takes as one lie apart in memory: the operand is copied then."""
    kinds = [
        (bool(other >> index & 1), index >= rank)
        for subscript in read.subscripts
        for index in subscript_indices(subscript)
    ]
    runs = [kind for kind, _ in itertools.groupby(kinds)]
    return bool(mine & other) and len(runs) > len(set(runs))
