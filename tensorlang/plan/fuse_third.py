"""K2: attentions to pairs of keys whose keys and values are products of a tensor per key index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensorlang.ir.nodes import At, Contract, Read, Semiring
from tensorlang.ir.reads import mentions, rename_read
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.fuse_attention import condition_of, heads_problem, one_query, simple
from tensorlang.plan.plan import Attention, AttentionStep, Slot, Step


@dataclass(frozen=True, slots=True)
class Third:
    """An attention taken apart: `keys` and `values` by side, in the order of its key indices; a
    side may have no value. `products` are the slots that kernels need not form."""

    scale: float
    keys: tuple[Read, Read]
    values: tuple[Read | None, Read | None]
    products: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class ThirdFamily:
    backend: str = "K2"

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        step = layer.steps[k]
        if not isinstance(step, AttentionStep) or len(step.attention.key) != 2:
            return ""
        found = third(step.attention, _plain(layer))
        return f"attention to pairs of keys: {found}" if isinstance(found, str) else [(k,)]

    def judge(self, layer: Layer, members: Members) -> Group | str:
        (k,) = members
        step = layer.steps[k]
        assert isinstance(step, AttentionStep), step
        found = third(step.attention, _plain(layer))
        assert isinstance(found, Third), found
        at = condition_of(layer, step)
        copied = {layer.maker[slot] for slot in found.products}
        reason = "attention to pairs of keys: one kernel, no tensor over queries and pairs"
        if step.attention.mask is not None:
            how = (
                "read per cell" if at is None else "computed from positions, pairs outside skipped"
            )
            reason = f"{reason}; the mask is {how}"
        return Group(members, reason, tuple(sorted({*copied, *(() if at is None else (at,))})))


def third(a: Attention, made: Mapping[Slot, Step]) -> Third | str:
    """The parts of an attention to pairs of keys, or why it is not for K2."""
    problem = heads_problem(one_query(a))
    if problem is not None:
        return problem
    if a.bias is not None:
        return "an additive bias stays with torch"
    scale, keys, products = _factors(a.k, a.key, made)
    factor, values, more = _factors(a.v, a.key, made)
    if factor != 1:
        return "values have a factor"
    sides = []
    for name, reads in (("keys", keys), ("values", values)):
        mine = [[read for read in reads if mentions(read, (key,))] for key in a.key]
        if any(len(side) > 1 for side in mine) or sum(map(len, mine)) < len(reads):
            return f"{name} are no product of one tensor for each key index"
        if not all(simple(read) for read in reads):
            return "operands are read at computed positions"
        sides.append([side[0] if side else None for side in mine])
    (k1, k2), (v1, v2) = sides
    if k1 is None or k2 is None or mentions(k1, a.key[1:]) or mentions(k2, a.key[:1]):
        return "keys are no product of one tensor for each key index"
    if v1 is not None and v1 == v2:
        return "values are no product of one tensor for each key index"
    if not simple(a.q) or (a.mask is not None and not simple(a.mask)):
        return "operands are read at computed positions"
    return Third(a.scale * scale, (k1, k2), (v1, v2), (*products, *more))


def _factors(
    read: Read, keys: Sequence[int], made: Mapping[Slot, Step]
) -> tuple[float, list[Read], list[Slot]]:
    """A read of both key indices as a number times reads, and the products taken apart."""
    step = made.get(read.node)
    if step is None or not all(mentions(read, (key,)) for key in keys) or not simple(read):
        return 1.0, [read], []
    op = step.node.op
    if not isinstance(op, Contract) or op.semiring is not Semiring.SUM_PRODUCT or step.node.bound:
        return 1.0, [read], []
    if isinstance(op.coefficient, complex):
        return 1.0, [read], []
    at = {axis: s.index for axis, s in enumerate(read.subscripts) if isinstance(s, At)}
    scale, out, products = float(op.coefficient), list[Read](), [read.node]
    for inner in step.node.reads:
        factor, reads, more = _factors(rename_read(inner, at), keys, made)
        scale *= factor
        out += reads
        products += more
    return scale, out, products


def _plain(layer: Layer) -> dict[Slot, Step]:
    return {step.out: step for step in layer.steps if isinstance(step, Step)}
