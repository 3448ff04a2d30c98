"""K4: chains of small rank, x A G B, and the sum of one with a dense product and a bias."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Contract, Pointwise, Read, Semiring
from tensorlang.order.grid import middle, number
from tensorlang.order.profile import profile_of
from tensorlang.plan.family import Group, Layer, Members
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.seconds import seconds
from tensorlang.size import Size, product, same, symbols

WIDEST_RANK = 64
GPU = "h100"
"""What is priced where the options name no device that has kernels."""
REACHED = 0.7
"""What a kernel reaches of the speed of cuBLAS."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A matrix that is multiplied from the right; `transposed`: it is read [to, from]."""

    slot: Slot
    transposed: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """x [rows…, k] times factors, then plus `added` [rows…, n] and `bias` [n].

    `ranks` are the sizes between factors, `scale` multiplies the product.
    """

    x: Slot
    rows: tuple[Size, ...]
    first: Size
    last: Size
    factors: tuple[Factor, ...]
    ranks: tuple[int, ...]
    scale: float
    added: Slot | None
    bias: Slot | None
    out: Slot


@dataclass(frozen=True, slots=True)
class ChainFamily:
    backend: str = "K4"

    def offers(self, layer: Layer, k: int, own: Sequence[Members]) -> Iterable[Members] | str:
        """Asked for the last product: with the sum that it goes into, or without."""
        found = _products(layer, k)
        if found is None:
            return ""
        out: list[Members] = []
        (step,) = layer.plain([k])
        readers = layer.readers.get(step.out, [])
        if len(readers) == 1 and step.out not in layer.needed:
            reader = layer.steps[readers[0]]
            if isinstance(reader, Step) and isinstance(reader.node.op, Pointwise):
                out.append(tuple(sorted({*found, readers[0]})))
        out.append(found)
        return [m for m in out if chain_of(layer.plain(m)) is not None]

    def judge(self, layer: Layer, members: Members) -> Group | str:
        chain = chain_of(layer.plain(members))
        assert chain is not None, members
        if len(layer.wanted(members)) > 1:
            return "matrix products stay with torch (cuBLAS)"
        point = middle(_dynamic(layer), layer.options)
        named = layer.options.profile
        profile = profile_of(GPU if named == "cpu" else named)
        apart = sum(seconds(s, layer.shapes, point, profile) for s in layer.plain(members))
        m = number(product(chain.rows), point)
        ends = (number(chain.first, point), number(chain.last, point))
        ranks = [ends[0], *chain.ranks, ends[1]]
        moved = 4 * (m * (ends[0] + ends[1] * (1 + (chain.added is not None))))
        moved += 4 * sum(a * b for a, b in itertools.pairwise(ranks))
        work = sum(
            profile.gemm(1, m, b, a, 0.0) - profile.launch for a, b in itertools.pairwise(ranks)
        )
        ours = max(work / REACHED, profile.stream(moved) - profile.launch) + profile.launch
        if ours >= apart:
            return (
                f"a chain of small rank: cuBLAS is expected to take {_time(apart)}, "
                f"one kernel {_time(ours)}"
            )
        what = "a chain of small rank" + (" and its sum" if chain.added is not None else "")
        expected = f"expected to take {_time(ours)}, cuBLAS {_time(apart)}"
        return Group(members, f"{what} in one kernel, {expected}")


def _time(seconds_: float) -> str:
    return f"{seconds_ * 1e6:.3g} µs"


def _dynamic(layer: Layer) -> list[str]:
    names: dict[str, None] = {}
    for extents, _ in layer.shapes.values():
        for size in extents:
            if not isinstance(size, int):
                names.update(dict.fromkeys(symbols(size)))
    return list(names)


def _products(layer: Layer, k: int) -> Members | None:
    """The products that lead to step k, each read by the next alone."""
    members: list[int] = []
    while True:
        step = layer.steps[k]
        if not isinstance(step, Step) or _factor(step) is None:
            break
        members.insert(0, k)
        source = step.node.reads[0].node
        if source not in layer.maker or source in layer.needed:
            break
        if layer.readers[source] != [k]:
            break
        k = layer.maker[source]
    while len(members) > 3:
        members.pop(0)
    return tuple(members) if len(members) > 1 else None


def _factor(step: Step) -> Factor | None:
    """The matrix by which a step multiplies the last axis of its first operand."""
    node = step.node
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if (
        node.dtype is not Dtype.REAL
        or len(node.reads) != 2
        or isinstance(node.op.coefficient, complex)
    ):
        return None
    x, w = (_plain(read) for read in node.reads)
    last, bound = node.rank - 1, tuple(node.bound)
    if x is None or w is None or len(bound) != 1 or x != (*range(last), bound[0]) or last < 1:
        return None
    if w not in ((last, bound[0]), (bound[0], last)):
        return None
    return Factor(node.reads[1].node, w == (last, bound[0]))


def _plain(read: Read) -> tuple[int, ...] | None:
    indices = tuple(s.index for s in read.subscripts if isinstance(s, At))
    plain = read.fill is None and len(indices) == len(read.subscripts)
    return indices if plain else None


def chain_of(steps: Sequence[Step]) -> Chain | None:
    """The chain that steps are, the last perhaps a sum; None if they are none."""
    products = [step for step in steps if isinstance(step.node.op, Contract)]
    sums = [step for step in steps if not isinstance(step.node.op, Contract)]
    factors = [_factor(step) for step in products]
    if len(products) < 2 or len(sums) > 1 or None in factors:
        return None
    scale = 1.0
    for before, step in zip([None, *products], products, strict=False):
        if before is not None and step.node.reads[0].node != before.out:
            return None
        assert isinstance(step.node.op, Contract), step
        assert not isinstance(step.node.op.coefficient, complex), step
        scale *= float(step.node.op.coefficient)
    ranks = tuple(step.node.sizes[step.node.rank - 1] for step in products[:-1])
    if not all(isinstance(rank, int) and 0 < rank <= WIDEST_RANK for rank in ranks):
        return None
    first, last = products[0].node, products[-1].node
    added: Slot | None = None
    bias: Slot | None = None
    if sums:
        node = sums[0].node
        match node.op:
            case Pointwise(App("add", args)) if all(isinstance(a, Arg) for a in args):
                if len(args) != len(node.reads) or sums[0] is not steps[-1]:
                    return None
            case _:
                return None
        every = tuple(range(node.rank))
        if node.dtype is not Dtype.REAL or len(node.sizes) != node.rank:
            return None
        for read in node.reads:
            axes = _plain(read)
            if read.node == products[-1].out:
                if axes != every:
                    return None
            elif axes == every and added is None:
                added = read.node
            elif axes == every[-1:] and bias is None:
                bias = read.node
            else:
                return None
        pairs = zip(node.sizes, last.sizes[: last.rank], strict=True)
        if not all(same(a, b) for a, b in pairs):
            return None
    return Chain(
        first.reads[0].node,
        tuple(first.sizes[: first.rank - 1]),
        first.sizes[next(iter(first.bound))],
        last.sizes[last.rank - 1],
        tuple(f for f in factors if f is not None),
        tuple(int(str(rank)) for rank in ranks),
        scale,
        added,
        bias,
        steps[-1].out,
    )
