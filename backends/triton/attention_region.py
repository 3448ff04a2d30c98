"""A K1 region: what a planned attention is to the kernels of attention.py."""

from __future__ import annotations

from tensorlang.backends.triton.attention import kernels
from tensorlang.backends.triton.attention_parts import Attention
from tensorlang.backends.triton.attention_reading import Reading, indices_of
from tensorlang.backends.triton.attention_text import Family, Operand, Text
from tensorlang.backends.triton.configs import ATTENTION
from tensorlang.backends.triton.kernel_ir import Expr, Ref
from tensorlang.backends.triton.region import Printed
from tensorlang.plan.fuse_attention import one_query
from tensorlang.plan.plan import Attention as Planned
from tensorlang.plan.plan import AttentionStep, Plan, Region, Step
from tensorlang.plan.slots import dtypes
from tensorlang.size import product

FAMILY = Family(ATTENTION, lambda what: what, "M = K.shape[-2]")


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one attention."""
    (regime,) = region.regimes
    (step,) = (s for s in regime.steps if isinstance(s, AttentionStep))
    a = one_query(step.attention)
    axes = {
        **batch_axes(a),
        a.query[0]: ("i", Ref("N")),
        a.key[0]: ("j", Ref("M")),
    }
    steps = {s.out: s for s in regime.steps if isinstance(s, Step)}
    reading = Reading(axes, dtypes(plan), steps)
    condition, bias = reading.value(a.mask), reading.value(a.bias)
    graded = None
    if a.bias is not None and a.bias.node not in steps:
        graded = reading.masks[a.bias.node, tuple(indices_of(a.bias))]
    features, values = width(a, a.feature), width(a, a.value)
    attention = Attention(
        name, len(a.batch), features, values, a.scale, condition,
        tuple(reading.masks.values()), tuple(reading.sizes), bias, graded,
    )  # fmt: skip
    operands = (
        Operand("Q", a.q, a.query, a.feature),
        Operand("K", a.k, a.key, a.feature),
        Operand("V", a.v, a.key, a.value),
    )
    return Text(FAMILY, a, attention, reading, operands, kernels(attention)).printed()


def batch_axes(a: Planned) -> dict[int, tuple[str, Expr]]:
    """Names and extents in kernels of the indices that all operands share."""
    return {index: (f"b{k}", Ref(f"B{k}")) for k, index in enumerate(a.batch)}


def width(a: Planned, axes: tuple[int, ...]) -> int:
    """The size of features or values, which the plan makes sure is a number."""
    size = product(a.sizes[index] for index in axes)
    assert isinstance(size, int), a
    return size
