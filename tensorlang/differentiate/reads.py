"""The adjoint of a read: what a product over a node's indices means for the tensor it reads.

A permutation, a broadcast or a split axis is a contraction. A window (an affine subscript inside or
ELSE) is solved for an index, so that the adjoint is a window as well: the gradients of convolutions
are convolutions. What no contraction says (gathers, clamped ends, strides) lands by a Scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tensorlang.check.program import Boundary, ScatterOp
from tensorlang.differentiate.cells import Cells, number
from tensorlang.differentiate.making import Maker, Term
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    Arg,
    At,
    Gather,
    Group,
    Iota,
    Lit,
    Pointwise,
    Read,
    Scalar,
    SizeOf,
    Subscript,
)
from tensorlang.ir.reads import (
    identity_read,
    mentions,
    read_indices,
    rename_read,
    rename_subscript,
    subscript_indices,
)
from tensorlang.size import Size, same, simplest


@dataclass(frozen=True, slots=True)
class Product:
    """coefficient * the product of factors, over the local indices of a node of this rank."""

    factors: tuple[Read, ...]
    sizes: tuple[Size, ...]
    rank: int
    dtype: Dtype
    coefficient: int | float | complex = 1


@dataclass(slots=True)
class _Solution:
    """Labels for the axes of the tensor read; what its cells need to fulfil."""

    sizes: dict[int, Size]
    factors: list[Read]
    places: list[tuple[int, ...]]
    equal: list[tuple[int, Affine]] = field(default_factory=list)
    within: list[tuple[Affine, Size]] = field(default_factory=list)


def carried(maker: Maker, product: Product, read: Read) -> Term:
    """The sum of a product over the cells that read each cell of a tensor."""
    shape = maker.graph.node(read.node).shape
    subscripts = [
        _split(subscript, size, product.sizes)
        for subscript, size in zip(read.subscripts, shape, strict=True)
    ]
    solution = _solved(maker, product, subscripts, shape)
    if solution is None:
        return _landed(maker, product, subscripts, shape)
    out = [label for place in solution.places for label in place]
    sum_ = maker.contracted(
        solution.factors, product.coefficient, out, solution.sizes, product.dtype
    )
    axis = {label: k for k, label in enumerate(out)}
    cells = maker.cells()
    expr: Scalar = cells.read(rename_read(sum_, axis))
    conditions = [_is_at(cells, axis[label], place, axis) for label, place in solution.equal]
    conditions += [c for place, size in solution.within for c in _inside(cells, place, size, axis)]
    if conditions:
        condition = conditions[0] if len(conditions) == 1 else cells.apply("and", *conditions)
        expr = cells.apply("where", condition, expr, number(0, product.dtype))
    if all(len(place) == 1 for place in solution.places):
        return Term(expr, tuple(cells.reads))
    whole = maker.pointwise(expr, cells, [solution.sizes[label] for label in out])
    return _merged(maker, whole, solution.places)


def _merged(maker: Maker, node: int, places: Sequence[tuple[int, ...]]) -> Term:
    groups: list[tuple[int, ...]] = []
    for place in places:
        first = sum(map(len, groups))
        groups.append(tuple(range(first, first + len(place))))
    merged = maker.merged(node, groups)
    return Term(Arg(0), (identity_read(merged, len(groups)),))


def _split(subscript: Subscript, size: Size, sizes: Sequence[Size]) -> Subscript:
    """A window without overlap or rest, `4 * x + u` with u below 4, as a split axis."""
    match subscript:
        case Affine(terms, 0, Boundary.INSIDE | Boundary.ELSE) if terms:
            order = sorted(terms, key=lambda term: -term[1])
            step: Size = 1
            for index, factor in reversed(order):
                if not same(step, factor):
                    return subscript
                step = simplest(step * sizes[index])
            if same(step, size):
                indices = tuple(index for index, _ in order)
                return At(indices[0]) if len(indices) == 1 else Group(indices)
    return subscript


# --- by contraction ------------------------------------------------------------------------------
def _solved(
    maker: Maker, product: Product, subscripts: Sequence[Subscript], shape: Sequence[Size]
) -> _Solution | None:
    """Every axis as a label of the product; None where an axis can only be landed on."""
    count = len(product.sizes)
    sizes = dict(enumerate(product.sizes))
    solution = _Solution(sizes, list(product.factors), [()] * len(shape))
    taken: set[int] = set()
    left: list[tuple[int, Affine]] = []
    for axis, subscript in enumerate(subscripts):
        match subscript:
            case At(index) if index not in taken:
                solution.places[axis] = (index,)
                taken.add(index)
            case At(index):
                left.append((axis, Affine(((index, 1),), 0, Boundary.INSIDE)))
            case Group(indices) if taken.isdisjoint(indices):
                solution.places[axis] = indices
                taken.update(indices)
            case Affine():
                left.append((axis, subscript))
            case _:
                return None
    for axis, affine in left:
        label = count + axis
        sizes[label] = shape[axis]
        solution.places[axis] = (label,)
        elsewhere = taken.union(*(dict(other.terms) for k, other in left if k != axis))
        found = _solvable(affine, elsewhere, product, shape[axis])
        if found is not None:
            _solve(maker, solution, product, found, affine, label)
        elif taken >= dict(affine.terms).keys() and affine.boundary in (
            Boundary.INSIDE,
            Boundary.ELSE,
        ):
            solution.equal.append((label, affine))
        else:
            return None
    return solution


def _solvable(affine: Affine, elsewhere: set[int], product: Product, size: Size) -> int | None:
    """An index of coefficient 1 or -1 that no other subscript has, an axis of the node before all.

    A position that is wrapped is solved only if the index goes round once.
    """
    if affine.boundary not in (Boundary.INSIDE, Boundary.ELSE, Boundary.WRAP):
        return None
    found = [
        index
        for index, factor in affine.terms
        if abs(factor) == 1
        and index not in elsewhere
        and (affine.boundary is not Boundary.WRAP or same(product.sizes[index], size))
    ]
    strided = any(abs(factor) != 1 for index, factor in affine.terms if index < product.rank)
    axes = [index for index in found if index < product.rank]
    if axes or not found:
        return axes[0] if axes else None
    return None if strided else found[0]  # a strided window would become a sum over all of an axis


def _solve(
    maker: Maker, solution: _Solution, product: Product, index: int, affine: Affine, label: int
) -> None:
    """Replace an index by what the subscript says of it, given the axis."""
    sign = dict(affine.terms)[index]
    others = [(other, factor) for other, factor in affine.terms if other != index]
    terms = [(label, sign), *((other, -sign * factor) for other, factor in others)]
    size, extent = product.sizes[index], solution.sizes[label]
    boundary = affine.boundary
    if boundary is not Boundary.WRAP:
        whole = boundary is Boundary.INSIDE and not others and same(size, extent)
        boundary = Boundary.INSIDE if whole else Boundary.ELSE
    place = Affine(tuple(sorted(terms)), simplest(-sign * affine.offset), boundary)
    zero = number(0, product.dtype).value
    having = [factor for factor in solution.factors if mentions(factor, (index,))]
    rest = [factor for factor in solution.factors if not mentions(factor, (index,))]
    if any(not _is_plain(factor, index, zero) for factor in having):
        labels = dict.fromkeys(i for factor in having for i in read_indices(factor))
        having = [maker.contracted(having, 1, tuple(labels), solution.sizes, product.dtype)]
        if not _is_plain(having[0], index, zero):  # a single factor
            having = [_copied(maker, having[0], solution)]
    fill = zero if boundary is Boundary.ELSE else None
    moved = [
        Read(
            factor.node,
            tuple(place if s == At(index) else s for s in factor.subscripts),
            factor.fill if fill is None else fill,
        )
        for factor in having
    ]
    if not moved and boundary is Boundary.ELSE:
        known = {other for found in solution.places for other in found}
        if known.issuperset(dict(place.terms)):
            solution.within.append((place, size))
        else:
            moved = [_indicator(maker, place, size, solution, product.dtype)]
    solution.factors = rest + moved


def _indicator(maker: Maker, place: Affine, size: Size, solution: _Solution, dtype: Dtype) -> Read:
    """1 where a position is one of an index that no factor has."""
    labels = dict(place.terms)
    cells = maker.cells()
    inside = cells.apply("and", *_inside(cells, place, size, {label: label for label in labels}))
    return maker.computed(cells.cast(inside, dtype), cells, labels, solution.sizes)


def _is_plain(read: Read, index: int, zero: object) -> bool:
    """Whether an index stands alone in its subscripts, and what lies outside is 0."""
    own = [s for s in read.subscripts if index in subscript_indices(s)]
    return all(s == At(index) for s in own) and (read.fill is None or read.fill == zero)


def _copied(maker: Maker, read: Read, solution: _Solution) -> Read:
    labels = list(dict.fromkeys(read_indices(read)))
    local = {label: k for k, label in enumerate(labels)}
    sizes = [solution.sizes[label] for label in labels]
    dtype = maker.graph.node(read.node).dtype
    node = maker.add(Pointwise(Arg(0)), (rename_read(read, local),), sizes, len(sizes), dtype)
    return Read(node, tuple(At(label) for label in labels))


# --- conditions on cells -------------------------------------------------------------------------
def position(cells: Cells, affine: Affine, axis: dict[int, int]) -> Scalar:
    """The value of an affine position over axes."""
    parts: list[Scalar] = [
        cells.apply("mul", number(factor, Dtype.INT), Iota(axis[index]))
        for index, factor in affine.terms
    ]
    offset = _size(affine.offset)
    return cells.apply("add", *parts, offset) if parts else offset


def _size(size: Size) -> Scalar:
    return Lit(size, Dtype.INT) if isinstance(size, int) else SizeOf(size)


def _is_at(cells: Cells, label: int, place: Affine, axis: dict[int, int]) -> Scalar:
    return cells.apply("eq", Iota(label), position(cells, place, axis))


def _inside(cells: Cells, place: Affine, size: Size, axis: dict[int, int]) -> tuple[Scalar, ...]:
    at = position(cells, place, axis)
    return (cells.apply("ge", at, Lit(0, Dtype.INT)), cells.apply("lt", at, _size(size)))


# --- by landing ----------------------------------------------------------------------------------
def _landed(
    maker: Maker, product: Product, subscripts: Sequence[Subscript], shape: Sequence[Size]
) -> Term:
    """A Scatter of the product to the cells read."""
    mentioned = dict.fromkeys(i for s in subscripts for i in subscript_indices(s))
    sizes = dict(enumerate(product.sizes))
    value = maker.contracted(
        product.factors, product.coefficient, tuple(mentioned), sizes, product.dtype
    )
    places: list[tuple[int, ...]] = []
    plain: dict[int, int] = {}
    extents: list[Size] = []
    landing: dict[int, Subscript] = {}
    for subscript, size in zip(subscripts, shape, strict=True):
        match subscript:
            case At(index) if index not in plain:
                own: tuple[int, ...] = (index,)
            case Group(indices) if plain.keys().isdisjoint(indices):
                own = indices
            case _:
                landing[len(extents)] = subscript
                places.append((len(extents),))
                extents.append(size)
                continue
        plain |= {index: len(extents) + k for k, index in enumerate(own)}
        places.append(tuple(plain[index] for index in own))
        extents.extend(sizes[index] for index in own)
    rank = len(extents)
    local = dict(plain)
    used = [*(i for s in landing.values() for i in subscript_indices(s)), *read_indices(value)]
    for index in dict.fromkeys(used):
        if index not in local:
            local[index] = len(extents)
            extents.append(sizes[index])
    target = tuple(
        rename_subscript(_landing(maker, landing[axis], sizes), local)
        if axis in landing
        else At(axis)
        for axis in range(rank)
    )
    moved = rename_read(value, local)
    node = maker.scattered(ScatterOp.SUM, (moved,), (target,), extents, rank)
    return _merged(maker, node, places)


def _landing(maker: Maker, subscript: Subscript, sizes: dict[int, Size]) -> Subscript:
    """Where a value lands: an axis that repeats an index is landed on at its position."""
    match subscript:
        case At(index):
            return Affine(((index, 1),), 0, Boundary.INSIDE)
        case Group(indices):
            step: Size = 1
            terms: list[Scalar] = []
            cells = maker.cells()
            for k, index in reversed(list(enumerate(indices))):
                terms.append(cells.apply("mul", _size(step), Iota(k)))
                step = simplest(step * sizes[index])
            expr = cells.apply("add", *terms)
            node = maker.pointwise(expr, cells, [sizes[index] for index in indices])
            return Gather(Read(node, tuple(At(index) for index in indices)), Boundary.WRAP)
    return subscript
