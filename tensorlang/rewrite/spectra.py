"""Sums along a difference of positions as products of spectra: what rules build with, its price.

sum_j x[j] s[(m - j) mod N] = irfft(rfft(x) * rfft(s))[m]
sum_j x[j] s[(m + j) mod N] = irfft(conj(rfft(x)) * rfft(s))[m], for real x
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import sympy

from tensorlang.check.program import Boundary, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Contract,
    Node,
    Pointwise,
    Read,
    Transform,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.options import Options
from tensorlang.order.profile import profile_of
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import stream
from tensorlang.size import Size, same, simplest

_RATE = 0.3  # share of a GEMM's arithmetic that transforms of many rows reach
_CELL = 8.0  # bytes of a complex number


# --- lengths -------------------------------------------------------------------------------------
def length(cells: Size) -> Size:
    """A length that holds so many cells and is quickly transformed."""
    if not isinstance(cells, int):
        return cells
    found = max(2, cells + cells % 2)
    while not is_quick(found):
        found += 2
    return found


def is_quick(cells: Size) -> bool:
    """Whether a length has no prime factor beyond 5, as far as is known."""
    if not isinstance(cells, int) or cells < 1:
        return True
    for prime in (2, 3, 5):
        while cells % prime == 0:
            cells //= prime
    return cells == 1


# --- nodes ---------------------------------------------------------------------------------------
def row(read: Read, at: int, along: Affine, cells: Size, node: Node, site: Site) -> Read:
    """A read of `node` with axis `at` read along a new index, the next after the node's own.

    It reads so many cells, 0 outside unless the read says otherwise, from a copy if it has to.
    """
    index = len(node.sizes)
    inner = site.node(read.node)
    subscript = At(index) if _is_whole(along, inner.shape[at], cells) else along
    subscripts = (*read.subscripts[:at], subscript, *read.subscripts[at + 1 :])
    ends = any(isinstance(s, Affine) and s.boundary is Boundary.ELSE for s in subscripts)
    zero = 0j if inner.dtype is Dtype.COMPLEX else 0.0
    fill = None if not ends else zero if read.fill is None else read.fill
    made = Read(read.node, subscripts, fill)
    axes = [i for i in dict.fromkeys(read_indices(made)) if i != index]
    if subscripts == tuple(At(i) for i in (*axes, index)):
        return made
    local = {i: place for place, i in enumerate((*axes, index))}
    sizes = (*(node.sizes[i] for i in axes), cells)
    copy = Node(Pointwise(Arg(0)), (rename_read(made, local),), sizes, len(sizes), inner.dtype)
    return Read(site.add(copy), tuple(At(i) for i in (*axes, index)))


def _is_whole(along: Affine, axis: Size, cells: Size) -> bool:
    ((_, step),) = along.terms
    return step == 1 and along.offset == 0 and same(axis, cells)


def spectrum(line: Read, node: Node, cells: Size, site: Site) -> Read:
    """The Fourier transform of a read along its last index, which the modes take the place of."""
    dtype = site.node(line.node).dtype
    op = TransformOp.RFFT if dtype is Dtype.REAL else TransformOp.FFT
    return transform(line, op, _modes(cells, dtype), node, cells, Dtype.COMPLEX, site)


def transform(
    line: Read, op: TransformOp, target: Size, node: Node, cells: Size, dtype: Dtype, site: Site
) -> Read:
    """A transform of a read along its last index, without factors: to so many cells."""
    axes = read_indices(line)[:-1]
    local = {i: place for place, i in enumerate(axes)}
    rank = len(axes) + 1
    norm = "forward" if op is TransformOp.IFFT else "backward"
    read = Read(line.node, (*(At(local[i]) for i in axes), At(rank)))
    sizes = (*(node.sizes[i] for i in axes), target, cells)
    made = Node(Transform(op, (rank,), (rank - 1,), norm), (read,), sizes, rank, dtype)
    return Read(site.add(made), line.subscripts)


def conjugate(line: Read, site: Site) -> Read:
    inner = site.node(line.node)
    whole = Read(line.node, tuple(At(axis) for axis in range(inner.rank)))
    expr = App("conj", (Arg(0),), Dtype.COMPLEX)
    made = Node(Pointwise(expr), (whole,), inner.shape, inner.rank, Dtype.COMPLEX)
    return Read(site.add(made), line.subscripts)


def multiplied(
    spectra: Sequence[Read], axes: Sequence[int], cells: Size, node: Node, site: Site
) -> Read:
    """The signal over `axes` and the new index whose spectrum is the product of these."""
    index = len(node.sizes)
    dtype = node.dtype
    modes = _modes(cells, dtype)
    local = {i: place for place, i in enumerate((*axes, index))}
    sizes = tuple(node.sizes[i] for i in axes)
    rank = len(axes) + 1
    reads = tuple(rename_read(read, local) for read in spectra)
    product = site.add(Node(Contract(), reads, (*sizes, modes), rank, Dtype.COMPLEX))
    op = TransformOp.IRFFT if dtype is Dtype.REAL else TransformOp.IFFT
    source = Read(product, (*(At(axis) for axis in range(rank - 1)), At(rank)))
    back = Node(Transform(op, (rank,), (rank - 1,)), (source,), (*sizes, cells, modes), rank, dtype)
    return Read(site.add(back), tuple(At(i) for i in (*axes, index)))


def _modes(cells: Size, dtype: Dtype) -> Size:
    if dtype is Dtype.COMPLEX:
        return cells
    if isinstance(cells, int):
        return cells // 2 + 1
    return simplest(sympy.floor(cells / sympy.Integer(2)) + 1)


def at_index(line: Read, index: int, start: Size, size: Size, cells: Size) -> Read:
    """A line read at `start` + index in place of its last index."""
    if start == 0 and same(size, cells):
        last: At | Affine = At(index)
    else:
        last = Affine(((index, 1),), start, Boundary.INSIDE)
    return replace(line, subscripts=(*line.subscripts[:-1], last))


def without(node: Node, index: int, reads: tuple[Read, ...]) -> Node:
    """The product of these reads, which lack a summed index."""
    left = [i for i in range(len(node.sizes)) if i != index]
    place = {i: new for new, i in enumerate(left)}
    return Node(
        node.op,
        tuple(rename_read(read, place) for read in reads),
        tuple(node.sizes[i] for i in left),
        node.rank,
        node.dtype,
    )


# --- prices --------------------------------------------------------------------------------------
def transform_seconds(rows: float, cells: float, dtype: Dtype, options: Options) -> float:
    """So many transforms of this length, with the copy that pads what they read."""
    parts = 2.0 if dtype is Dtype.COMPLEX else 1.0
    work = 2.5 * parts * rows * cells * math.log2(max(cells, 2.0))
    passes = stream(_CELL * parts * rows * cells, options)
    return work / (_RATE * profile_of(options.profile).flops) + passes


def product_seconds(rows: float, cells: float, dtype: Dtype, options: Options) -> float:
    """The product of two spectra, `rows` lines of theirs and of the result together."""
    parts = 2.0 if dtype is Dtype.COMPLEX else 1.0
    return stream(_CELL / 2 * parts * rows * cells, options)
