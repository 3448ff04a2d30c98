"""A K2 region: what a planned attention to pairs of keys is to the kernels of third.py."""

from __future__ import annotations

from tensorlang.backends.triton.attention_parts import Attention
from tensorlang.backends.triton.attention_reading import Reading
from tensorlang.backends.triton.attention_region import batch_axes, width
from tensorlang.backends.triton.attention_text import Family, Operand, Text
from tensorlang.backends.triton.configs import THIRD
from tensorlang.backends.triton.coverage_pairs import visits
from tensorlang.backends.triton.kernel_ir import Ref
from tensorlang.backends.triton.region import Printed
from tensorlang.backends.triton.third import kernels
from tensorlang.dtype import Dtype
from tensorlang.plan.fuse_third import Third, third
from tensorlang.plan.plan import AttentionStep, Plan, Region, Slot, Step
from tensorlang.plan.slots import dtypes

FAMILY = Family(
    THIRD,
    lambda what: "keys" if what in ("first", "second") else what,
    "M, M2 = K1.shape[-2], K2.shape[-2]",
)


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one attention to pairs of keys.

    Second keys, which have values, are taken in blocks; of two such orders the one with fewer
    blocks, as windows differ.
    """
    (regime,) = region.regimes
    (step,) = (s for s in regime.steps if isinstance(s, AttentionStep))
    steps = {s.out: s for s in regime.steps if isinstance(s, Step)}
    parts = third(step.attention, steps)
    assert isinstance(parts, Third), parts
    kinds = dtypes(plan)
    texts = [
        _text(parts, steps, kinds, name, order)
        for order in ((0, 1), (1, 0))
        if parts.values[order[1]] is not None
    ]
    return min(texts, key=lambda text: visits(text.forward)).printed()


def _text(
    parts: Third,
    steps: dict[Slot, Step],
    kinds: dict[Slot, Dtype],
    name: str,
    order: tuple[int, int],
) -> Text:
    a = parts.attention
    first, second = (a.key[side] for side in order)
    axes = {
        **batch_axes(a),
        a.query[0]: ("i", Ref("N")),
        first: ("j", Ref("M")),
        second: ("k", Ref("M2")),
    }
    reading = Reading(axes, kinds, steps)
    condition = reading.value(a.mask)
    attention = Attention(
        name, len(a.batch), width(a, a.feature), width(a, a.value), a.scale, condition,
        tuple(reading.masks.values()), tuple(reading.sizes),
    )  # fmt: skip
    keys = [parts.keys[side] for side in order]
    values = [parts.values[side] for side in order]
    operands = [Operand("Q", a.q, a.query, a.feature)]
    for key, number, read in zip((first, second), "12", keys, strict=True):
        operands.append(Operand(f"K{number}", read, (key,), a.feature))
    for key, number, value in zip((first, second), "12", values, strict=True):
        operands.append(Operand(f"V{number}", value, (key,), a.value, f"K{number}"))
    return Text(FAMILY, a, attention, reading, operands, kernels(attention))
