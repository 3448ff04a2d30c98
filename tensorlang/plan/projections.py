"""Several contractions of one value with different params become one GEMM where that costs less.

The parameters stay separate; a target joins them at the call. Saved: passes over the value and
launches. Paid: a copy of the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import At, Contract, Read, Semiring
from tensorlang.order.grid import Point
from tensorlang.order.profile import Profile
from tensorlang.plan.builder import is_simple
from tensorlang.plan.cost import at, held_bytes
from tensorlang.plan.plan import AnyStep, Projection, ProjectionsStep, Slot, Step
from tensorlang.size import Size

_Key = tuple[Slot, tuple[int, ...]]


def merge_projections(
    steps: Sequence[AnyStep],
    params: frozenset[Slot],
    shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]],
    profile: Profile,
    point: Point,
) -> list[AnyStep]:
    """Put every group of projections that pays at `point` where its first member was."""
    groups: dict[_Key, list[int]] = {}
    for position, step in enumerate(steps):
        key = _projection(step, params, shapes)
        if key is not None:
            groups.setdefault(key, []).append(position)
    merged: dict[int, ProjectionsStep] = {}
    gone: set[int] = set()
    for (value, _), positions in groups.items():
        members = [step for k in positions if isinstance(step := steps[k], Step)]
        used = {read.node for step in members for read in step.node.reads if read.node in params}
        if len(members) < 2 or len(used) < len(members):
            continue
        weights = sum(at(held_bytes(slot, shapes), point) for slot in sorted(used))
        saved = (len(members) - 1) * profile.stream(at(held_bytes(value, shapes), point))
        if saved > profile.stream(2 * weights):
            merged[positions[0]] = ProjectionsStep(
                tuple(Projection(s.out, s.node, s.name, s.spans) for s in members)
            )
            gone.update(positions[1:])
    kept = [(k, merged.get(k, step)) for k, step in enumerate(steps) if k not in gone]
    return [step for _, step in kept]


def _projection(
    step: AnyStep, params: frozenset[Slot], shapes: Mapping[Slot, tuple[tuple[Size, ...], Dtype]]
) -> _Key | None:
    """(value, its contracted axes) of a plain linear map of a value by a param."""
    if not isinstance(step, Step) or not isinstance(step.node.op, Contract):
        return None
    node, op = step.node, step.node.op
    if op.coefficient != 1 or op.semiring is not Semiring.SUM_PRODUCT or len(node.reads) != 2:
        return None
    weights = [read for read in node.reads if read.node in params]
    values = [read for read in node.reads if read.node not in params]
    if len(weights) != 1 or len(values) != 1 or not node.bound:
        return None
    weight, value = weights[0], values[0]
    if not is_simple(weight) or not is_simple(value):
        return None
    if {shapes[weight.node][1], shapes[value.node][1], node.dtype} != {Dtype.REAL}:
        return None
    on_weight, on_value = _indices(weight), _indices(value)
    if set(on_weight) & set(on_value) != set(node.bound):
        return None
    return value.node, tuple(axis for axis, i in enumerate(on_value) if i in node.bound)


def _indices(read: Read) -> list[int]:
    return [s.index for s in read.subscripts if isinstance(s, At)]
