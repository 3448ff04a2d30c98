"""Constants with few non-zeros in a row select cells: sum_ij E[p i j] x[t i] y[t j] gathers them.

The product of the other factors over i, j is formed, then read at the non-zeros of every row p. A
factor that has p itself multiplies afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    Array,
    At,
    Const,
    Contract,
    Gather,
    Lit,
    Merge,
    Node,
    NodeId,
    Pointwise,
    Read,
    Scalar,
    Semiring,
)
from tensorlang.ir.reads import identity_read, read_indices, rename_read
from tensorlang.plan.grid import number
from tensorlang.plan.profile import PROFILES
from tensorlang.rewrite.compose import complete
from tensorlang.rewrite.constants import values
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import node_price, points
from tensorlang.size import product

_MOST_TERMS = 4
_GATHER_PASSES = 3


@dataclass(frozen=True, slots=True)
class _Rows:
    """Term k of row p: value[k, p] times the cell at position[a][k, p] of summed index a."""

    value: npt.NDArray[np.float64]
    position: tuple[npt.NDArray[np.int64], ...]


def selections(node: Node, site: Site) -> Node | NodeId | None:
    """Gather instead of multiplying with a constant of nearly all zeros, where that costs less."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype is not Dtype.REAL or len(node.reads) < 2:
        return None
    for k, read in enumerate(node.reads):
        cells = values(read, site)
        if cells is None or read.fill is not None or cells.ndim < 2:
            continue
        axes = [s.index for s in read.subscripts if isinstance(s, At)]
        rest = node.reads[:k] + node.reads[k + 1 :]
        summed = [index for index in axes if index in node.bound]
        rows = [index for index in axes if index not in node.bound]
        if len(set(axes)) < len(axes) or not summed or len(rows) != 1:
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
    inside = [read for read in rest if row not in read_indices(read)]
    outside = [read for read in rest if row in read_indices(read)]
    on_inside = {index for read in inside for index in read_indices(read)}
    if not set(summed) <= on_inside or any(_touches(read, summed) for read in outside):
        return None
    later = {index for read in outside for index in read_indices(read)} | set(range(node.rank))
    kept = sorted(index for index in on_inside if index in later and index not in summed)
    formed = _formed(node, inside, kept, summed)
    if not _cheaper(node, formed, [*kept, row], len(rows.value), bool(outside), site):
        return None
    sizes_summed = [int(node.sizes[index]) for index in summed]
    flat = _flat(formed, len(kept), site)
    terms: list[Scalar] = []
    reads: list[Read] = []
    axes = [*kept, row]
    for k in range(len(rows.value)):
        position = np.ravel_multi_index(tuple(p[k] for p in rows.position), sizes_summed)
        where = Read(_const(position, Dtype.INT, site), (At(len(kept)),))
        at_kept = tuple(At(place) for place in range(len(kept)))
        reads.append(Read(flat, (*at_kept, Gather(where, Boundary.INSIDE))))
        term: Scalar = Arg(len(reads) - 1)
        value = rows.value[k]
        if np.all(value == value[0]):
            sign = float(value[0])
            if sign == -1.0:
                term = App("neg", (term,), Dtype.REAL)
            elif sign != 1.0:
                term = App("mul", (Lit(sign, Dtype.REAL), term), Dtype.REAL)
        else:
            factor = _const(value, Dtype.REAL, site)
            reads.append(Read(factor, (At(len(kept)),)))
            term = App("mul", (Arg(len(reads) - 1), term), Dtype.REAL)
        terms.append(term)
    expr = terms[0] if len(terms) == 1 else App("add", tuple(terms), Dtype.REAL)
    if node.op.coefficient != 1 and not outside:
        coefficient = Lit(float(node.op.coefficient.real), Dtype.REAL)
        expr = App("mul", (coefficient, expr), Dtype.REAL)
    sizes = tuple(node.sizes[index] for index in axes)
    picked = Node(Pointwise(expr), tuple(reads), sizes, len(axes), Dtype.REAL)
    site.did(
        f"a constant with {len(rows.value)} non-zeros in a row of {math.prod(sizes_summed)} selects"
    )
    return complete(_after(node, site.add(picked), axes, outside), site)


def _touches(read: Read, indices: list[int]) -> bool:
    return any(index in indices for index in read_indices(read))


def _formed(node: Node, inside: list[Read], kept: list[int], summed: list[int]) -> Node:
    """The product of the factors without the row, over `kept` and `summed`."""
    output = [*kept, *summed]
    mentioned = {index for read in inside for index in read_indices(read)}
    bound = sorted(mentioned - set(output))
    local = {index: place for place, index in enumerate([*output, *bound])}
    reads = tuple(rename_read(read, local) for read in inside)
    sizes = tuple(node.sizes[index] for index in (*output, *bound))
    return Node(Contract(), reads, sizes, len(output), Dtype.REAL)


def _flat(formed: Node, kept: int, site: Site) -> NodeId:
    """The formed tensor with its summed axes merged into the last one."""
    tensor = site.add(formed)
    if formed.rank == kept + 1:
        return tensor
    groups = (*((axis,) for axis in range(kept)), tuple(range(kept, formed.rank)))
    shape = (*formed.shape[:kept], product(formed.shape[kept:]))
    merged = Node(Merge(groups), (identity_read(tensor, formed.rank),), shape, kept + 1, Dtype.REAL)
    return site.add(merged)


def _cheaper(node: Node, formed: Node, axes: list[int], terms: int, more: bool, site: Site) -> bool:
    """Forming, a gather for every term and their sum, against the dense product, at most sizes."""
    options = site.options
    profile = PROFILES[options.profile]
    at_points = points(node.sizes, options)
    wins = 0
    for point in at_points:
        cells = math.prod(float(number(node.sizes[index], point)) for index in axes)
        passes = terms * _GATHER_PASSES + 1
        ours = node_price(formed, point, options) + profile.stream(4.0 * passes * cells)
        wins += ours < node_price(node, point, options) or more
    return 2 * wins > len(at_points)


def _after(node: Node, picked: NodeId, axes: list[int], outside: list[Read]) -> Node:
    """What is left of the product: the selected cells and the factors that have the row."""
    assert isinstance(node.op, Contract), node
    reads = [Read(picked, tuple(At(index) for index in axes)), *outside]
    mentioned = {index for read in reads for index in read_indices(read)}
    left = [*range(node.rank), *(index for index in node.bound if index in mentioned)]
    place = {index: new for new, index in enumerate(left)}
    coefficient = node.op.coefficient if outside else 1
    return Node(
        Contract(coefficient),
        tuple(rename_read(read, place) for read in reads),
        tuple(node.sizes[index] for index in left),
        node.rank,
        node.dtype,
    )


def _const(value: npt.NDArray[np.generic], dtype: Dtype, site: Site) -> NodeId:
    kind = np.int64 if dtype is Dtype.INT else np.float64
    return site.graph.add(
        Node(Const(Array(value.astype(kind))), (), tuple(value.shape), value.ndim, dtype)
    )
