"""Where a method's fresh tensors live: the device and dtype of what it reads."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.operand import Value
from tensorlang.dtype import Dtype
from tensorlang.plan.plan import Plan

LIKE = "_like"
"""An empty buffer, in modules that would not know their device or dtype without it."""


def home(plan: Plan, body: Body) -> tuple[str, str]:
    """Expressions for the module's device and dtype; of an empty buffer where it has no others."""
    slots = [
        *plan.inputs,
        *(slot for _, slot in plan.params),
        *(slot for _, slot, _ in plan.consts),
    ]
    return home_of([body.values[slot] for slot in slots], body)


def home_of(values: Sequence[Value], body: Body) -> tuple[str, str]:
    device = next((f"{value.text}.device" for value in values), f"self.{LIKE}.device")
    for value in values:
        if value.dtype is Dtype.REAL:
            return device, f"{value.text}.dtype"
    for value in values:
        if value.dtype is Dtype.COMPLEX:
            return device, f"{body.file.require('_real_dtype')}({value.text}.dtype)"
    return device, f"self.{LIKE}.dtype"
