"""A constant that is a Kronecker product is multiplied factor by factor, where that costs less.

sum_q C[p q] x[q] with C[(p1 p2) (q1 q2)] = A[p1 q1] B[p2 q2] is sum_q1 A[p1 q1] sum_q2 B[p2 q2]
x[(q1 q2)]: two small products in place of a large one. A Hadamard matrix has a factor for each bit,
grouped so that each product is large enough to be quick.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Array,
    At,
    Const,
    Contract,
    Group,
    Merge,
    Node,
    Read,
    Semiring,
    Subscript,
)
from tensorlang.ir.reads import (
    identity_read,
    read_indices,
    rename_read,
    rename_subscript,
    subscript_indices,
)
from tensorlang.order.grid import Point, number
from tensorlang.order.profile import profile_of
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points
from tensorlang.size import Size

_FEWEST = 256  # cells of a constant that is looked into
_MOST_FACTORS = 4
_MOST_SHAPES = 5000
_PROBES = 32
_TOLERANCE = 1e-14  # relative: factors are found by dividing
Table = npt.NDArray[np.generic]


def kronecker(node: Node, site: Site) -> Node | None:
    """Multiply with the factors of a constant."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype < Dtype.REAL or len(node.reads) < 2:
        return None
    for k, read in enumerate(node.reads):
        found = _cells(node, read, site)
        if found is None or found[0].size < _FEWEST:
            continue
        cells, axes = found
        if not all(_splits(node, index) for index in axes) or set(axes) <= set(range(node.rank)):
            continue
        if any(_is_apart(other, axes, site) for n, other in enumerate(node.reads) if n != k):
            continue
        one = _scaled(node, k, axes, site)
        made = _cheapest(one, one.reads.index(read), axes, _factors(Array(cells)), site)
        if made is not None:
            return made
    return None


def _is_apart(read: Read, axes: Sequence[int], site: Site) -> bool:
    """Whether a read is of another constant matrix: this product is one of factors already."""
    known = isinstance(site.node(read.node).op, Const) and len(read.subscripts) > 1
    return known and not set(axes) & set(read_indices(read))


def _cells(node: Node, read: Read, site: Site) -> tuple[Table, list[int]] | None:
    """The values of a constant that is read at distinct indices, alone or in groups."""
    op = site.node(read.node).op
    if not isinstance(op, Const) or not all(isinstance(s, At | Group) for s in read.subscripts):
        return None
    axes = list(read_indices(read))
    if len(axes) < 2 or len(set(axes)) < len(axes):
        return None
    return op.array.value.reshape([int(node.sizes[index]) for index in axes]), axes


def _splits(node: Node, index: int) -> bool:
    """Whether an index stands only where its parts can stand: alone or in a group."""
    return all(
        isinstance(subscript, At | Group) or index not in subscript_indices(subscript)
        for read in node.reads
        for subscript in read.subscripts
    )


def _scaled(node: Node, k: int, axes: Sequence[int], site: Site) -> Node:
    """What is summed times the diagonals that scale it, as one value: a pass, but no product more.

    Scaled first, a factor would have a matrix for each cell of the others.
    """
    bound = {index for index in axes if index in node.bound}
    met = [r for n, r in enumerate(node.reads) if n != k and bound & set(read_indices(r))]
    around = sorted({index for read in met for index in read_indices(read)})
    if len(met) < 2 or not any(set(read_indices(read)) == set(around) for read in met):
        return node
    local = {index: place for place, index in enumerate(around)}
    sizes = tuple(node.sizes[index] for index in around)
    reads = tuple(rename_read(read, local) for read in met)
    product = site.add(Node(Contract(), reads, sizes, len(around), node.dtype))
    whole = Read(product, tuple(At(index) for index in around))
    rest = tuple(read for read in node.reads if read not in met)
    return replace(node, reads=(whole, *rest))


# --- factors -------------------------------------------------------------------------------------
@lru_cache(maxsize=64)
def _factors(array: Array) -> tuple[Table, ...]:
    """The finest factors of a Kronecker product, all axes of each; the array alone if none."""
    out: list[Table] = []
    left = array.value
    if not left.any() or not np.all(np.isfinite(left)):
        return (left,)
    while True:
        found = next((s for shape in _shapes(left.shape) if (s := _split(left, shape))), None)
        if found is None:
            return (*out, left)
        out.append(found[0])
        left = found[1]


def _shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Shapes that a first factor may have, small ones first."""
    divisors = [[d for d in range(1, size + 1) if size % d == 0] for size in shape]
    if math.prod(map(len, divisors)) > _MOST_SHAPES:
        return []
    cells = math.prod(shape)
    every = [s for s in itertools.product(*divisors) if 1 < math.prod(s) < cells]
    return sorted(every, key=lambda s: (math.prod(s), s))


def _split(value: Table, shape: Sequence[int]) -> tuple[Table, Table] | None:
    """A, B of `shape` and of the rest with A ⊗ B = value, if there are such."""
    inner = [size // part for size, part in zip(value.shape, shape, strict=True)]
    pivot = np.unravel_index(int(np.argmax(np.abs(value))), value.shape)
    probe = np.unravel_index(np.flatnonzero(value)[:: max(1, value.size // _PROBES)], value.shape)
    # a[p] b[q] * a[P] b[Q] = a[p] b[Q] * a[P] b[q]: at a few cells, as most values are no product
    outer = tuple(p // n * n + P % n for p, P, n in zip(probe, pivot, inner, strict=True))
    within = tuple(P // n * n + p % n for p, P, n in zip(probe, pivot, inner, strict=True))
    worst = _TOLERANCE * abs(value[pivot]) ** 2
    if np.any(np.abs(value[probe] * value[pivot] - value[outer] * value[within]) > worst):
        return None
    pairs = [n for pair in zip(shape, inner, strict=True) for n in pair]
    rank = len(shape)
    table = value.reshape(pairs).transpose([*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)])
    at_first = tuple(P // n for P, n in zip(pivot, inner, strict=True))
    at_second = tuple(P % n for P, n in zip(pivot, inner, strict=True))
    first = table[(..., *at_second)] / value[pivot]
    second = table[at_first]
    made = np.multiply.outer(first, second)
    if np.any(np.abs(made - table) > _TOLERANCE * abs(value[pivot])):
        return None
    return first, second


def _groupings(factors: Sequence[Table]) -> Iterator[list[Table]]:
    """The factors joined to 2, 3, … products of neighbours, of about equal size."""
    logs = [math.log(factor.size) for factor in factors]
    for count in range(2, min(_MOST_FACTORS, len(factors)) + 1):
        cuts = min(
            itertools.combinations(range(1, len(factors)), count - 1),
            key=lambda cut: sum(math.exp(sum(logs[a:b]) / 2) for a, b in _spans(cut, factors)),
        )
        yield [functools.reduce(np.kron, factors[a:b]) for a, b in _spans(cuts, factors)]


def _spans(cuts: Sequence[int], factors: Sequence[Table]) -> Iterator[tuple[int, int]]:
    return itertools.pairwise((0, *cuts, len(factors)))


# --- the product ---------------------------------------------------------------------------------
def _cheapest(
    node: Node, k: int, axes: Sequence[int], factors: Sequence[Table], site: Site
) -> Node | None:
    options = site.options
    where = points(node.sizes, options)
    met = [read for position, read in enumerate(node.reads) if position != k]
    met = [read for read in met if set(axes) & set(read_indices(read))]
    around = sorted({index for read in met for index in read_indices(read)})
    best: tuple[float, list[Table], str] | None = None
    for grouping in _groupings(factors):
        one = _multiplied(node, k, axes, grouping, site)
        count = len(grouping)

        def after(at: Point, one: Node = one, count: int = count) -> float:
            # the axes that a factor sums are brought together before its product
            moved = 8.0 * math.prod(float(number(node.sizes[index], at)) for index in around)
            copies = count * profile_of(options.profile).permuted(moved)
            return node_price(one, at, options) + copies

        found = compared(where, lambda at: node_price(node, at, options), after)
        total = sum(found.after)
        if found.mostly() and found.together() and (best is None or total < best[0]):
            best = (total, grouping, found.saved())
    if best is None:
        return None
    _, grouping, saved = best
    site.did(f"a constant is a Kronecker product of {len(grouping)} factors", saved)
    one = _multiplied(node, k, axes, grouping, site)
    groups = tuple(_parts(node, axes, grouping)[: node.rank])
    if one.rank == node.rank:
        return one
    whole = identity_read(site.add(one), one.rank)
    return Node(Merge(groups), (whole,), node.shape, node.rank, node.dtype)


def _parts(node: Node, axes: Sequence[int], factors: Sequence[Table]) -> list[tuple[int, ...]]:
    """The new indices in place of each old one: of an axis of the constant one for each factor
    that has more than a cell along it."""
    out: list[tuple[int, ...]] = []
    free = 0
    for index in range(len(node.sizes)):
        count = 1
        if index in axes:
            count = max(1, sum(f.shape[axes.index(index)] > 1 for f in factors))
        out.append(tuple(range(free, free + count)))
        free += count
    return out


def _multiplied(
    node: Node, k: int, axes: Sequence[int], factors: Sequence[Table], site: Site
) -> Node:
    """The product with factors in place of read k, and its axes in parts."""
    parts = _parts(node, axes, factors)
    sizes: list[Size] = [size for size, own in zip(node.sizes, parts, strict=True) for _ in own]
    reads = [
        Read(r.node, tuple(_renamed(s, parts) for s in r.subscripts), r.fill)
        for position, r in enumerate(node.reads)
        if position != k
    ]
    left = {index: list(parts[index]) for index in axes}
    for factor in factors:
        wide = [(index, size) for index, size in zip(axes, factor.shape, strict=True) if size > 1]
        taken = [left[index].pop(0) for index, _ in wide]
        for part, (_, size) in zip(taken, wide, strict=True):
            sizes[part] = size
        value = factor.reshape([size for _, size in wide])
        made = Node(Const(Array(value)), (), value.shape, value.ndim, node.dtype)
        reads.append(Read(site.graph.add(made), tuple(At(part) for part in taken)))
    rank = sum(len(parts[axis]) for axis in range(node.rank))
    return Node(node.op, tuple(reads), tuple(sizes), rank, node.dtype)


def _renamed(subscript: Subscript, parts: Sequence[tuple[int, ...]]) -> Subscript:
    match subscript:
        case At(index):
            return At(parts[index][0]) if len(parts[index]) == 1 else Group(parts[index])
        case Group(indices):
            return Group(tuple(part for index in indices for part in parts[index]))
        case _:
            names = {old: new[0] for old, new in enumerate(parts) if len(new) == 1}
            return rename_subscript(subscript, names)
