"""K3: contractions with constants that are mostly zero, however their steps were split.

A group is everything linear between tensors that others make or read and one result, gathers and
one scatter included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Const, Contract, Node
from tensorlang.order.grid import middle, number
from tensorlang.order.profile import profile_of
from tensorlang.plan.cost import at, held_bytes
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.form import Component, Form, Picked
from tensorlang.plan.multiply_out import Constants, form
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.seconds import seconds
from tensorlang.plan.sparse import linear, marks, scatters, stuck
from tensorlang.size import symbols

DENSEST = 0.4
"""Of all terms that a dense constant would have."""
PLAIN_RATE = 0.2
"""What arithmetic outside of matrix products reaches of a device's rate inside of them."""
FEWEST_TERMS = 3
MOST_TERMS = 400
MOST_VALUES = 256
"""Cells of operands and results that one lane holds."""


@dataclass(frozen=True, slots=True)
class SparseFamily:
    backend: str = "K3"

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        known = constants(layer.leaves)
        step = layer.steps[k]
        if not known or not isinstance(step, Step) or not (linear(step) or scatters(step)):
            return ""
        reason = ""
        for last in _followers(layer, k):
            members = _before(layer, last, known)
            found = _form(layer, members) if k in members else None
            if isinstance(found, Form):
                return [members]
            reason = reason or found or ""
        return reason

    def judge(self, layer: Layer, members: Members) -> Group | str:
        found = _form(layer, members)
        assert isinstance(found, Form), found
        names = dict.fromkeys(n for s in layer.shapes.values() for x in s[0] for n in symbols(x))
        point = middle(list(names), layer.options)
        profile = profile_of(layer.options.profile)
        torch = sum(seconds(layer.steps[k], layer.shapes, point, profile) for k in members)
        slots = dict.fromkeys(operand.slot for operand in found.operands)
        moved = sum(at(held_bytes(slot, layer.shapes), point) for slot in slots)
        points = prod(number(size, point) for size in found.sizes)
        work = 3.0 * len(found.terms) * points / (PLAIN_RATE * profile.flops)
        kernel = max(moved / profile.bandwidth, work) + profile.launch
        if kernel >= torch:
            return f"{len(found.terms)} terms a cell: matrix products are expected to be faster"
        return Group(members, _reason(found, torch / kernel))


def constants(leaves: Mapping[Slot, Node]) -> Constants:
    """The values of constants that are not complex."""
    return {
        slot: node.op.array.value
        for slot, node in leaves.items()
        if isinstance(node.op, Const) and node.dtype is not Dtype.COMPLEX
    }


def _reason(found: Form, times: float) -> str:
    text = f"{len(found.terms)} terms of {len(found.operands) - 1} operands in registers"
    ends = []
    if any(isinstance(dim, Picked) for operand in found.operands[1:] for dim in operand.dims):
        ends.append("gathered as they are read")
    if found.scattered:
        ends.append("added where they land")
    return f"{', '.join([text, *ends])}; {times:.1f} times as fast as torch is expected to be"


# --- groups --------------------------------------------------------------------------------------
def _followers(layer: Layer, k: int) -> list[int]:
    """Steps that a group which holds step k may end with, the last first."""
    found, stack = {k}, [k]
    while stack:
        step = layer.steps[stack.pop()]
        assert isinstance(step, Step), step
        if step.out in layer.needed or scatters(step):
            continue
        for reader in layer.readers.get(step.out, ()):
            other = layer.steps[reader]
            if reader in found or not isinstance(other, Step):
                continue
            if linear(other) or scatters(other):
                found.add(reader)
                stack.append(reader)
    return sorted(found, reverse=True)


def _before(layer: Layer, last: int, known: Constants) -> Members:
    """The steps that can be multiplied out into the last one and that nobody else reads."""
    members = {last}
    for k in range(last - 1, -1, -1):
        step = layer.steps[k]
        if not isinstance(step, Step) or not linear(step) or step.out in layer.needed:
            continue
        readers = layer.readers.get(step.out, ())
        if readers and all(reader in members for reader in readers):
            members.add(k)
    while True:
        steps = layer.plain(sorted(members))
        found = marks(steps, known)
        wrong = {layer.maker[step.out] for step in steps if stuck(step, found)}
        if not wrong or last in wrong:
            return () if wrong else tuple(sorted(members))
        members -= wrong
        while True:  # what is read through a step that is left out is left out as well
            cut = {
                k
                for k in members - {last}
                for step in layer.plain([k])
                if not all(r in members for r in layer.readers.get(step.out, ()))
            }
            if not cut:
                break
            members -= cut


def _form(layer: Layer, members: Members) -> Form | str | None:
    """What a group computes; None if that is not a sum with a sparse constant, or why it is too
    long a one."""
    steps = layer.plain(members)
    known = constants(layer.leaves)
    read = {read.node for step in steps for read in step.node.reads} & set(known)
    if not read or not any(isinstance(step.node.op, Contract) for step in steps):
        return None
    found = form(steps, known, layer.shapes)
    if isinstance(found, str) or len(found.operands) < 3 or not found.sizes:
        return None  # without an axis that is no component there is one lane
    sizes = [prod(d.size for d in o.dims if isinstance(d, Component)) for o in found.operands]
    if not FEWEST_TERMS <= len(found.terms) <= DENSEST * prod(sizes):
        return None
    if len(found.terms) > MOST_TERMS:
        return f"a sum of {len(found.terms)} terms, more than {MOST_TERMS}"
    if sum(sizes) > MOST_VALUES:
        return f"a sum of {sum(sizes)} values, more than {MOST_VALUES} in registers"
    return found
