"""K2: attentions to pairs of keys whose keys and values are products of a tensor per key index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import At, Contract, Read, Semiring
from tensorlang.ir.reads import mentions, rename_read
from tensorlang.plan.cost import made
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.fuse_attention import condition_of, heads_problem, one_query, simple
from tensorlang.plan.plan import Attention, AttentionStep, Slot, Step
from tensorlang.size import Size


@dataclass(frozen=True, slots=True)
class Third:
    """An attention taken apart: `keys` and `values` by side, in the order of its key indices; a
    side may have no value. `products` are the slots that kernels need not form. Sums inside of the
    keys are further features of `attention`."""

    attention: Attention
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
        if isinstance(found, str):
            return f"attention to pairs of keys: {found}"
        return [_members(layer, k, found)]

    def judge(self, layer: Layer, members: Members) -> Group | str:
        step = layer.steps[members[-1]]
        assert isinstance(step, AttentionStep), step
        found = third(step.attention, _plain(layer))
        assert isinstance(found, Third), found
        at = condition_of(layer, step)
        copied = {layer.maker[slot] for slot in found.products} - {*members}
        reason = "attention to pairs of keys: one kernel, no tensor over queries and pairs"
        if step.attention.mask is not None:
            how = (
                "read per cell" if at is None else "computed from positions, pairs outside skipped"
            )
            reason = f"{reason}; the mask is {how}"
        return Group(members, reason, tuple(sorted({*copied, *(() if at is None else (at,))})))


def _members(layer: Layer, k: int, found: Third) -> Members:
    """The attention and products that nobody else reads."""
    members = {k}
    for at in sorted((layer.maker[slot] for slot in found.products), reverse=True):
        (slot,) = made(layer.steps[at])
        if slot not in layer.needed and {*layer.readers.get(slot, ())} <= members:
            members.add(at)
    return tuple(sorted(members))


def third(a: Attention, steps: Mapping[Slot, Step]) -> Third | str:
    """The parts of an attention to pairs of keys, or why it is not for K2."""
    a = one_query(a)
    if a.bias is not None:
        return "an additive bias stays with torch"
    keys, values = (_Product(a.key, steps, list(a.sizes)) for _ in range(2))
    keys.take(a.k)
    values.take(a.v)
    if values.factor != 1 or len(values.sizes) > len(a.sizes):
        return "values have a factor or a sum"
    sides = []
    for name, product in (("keys", keys), ("values", values)):
        apart = _sides(product.reads, a.key)
        if apart is None:
            return f"{name} are no product of one tensor for each key index"
        sides.append(apart)
    (k1, k2), (v1, v2) = sides
    if k1 is None or k2 is None:
        return "keys are no product of one tensor for each key index"
    more = tuple(range(len(a.sizes), len(keys.sizes)))
    a = replace(
        a, scale=a.scale * keys.factor, sizes=tuple(keys.sizes), feature=(*a.feature, *more)
    )
    problem = heads_problem(a)
    if problem is not None:
        return problem
    read = (a.q, k1, k2, *(r for r in (v1, v2, a.mask) if r is not None))
    if not all(map(simple, read)):
        return "operands are read at computed positions"
    return Third(a, (k1, k2), (v1, v2), (*keys.products, *values.products))


def _sides(reads: Sequence[Read], key: Sequence[int]) -> tuple[Read | None, Read | None] | None:
    """The read that mentions each key index; None if that is no way to tell them apart."""
    mine = [[read for read in reads if mentions(read, (index,))] for index in key]
    if any(len(side) > 1 for side in mine) or sum(map(len, mine)) != len(reads):
        return None
    first, second = (side[0] if side else None for side in mine)
    return first, second


@dataclass(slots=True)
class _Product:
    """A read of both key indices as a number times reads, and the products taken apart; what they
    sum over gets new indices at the end of `sizes`."""

    keys: Sequence[int]
    steps: Mapping[Slot, Step]
    sizes: list[Size]
    factor: float = 1.0
    reads: list[Read] = field(default_factory=list)
    products: list[Slot] = field(default_factory=list)

    def take(self, read: Read) -> None:
        step = self.steps.get(read.node)
        both = all(mentions(read, (key,)) for key in self.keys)
        if step is None or not both or not simple(read) or not _is_product(step):
            self.reads.append(read)
            return
        node = step.node
        assert isinstance(node.op, Contract), node
        assert not isinstance(node.op.coefficient, complex), node
        names = {axis: s.index for axis, s in enumerate(read.subscripts) if isinstance(s, At)}
        for index in node.bound:
            names[index] = len(self.sizes)
            self.sizes.append(node.sizes[index])
        self.factor *= float(node.op.coefficient)
        self.products.append(read.node)
        for inner in node.reads:
            self.take(rename_read(inner, names))


def _is_product(step: Step) -> bool:
    op = step.node.op
    if not isinstance(op, Contract) or op.semiring is not Semiring.SUM_PRODUCT:
        return False
    return step.node.dtype is Dtype.REAL and not isinstance(op.coefficient, complex)


def _plain(layer: Layer) -> dict[Slot, Step]:
    return {step.out: step for step in layer.steps if isinstance(step, Step)}
