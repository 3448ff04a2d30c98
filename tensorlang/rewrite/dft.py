"""A sum against the matrix of the discrete Fourier transform is a fast transform, where it costs
less: sum_v exp(-2 pi i u v / n) x[v] is fft(x)[u], of reals and few modes rfft(x)[u].
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
    Semiring,
)
from tensorlang.ir.reads import read_indices
from tensorlang.order.grid import Point, number
from tensorlang.rewrite import spectra
from tensorlang.rewrite.compose import compose
from tensorlang.rewrite.constants import values
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points, price

_FEWEST = 8  # modes and cells below which the product is left


@dataclass(frozen=True, slots=True)
class _Waves:
    """scale * exp(sign * 2 pi i u v / length)."""

    length: int
    sign: int
    scale: complex


def dft(node: Node, site: Site) -> Node | None:
    """Transform instead of multiplying with waves."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype is not Dtype.COMPLEX or len(node.reads) < 2:
        return None
    for k, read in enumerate(node.reads):
        cells = values(read, site)
        if cells is None or cells.ndim != 2 or read.subscripts[0] == read.subscripts[1]:
            continue
        waves = _waves(cells)
        if waves is None:
            continue
        first, second = (s.index for s in read.subscripts if isinstance(s, At))
        for mode, cell in ((first, second), (second, first)):
            result = _transformed(node, k, mode, cell, waves, site)
            if result is not None:
                return result
    return None


def _waves(cells: npt.NDArray[np.generic]) -> _Waves | None:
    if cells.dtype.kind != "c" or min(cells.shape) < _FEWEST or cells[0, 0] == 0:
        return None
    scale = complex(cells[0, 0])
    turn = cmath.phase(complex(cells[1, 1]) / scale)
    length = round(2 * math.pi / abs(turn)) if abs(turn) > 1e-9 else 0
    if length < max(cells.shape):
        return None
    turns = np.outer(np.arange(cells.shape[0]), np.arange(cells.shape[1])) % length
    sign = 1 if turn > 0 else -1
    made = scale * np.exp(sign * 2j * np.pi * turns / length)
    close = np.allclose(cells, made, rtol=0, atol=1e-12 * abs(scale))
    return _Waves(length, sign, scale) if close else None


def _transformed(
    node: Node, k: int, mode: int, cell: int, waves: _Waves, site: Site
) -> Node | None:
    """The product with one transform along `cell`, whose modes are read at `mode`."""
    assert isinstance(node.op, Contract), node
    others = [read for n, read in enumerate(node.reads) if n != k]
    having = [read for read in others if cell in read_indices(read)]
    if cell not in node.bound or len(having) != 1:
        return None
    (x,) = having
    alone = At(cell) in x.subscripts and read_indices(x).count(cell) == 1
    if not alone or mode in read_indices(x) or x.fill not in (None, 0) or not site.finite(x.node):
        return None
    extras = [read for read in others if read is not x]
    count = int(node.sizes[mode])
    real = _real(x, site) if waves.sign < 0 else None
    half = real is not None and count <= waves.length // 2 + 1
    source = real if half and real is not None else x
    axes = [i for i in dict.fromkeys(read_indices(source)) if i != cell]
    options = site.options

    def after(point: Point) -> float:
        rows = math.prod(float(number(node.sizes[index], point)) for index in axes)
        dtype = Dtype.REAL if half else Dtype.COMPLEX
        seconds = spectra.transform_seconds(rows, waves.length, dtype, options)
        if extras:
            whole = Read(0, tuple(At(index) for index in (*axes, mode)))
            seconds += price((whole, *extras), node.sizes, range(node.rank), point, options)
        return seconds

    # four products of reals, in one pass
    where = points(node.sizes, options)
    found = compared(where, lambda point: 3 * node_price(node, point, options), after)
    if not found.together():
        return None
    site.did("a sum against waves is a Fourier transform", found.saved())
    index = len(node.sizes)
    along = Affine(((index, 1),), 0, Boundary.ELSE)
    line = spectra.row(source, source.subscripts.index(At(cell)), along, waves.length, node, site)
    op = TransformOp.RFFT if half else TransformOp.FFT if waves.sign < 0 else TransformOp.IFFT
    modes = count if half else waves.length
    made = spectra.transform(line, op, modes, node, waves.length, Dtype.COMPLEX, site)
    coefficient = node.op.coefficient * waves.scale
    if isinstance(coefficient, complex) and coefficient.imag == 0:
        coefficient = 1 if coefficient.real == 1 else coefficient.real
    one = replace(node, op=replace(node.op, coefficient=coefficient))
    read = spectra.at_index(made, mode, 0, count, modes)
    return spectra.without(one, cell, (read, *extras))


def _real(x: Read, site: Site) -> Read | None:
    """The read of reals that x makes complex."""
    inner = site.node(x.node)
    match inner.op:
        case Pointwise(App("to_complex", (Arg(0),))) if len(inner.reads) == 1:
            if site.node(inner.reads[0].node).dtype is Dtype.REAL:
                return compose(x, inner.reads[0])
    return None
