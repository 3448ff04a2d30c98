"""Sums along a difference (or sum) of indices: sum_j x[b j] t[i - j] is a product of spectra where
that costs less, else a product with the windows of t, which needs no matrix of positions.

A Toeplitz or circulant weight, a long convolution, a relative position: any t[± i ± j + c] with its
boundary is s[i ∓ j + const] of a vector s that is read once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Affine, At, Contract, Node, Read, Semiring
from tensorlang.ir.reads import read_indices
from tensorlang.order.grid import Point, number
from tensorlang.rewrite import spectra
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points, price, stream
from tensorlang.size import Size, same, simplest

_SHORT = 32  # cells along an index below which a sum over it is left as it is


@dataclass(frozen=True, slots=True)
class _Band:
    """Read number `read` has axis `axis` at rows · i + columns · j + offset; `other` has j too."""

    read: int
    axis: int
    i: int
    j: int
    rows: int  # +1 or -1
    columns: int
    other: int


def toeplitz(node: Node, site: Site) -> Node | None:
    """A sum over j of t[i - j] by spectra, or by windows of a vector."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype < Dtype.REAL or len(node.reads) < 2:
        return None
    for band in _bands(node):
        result = _by_spectra(node, band, site) or _by_windows(node, band, site)
        if result is not None:
            return result
    return None


def _bands(node: Node) -> Iterator[_Band]:
    for k, read in enumerate(node.reads):
        for axis, subscript in enumerate(read.subscripts):
            match subscript:
                case Affine(((a, step_a), (b, step_b)), _, _) if {abs(step_a), abs(step_b)} == {1}:
                    for i, j, rows, columns in ((a, b, step_a, step_b), (b, a, step_b, step_a)):
                        other = _other(node, k, i, j)
                        if other is not None:
                            yield _Band(k, axis, i, j, rows, columns, other)


def _other(node: Node, k: int, i: int, j: int) -> int | None:
    """The one other read with j, if it has it once, as an axis, and i and j are only here."""
    own = read_indices(node.reads[k])
    if j not in node.bound or own.count(i) > 1 or own.count(j) > 1:
        return None
    found = [n for n, read in enumerate(node.reads) if n != k and j in read_indices(read)]
    if len(found) != 1:
        return None
    theirs = read_indices(node.reads[found[0]])
    alone = At(j) in node.reads[found[0]].subscripts and theirs.count(j) == 1
    return found[0] if alone and i not in theirs else None


def _subscript(node: Node, band: _Band) -> Affine:
    subscript = node.reads[band.read].subscripts[band.axis]
    assert isinstance(subscript, Affine), subscript
    return subscript


# --- spectra -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Line:
    """t as a vector s of `cells`: along which positions, and where the sum for i = 0 stands."""

    along: Affine
    cells: Size
    start: Size


def _by_spectra(node: Node, band: _Band, site: Site) -> Node | None:
    t, x = node.reads[band.read], node.reads[band.other]
    mine, theirs = _rest(t, band), _rest(x, band)
    if any(index in node.bound for index in mine if index in theirs):
        return None  # a sum over channels beside: a convolution, or a product with windows
    if min(_known(node.sizes[band.i]), _known(node.sizes[band.j])) < _SHORT:
        return None
    correlates = band.rows == band.columns
    if correlates and node.dtype is Dtype.COMPLEX:
        return None
    if x.fill not in (None, 0) or not site.finite(t.node) or not site.finite(x.node):
        return None  # what is not finite would spread along all of i
    line = _line(node, band, site)
    axes = sorted({*mine, *theirs})
    extras = [read for k, read in enumerate(node.reads) if k not in (band.read, band.other)]
    options, sizes = site.options, node.sizes

    def volume(indices: Iterable[int], point: Point) -> float:
        return math.prod(float(number(sizes[index], point)) for index in indices)

    def before(point: Point) -> float:
        formed = volume((*mine, band.i, band.j), point)
        parts = 3 if node.dtype is Dtype.COMPLEX else 1  # four products of reals, in one pass
        return parts * node_price(node, point, options) + stream(8.0 * formed, options)

    def after(point: Point) -> float:
        cells = float(number(line.cells, point))
        rows = [volume(indices, point) for indices in (mine, theirs, axes)]
        seconds = spectra.product_seconds(sum(rows), cells, node.dtype, options)
        for each in rows:
            seconds += spectra.transform_seconds(each, cells, node.dtype, options)
        if extras:
            whole = Read(0, tuple(At(index) for index in (*axes, band.i)))
            seconds += price((whole, *extras), sizes, range(node.rank), point, options)
        return seconds

    found = compared(points(sizes, options), before, after)
    if not found.together():
        return None
    site.did("a sum along a difference of indices is a product of spectra", found.saved())
    index = len(sizes)
    place = x.subscripts.index(At(band.j))
    whole = Affine(((index, 1),), 0, Boundary.ELSE)
    lines = (
        spectra.row(x, place, whole, line.cells, node, site),
        spectra.row(t, band.axis, line.along, line.cells, node, site),
    )
    first, second = (spectra.spectrum(each, node, line.cells, site) for each in lines)
    if correlates:
        first = spectra.conjugate(first, site)
    signal = spectra.multiplied((first, second), axes, line.cells, node, site)
    made = spectra.at_index(signal, band.i, line.start, sizes[band.i], line.cells)
    return spectra.without(node, band.j, (made, *extras))


def _line(node: Node, band: _Band, site: Site) -> _Line:
    subscript = _subscript(node, band)
    index = len(node.sizes)
    rows, columns = node.sizes[band.i], node.sizes[band.j]
    axis = site.node(node.reads[band.read].node).shape[band.axis]
    offset, boundary = subscript.offset, subscript.boundary
    cells = _cells(rows, columns)
    if (band.rows, band.columns) == (1, -1):
        around = boundary is Boundary.WRAP and same(rows, axis) and same(columns, axis)
        if around and spectra.is_quick(axis):  # circulant: as long as it is
            return _Line(Affine(((index, 1),), offset, boundary), axis, 0)
        # zero from where i - j would come round: s starts where j = i
        room = simplest(cells - columns + 1 - axis + offset)
        zero = boundary is Boundary.ELSE and not node.reads[band.read].fill
        if zero and _is_nonnegative(room) and _is_nonnegative(simplest(-offset)):
            return _Line(Affine(((index, 1),), offset, boundary), cells, 0)
    inside = Boundary.ELSE if boundary is Boundary.INSIDE else boundary
    if band.rows == band.columns:
        return _Line(Affine(((index, band.rows),), offset, inside), cells, 0)
    # a size of 0 has no last cell to start from
    room = _is_nonnegative(simplest(cells - rows - columns))
    shift = columns if room else simplest(columns - 1)
    first = simplest(offset - band.rows * shift)
    return _Line(Affine(((index, band.rows),), first, inside), cells, shift)


def _cells(rows: Size, columns: Size) -> Size:
    if isinstance(rows, int) and isinstance(columns, int):
        return spectra.length(rows + columns - 1)
    return simplest(rows + columns)


def _known(size: Size) -> int:
    return size if isinstance(size, int) else _SHORT


def _is_nonnegative(size: Size) -> bool:
    return size >= 0 if isinstance(size, int) else bool(size.is_nonnegative)


# --- windows -------------------------------------------------------------------------------------
def _by_windows(node: Node, band: _Band, site: Site) -> Node | None:
    """Read a vector s once along all positions, then its windows, where t has no windows."""
    t = node.reads[band.read]
    if not set(_rest(t, band)) <= set(read_indices(node.reads[band.other])):
        return None  # data, of which this is a convolution
    subscript = _subscript(node, band)
    rows, columns = node.sizes[band.i], node.sizes[band.j]
    axis = site.node(t.node).shape[band.axis]
    static = isinstance(rows, int) and isinstance(columns, int)
    up = 1 in (band.rows, band.columns)
    if static and up:
        pads = subscript.boundary is Boundary.ELSE and isinstance(subscript.offset, int)
        if pads or subscript.boundary is Boundary.INSIDE:
            return None
    # one cell more where sizes may be 0: windows are then never longer than s
    cells = simplest(rows + columns - (1 if static else 0))
    if subscript.boundary is Boundary.INSIDE and up and same(axis, cells):
        return None
    index = len(node.sizes)
    shift = 0 if band.rows == band.columns else simplest(columns - 1)
    first = simplest(subscript.offset - band.rows * shift)
    boundary = subscript.boundary
    if boundary is Boundary.INSIDE and not static:
        boundary = Boundary.ELSE
    along = Affine(((index, band.rows),), first, boundary)
    line = spectra.row(t, band.axis, along, cells, node, site)
    terms = tuple(sorted(((band.i, 1), (band.j, band.rows * band.columns))))
    window = Affine(terms, shift, Boundary.INSIDE)
    read = replace(line, subscripts=(*line.subscripts[:-1], window))
    site.did("a matrix of a vector is its windows")
    return replace(node, reads=(*node.reads[: band.read], read, *node.reads[band.read + 1 :]))


def _rest(read: Read, band: _Band) -> list[int]:
    return [i for i in dict.fromkeys(read_indices(read)) if i not in (band.i, band.j)]
