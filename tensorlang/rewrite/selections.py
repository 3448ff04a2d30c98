"""Constants with few non-zeros in a row select cells: sum_ij E[p i j] x[t i] y[t j] picks pairs.

With E[p i j] = +1 at (I[p], J[p]) and -1 at (J[p], I[p]) it is x[I] y[J] - x[J] y[I]: the cells of
every factor are picked, then multiplied. Factors without i, j multiply afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    Array,
    At,
    Const,
    Contract,
    Lit,
    Node,
    NodeId,
    Pointwise,
    Read,
    Scalar,
)
from tensorlang.ir.reads import mentions, read_indices, rename_read
from tensorlang.order.grid import Point, number
from tensorlang.order.profile import profile_of
from tensorlang.rewrite.compose import is_whole
from tensorlang.rewrite.constants import constant_factors
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import Comparison, compared, node_price, points

_MOST_TERMS = 4
_GATHER_PASSES = 3


@dataclass(frozen=True, slots=True)
class _Rows:
    """Term k of row p: value[k, p] times the cell at position[a][k, p] of summed index a."""

    value: npt.NDArray[np.float64]
    position: tuple[npt.NDArray[np.int64], ...]


def selections(node: Node, site: Site) -> Node | NodeId | None:
    """Gather instead of multiplying with a constant of nearly all zeros, where that costs less."""
    if len(node.reads) < 2:
        return None
    for k, cells, axes in constant_factors(node, site, least=2):
        rest = node.reads[:k] + node.reads[k + 1 :]
        summed = [index for index in axes if index in node.bound]
        rows = [index for index in axes if index not in node.bound]
        if len(summed) < 2 or len(rows) != 1:
            continue
        found = _rows(cells, axes, rows, summed)
        if found is None:
            continue
        result = _selected(node, rest, rows[0], summed, found, site)
        if result is not None:
            return result
    return None


def _rows(
    cells: npt.NDArray[np.generic], axes: list[int], rows: list[int], summed: list[int]
) -> _Rows | None:
    table = np.transpose(cells, [axes.index(i) for i in (*rows, *summed)]).astype(np.float64)
    sizes = table.shape[1:]
    flat = table.reshape(len(table), -1)
    terms = int((flat != 0).sum(1).max(initial=0))
    if not 0 < terms <= _MOST_TERMS or 4 * terms > flat.shape[1]:
        return None
    order = np.argsort(flat == 0, axis=1, kind="stable")[:, :terms]
    value = np.take_along_axis(flat, order, 1).T
    # terms of one value throughout need no multiplication: +1 and -1 of an antisymmetric table
    by_value = np.argsort(-value, axis=0, kind="stable")
    value = np.take_along_axis(value, by_value, 0)
    order = np.take_along_axis(order.T, by_value, 0)
    position = tuple(p.astype(np.int64) for p in np.unravel_index(order, sizes))
    return _Rows(value, position)


def _selected(
    node: Node, rest: tuple[Read, ...], row: int, summed: list[int], rows: _Rows, site: Site
) -> Node | None:
    assert isinstance(node.op, Contract), node
    inside = [read for read in rest if mentions(read, summed)]
    outside = [read for read in rest if not mentions(read, summed)]
    covered = [index for read in inside for index in read_indices(read) if index in summed]
    if sorted(covered) != sorted(summed) or any(mentions(read, [row]) for read in inside):
        return None  # a factor over two summed indices, or an index that several factors share
    if not all(is_whole(read) and read.fill is None for read in inside):
        return None
    if not all(site.finite(read.node) for read in inside):
        return None  # the zeros of the constant would have hidden what a gather shows
    kept = sorted({i for read in inside for i in read_indices(read) if i not in summed})
    found = _compared(node, inside, [*kept, row], row, rows, site)
    if not found.mostly():
        return None
    axes = [*kept, row]
    reads: list[Read] = []
    terms = [
        _term(k, node, inside, summed, row, rows, axes, reads, site) for k in range(len(rows.value))
    ]
    expr = terms[0] if len(terms) == 1 else App("add", tuple(terms), Dtype.REAL)
    sizes = tuple(node.sizes[index] for index in axes)
    picked = Node(Pointwise(expr), tuple(reads), sizes, len(axes), Dtype.REAL)
    width = math.prod(int(node.sizes[index]) for index in summed)
    what = f"a constant with {len(rows.value)} non-zeros in a row of {width} selects cells"
    site.did(what, found.saved())
    return _after(node, site.add(picked), axes, outside)


def _term(
    k: int,
    node: Node,
    inside: list[Read],
    summed: list[int],
    row: int,
    rows: _Rows,
    axes: list[int],
    reads: list[Read],
    site: Site,
) -> Scalar:
    """Non-zero k of every row: its value times the selected cells of every factor."""
    local = {index: place for place, index in enumerate(axes)}
    args: list[Scalar] = []
    value = rows.value[k]
    if not np.all(value == value[0]):
        reads.append(Read(_const(value, site), (At(local[row]),)))
        args.append(Arg(len(reads) - 1))
    elif abs(float(value[0])) != 1.0:
        args.append(Lit(abs(float(value[0])), Dtype.REAL))
    for read in inside:
        (index,) = (i for i in read_indices(read) if i in summed)
        cells = _picked(read, index, row, rows.position[summed.index(index)][k], node, site)
        reads.append(rename_read(cells, local))
        args.append(Arg(len(reads) - 1))
    term = args[0] if len(args) == 1 else App("mul", tuple(args), Dtype.REAL)
    negative = bool(np.all(value == value[0]) and value[0] < 0)
    return App("neg", (term,), Dtype.REAL) if negative else term


def _picked(
    read: Read,
    index: int,
    row: int,
    position: npt.NDArray[np.int64],
    node: Node,
    site: Site,
) -> Read:
    """x[.. position[row]], as a product with a 0/1 matrix: a GEMM forward and backward."""
    size = int(node.sizes[index])
    table = np.zeros((len(position), size))
    table[np.arange(len(position)), position] = 1
    axes = [i for i in read_indices(read) if i != index]
    local = {i: place for place, i in enumerate([*axes, row, index])}
    chosen = Read(_const(table, site), (At(local[row]), At(local[index])))
    sizes = tuple(node.sizes[i] for i in (*axes, row, index))
    made = Node(Contract(), (rename_read(read, local), chosen), sizes, len(axes) + 1, Dtype.REAL)
    return Read(site.add(made), tuple(At(i) for i in (*axes, row)))


def _compared(
    node: Node, inside: list[Read], axes: list[int], row: int, rows: _Rows, site: Site
) -> Comparison:
    """The dense product, against a small GEMM for every term and factor, then their sum."""
    options = site.options
    profile = profile_of(options.profile)
    passes = 2 * len(inside) * len(rows.value)

    def cells(indices: Iterable[int], point: Point) -> float:
        return math.prod(float(number(node.sizes[index], point)) for index in indices)

    def picked(point: Point) -> float:
        seconds = profile.stream(4.0 * passes * cells(axes, point))
        for read in inside:
            work = 2.0 * cells({row, *read_indices(read)}, point) * len(rows.value)
            seconds += work / profile.flops + profile.launch
        return seconds

    where = points(node.sizes, options)
    return compared(where, lambda point: node_price(node, point, options), picked)


def _after(node: Node, picked: NodeId, axes: list[int], outside: list[Read]) -> Node:
    """What is left of the product: the selected cells and the factors that have the row."""
    assert isinstance(node.op, Contract), node
    reads = [Read(picked, tuple(At(index) for index in axes)), *outside]
    mentioned = {index for read in reads for index in read_indices(read)}
    left = [*range(node.rank), *(index for index in node.bound if index in mentioned)]
    place = {index: new for new, index in enumerate(left)}
    return Node(
        Contract(node.op.coefficient),
        tuple(rename_read(read, place) for read in reads),
        tuple(node.sizes[index] for index in left),
        node.rank,
        node.dtype,
    )


def _const(value: npt.NDArray[np.float64], site: Site) -> NodeId:
    return site.graph.add(Node(Const(Array(value)), (), tuple(value.shape), value.ndim, Dtype.REAL))
