"""K1: which attentions one kernel computes, and which masks it computes from positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Lit, Pointwise, Read, Scalar
from tensorlang.ir.reads import leaves, read_indices
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.plan import AnyStep, Attention, AttentionStep, Slot, Step
from tensorlang.size import Size, product

WIDEST_HEAD = 128

COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
CONDITIONS = COMPARISONS | {"and", "or", "not", "add", "neg", "mul"}
BIASES = {"to_real", "add", "neg", "mul", "div", "abs", "exp", "sqrt", "min", "max"}


@dataclass(frozen=True, slots=True)
class AttentionFamily:
    backend: str = "K1"

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        step = layer.steps[k]
        if not isinstance(step, AttentionStep) or len(step.attention.key) == 2:
            return ""  # pairs of keys are K2's
        problem = attention_problem(step)
        return [(k,)] if problem is None else f"attention: {problem}"

    def judge(self, layer: Layer, members: Members) -> Group | str:
        (k,) = members
        step = layer.steps[k]
        assert isinstance(step, AttentionStep), step
        mask, bias = condition_of(layer, step), bias_of(layer, step)
        copied = tuple(sorted(at for at in (mask, bias) if at is not None))
        return Group(members, _reason(layer, step, mask, bias), copied)


def attention_problem(step: AttentionStep) -> str | None:
    """Why an attention is not for K1; None if it is."""
    a = one_query(step.attention)
    if len(a.key) != 1:
        return f"no kernel for a softmax over {len(a.key)} key indices"
    problem = heads_problem(a)
    if problem is not None:
        return problem
    read = (a.q, a.k, a.v, *(r for r in (a.mask, a.bias) if r is not None))
    return None if all(map(simple, read)) else "operands are read at computed positions"


def one_query(a: Attention) -> Attention:
    """With one query index, the one of the mask, else the longest: heads that share their keys are
    batch to a kernel, which reads keys and values without that index."""
    if len(a.query) == 1:
        return a
    held = {index for read in (a.mask, a.bias) if read is not None for index in read_indices(read)}
    masked = [index for index in a.query if index in held] or list(a.query)
    calls = [index for index in masked if not isinstance(a.sizes[index], int)]
    longest = max(calls or masked, key=lambda index: (_number(a.sizes[index]), index))
    rest = tuple(index for index in a.query if index != longest)
    return replace(a, batch=(*a.batch, *rest), query=(longest,))


def _number(size: Size) -> int:
    return size if isinstance(size, int) else 0


def heads_problem(a: Attention) -> str | None:
    """Why the features and values of an attention are not for a kernel, which takes several
    indices as one."""
    if not a.feature or not a.value:
        return "no feature or no value index"
    widths = [product(a.sizes[index] for index in axes) for axes in (a.feature, a.value)]
    if not all(isinstance(width, int) for width in widths):
        return "the head size is known at the call only"
    if any(isinstance(width, int) and width > WIDEST_HEAD for width in widths):
        return f"heads wider than {WIDEST_HEAD}"
    return None


def simple(read: Read) -> bool:
    indices = [s.index for s in read.subscripts if isinstance(s, At)]
    return read.fill is None and len(indices) == len(read.subscripts) == len(set(indices))


def is_condition(step: AnyStep) -> bool:
    """A step that a kernel can evaluate per cell in place of reading a mask."""
    if not (isinstance(step, Step) and isinstance(step.node.op, Pointwise)):
        return False
    if step.node.dtype is not Dtype.BOOL or not all(simple(read) for read in step.node.reads):
        return False
    return _is_condition(step.node.op.expr)


def _is_condition(expr: Scalar) -> bool:
    if not isinstance(expr, App):
        return not (isinstance(expr, Lit) and isinstance(expr.value, complex))
    if expr.dtype not in (Dtype.BOOL, Dtype.INT) or expr.function not in CONDITIONS:
        return False
    return all(_is_condition(arg) for arg in expr.args)


def condition_of(layer: Layer, step: AttentionStep) -> int | None:
    """The step that makes the mask, if the kernel can."""
    mask = step.attention.mask
    if mask is None or mask.node not in layer.maker:
        return None
    maker = layer.maker[mask.node]
    return maker if is_condition(layer.steps[maker]) else None


def bias_of(layer: Layer, step: AttentionStep) -> int | None:
    """The step that makes the bias, if the kernel can: from what has no gradient."""
    bias = step.attention.bias
    if bias is None or bias.node not in layer.maker:
        return None
    at = layer.maker[bias.node]
    (made,) = layer.plain([at]) or (None,)
    if made is None or not isinstance(made.node.op, Pointwise) or not constant(layer, bias.node):
        return None
    spelled = all(map(simple, made.node.reads)) and _is_bias(made.node.op.expr)
    return at if spelled else None


def constant(layer: Layer, slot: Slot) -> bool:
    """Whether a value is made of positions and sizes alone."""
    if slot not in layer.maker:
        return False
    made = layer.plain([layer.maker[slot]])
    return bool(made) and all(constant(layer, read.node) for read in made[0].node.reads)


def _is_bias(expr: Scalar) -> bool:
    if not isinstance(expr, App):
        return not (isinstance(expr, Lit) and isinstance(expr.value, complex))
    return expr.function in BIASES | CONDITIONS and all(map(_is_bias, expr.args))


def _reason(layer: Layer, step: AttentionStep, condition: int | None, bias: int | None) -> str:
    saved = "softmax and both products in one kernel, the logits are never stored"
    if step.attention.bias is not None:
        how = "read per cell" if bias is None else "computed from positions"
        saved = f"{saved}; the bias is {how}"
    if step.attention.mask is None:
        return f"attention: {saved}"
    if condition is None:
        return f"attention: {saved}; the mask is read per cell"
    (maker,) = layer.plain([condition])
    assert isinstance(maker.node.op, Pointwise), maker
    reads = any(isinstance(leaf, Arg) for leaf in leaves(maker.node.op.expr))
    how = "read and computed" if reads else "computed from positions, blocks outside it skipped"
    return f"attention: {saved}; the mask is {how}"
