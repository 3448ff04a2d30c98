"""What steps cost, as polynomials in the dynamic sizes: FLOPs, bytes moved, bytes alive at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from tensorlang.dtype import Dtype
from tensorlang.ir.cost import ITEM_BYTES, add, scale, volume
from tensorlang.ir.cost import flops as flops_of
from tensorlang.ir.nodes import (
    Const,
    Input,
    Merge,
    Param,
)
from tensorlang.ir.reads import operands
from tensorlang.order.grid import Point
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    Cost,
    Monomials,
    ProjectionsStep,
    Slot,
    Step,
)
from tensorlang.size import Size


def at(cost: Monomials, point: Point) -> float:
    """The polynomial at a point; names that the point lacks count as 256."""
    total = 0.0
    for monomial, coefficient in cost.items():
        value = float(coefficient)
        for name, power in monomial:
            value *= float(point.get(name, 256)) ** power
        total += value
    return total


# --- steps ---------------------------------------------------------------------------------------
def cost(
    steps: Sequence[AnyStep],
    held: Sequence[Slot],
    kept: Sequence[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    point: Point,
    free: Sequence[AnyStep] = (),
) -> Cost:
    """Cost of a list of steps; `held` are there before it, `kept` after it.

    The peak is that moment's polynomial which is largest at `point`. Steps that are `free` were
    done before; of what they made the peak counts what others read.
    """
    if free:
        done = {slot for step in free for slot in made(step)}
        steps = [step for step in steps if not done.intersection(made(step))]
        read = {slot for step in steps for slot in used(step)}
        held = (*held, *sorted(done & read))
    return Cost(
        add(flops(step) for step in steps),
        add(moved(step, shapes) for step in steps),
        _peak(steps, held, kept, shapes, point),
    )


def flops(step: AnyStep) -> Monomials:
    match step:
        case AttentionStep():
            return attention_flops(step.attention)
        case ProjectionsStep(projections):
            return add(flops_of(projection.node) for projection in projections)
        case Step():
            return flops_of(step.node)
    assert_never(step)


def moved(step: AnyStep, shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]) -> Monomials:
    """Bytes read and written, each operand once."""
    if isinstance(step, Step) and isinstance(step.node.op, Merge | Input | Param | Const):
        return {}
    slots = dict.fromkeys((*made(step), *used(step)))
    return add(held_bytes(slot, shapes) for slot in slots)


def held_bytes(slot: Slot, shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]) -> Monomials:
    sizes, dtype = shapes[slot]
    return scale(volume(sizes), ITEM_BYTES[dtype])


def made(step: AnyStep) -> tuple[Slot, ...]:
    """Slots that a step fills."""
    if isinstance(step, ProjectionsStep):
        return tuple(projection.out for projection in step.projections)
    return (step.out,)


def used(step: AnyStep) -> tuple[Slot, ...]:
    """Slots that a step reads, each once."""
    match step:
        case AttentionStep(attention=attention):
            reads = (attention.q, attention.k, attention.v, attention.mask, attention.bias)
            return tuple(dict.fromkeys(read.node for read in reads if read is not None))
        case ProjectionsStep(projections):
            return tuple(dict.fromkeys(slot for p in projections for slot in operands(p.node)))
        case Step():
            return operands(step.node)
    assert_never(step)


def attention_flops(attention: Attention) -> Monomials:
    """Logits and values 2 a multiply-add, softmax 5 a cell."""
    cells = (*attention.batch, *attention.query, *attention.key)
    sizes = attention.sizes

    def over(indices: Iterable[int]) -> Monomials:
        return volume(sizes[index] for index in indices)

    return add(
        (
            scale(over((*cells, *attention.feature)), 2),
            scale(over((*cells, *attention.value)), 2),
            scale(over(cells), 5),
        )
    )


def _peak(
    steps: Sequence[AnyStep],
    held: Sequence[Slot],
    kept: Sequence[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    point: Point,
) -> Monomials:
    last: dict[Slot, int] = dict.fromkeys(held, -1)
    for position, step in enumerate(steps):
        last.update((slot, position) for slot in (*made(step), *used(step)) if slot in shapes)
    last.update((slot, len(steps)) for slot in kept)
    dying: dict[int, list[Slot]] = {}
    for slot, position in last.items():
        dying.setdefault(position, []).append(slot)
    size = {slot: at(held_bytes(slot, shapes), point) for slot in last}
    alive = dict.fromkeys(held)
    now = sum(size[slot] for slot in alive)
    most, moment = now, tuple(alive)
    for position, step in enumerate(steps):
        for slot in made(step):
            if slot not in alive:
                alive[slot] = None
                now += size[slot]
        if now > most:
            most, moment = now, tuple(alive)
        for slot in dying.get(position, ()):
            if slot in alive and slot not in held:
                del alive[slot]
                now -= size[slot]
    return add(held_bytes(slot, shapes) for slot in moment)
