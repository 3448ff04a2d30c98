"""Gaunt's constant is a product on a grid: G[i j k] = sum_g Y[g i] Y[g j] Y[g k] weight[g].

Exact: the grid is Lebedev's, which integrates products of three harmonics with about three quarters
of the points of a grid of heights and angles.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Array, At, Const, Contract, Node, Read, Semiring
from tensorlang.library.constant import Slot
from tensorlang.library.irreps import natural, natural_degree
from tensorlang.registry import constants, transforms
from tensorlang.rewrite.constants import values
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points

_MOST_DEGREE = 12
_LEBEDEV = (*range(3, 33, 2), 35, 41)  # degrees of his rules
Real = npt.NDArray[np.float64]


def quadrature(node: Node, site: Site) -> Node | None:
    """Multiply on the grid where that costs less."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype is not Dtype.REAL or len(node.reads) < 3:
        return None
    for k, read in enumerate(node.reads):
        cells = values(read, site)
        if cells is None or read.fill is not None or cells.ndim != 3:
            continue
        axes = [s.index for s in read.subscripts if isinstance(s, At)]
        degrees = [natural_degree(size) for size in cells.shape]
        known = [degree for degree in degrees if degree is not None]
        if len(set(axes)) < 3 or len(known) < 3 or not 0 < max(known) <= _MOST_DEGREE:
            continue
        scale = _scale(cells, tuple(known))
        if scale is None:
            continue
        grids = _grid(tuple(known))
        point = len(node.sizes)
        factors = []
        for axis, table in zip(axes, (*grids[:2], grids[2] * scale), strict=True):
            # as torch keeps the weight of a linear map: its result first
            value = table if axis < node.rank else np.ascontiguousarray(table.T)
            op = Const(Array(value))
            made = site.graph.add(Node(op, (), tuple(value.shape), 2, Dtype.REAL))
            order = (axis, point) if axis < node.rank else (point, axis)
            factors.append(Read(made, tuple(map(At, order))))
        one = Node(
            node.op,
            (*node.reads[:k], *factors, *node.reads[k + 1 :]),
            (*node.sizes, len(grids[0][0])),
            node.rank,
            node.dtype,
        )
        options = site.options
        found = compared(
            points(node.sizes, options),
            lambda at: node_price(node, at, options),  # noqa: B023  called at once
            lambda at: node_price(one, at, options),  # noqa: B023
        )
        if found.mostly():
            site.did(f"a product of functions on a grid of {len(grids[0][0])}", found.saved())
            return one
    return None


def _scale(cells: npt.NDArray[np.generic], degrees: tuple[int, ...]) -> float | None:
    """c, where the cells are c times Gaunt's integrals."""
    table = _gaunt(degrees)
    first = tuple(np.argwhere(table)[0]) if table.any() else None
    if first is None or cells.dtype.kind != "f":
        return None
    scale = float(cells[first] / table[first])
    close = np.allclose(cells, scale * table, rtol=0, atol=1e-13 * abs(scale))
    return scale if scale and close else None


@cache
def _gaunt(degrees: tuple[int, ...]) -> Real:
    slots = tuple(Slot((degree + 1) ** 2, natural(degree)) for degree in degrees)
    table: Real = constants()["gaunt"].numpy(slots, {})
    return table


@cache
def _grid(degrees: tuple[int, ...]) -> tuple[Real, ...]:
    """Orthonormal harmonics [components, points] for three axes, the last times the weights."""
    where, weight = _sphere(sum(degrees))
    row = transforms()["spherical_harmonics"]
    sizes = [((degree + 1) ** 2,) for degree in degrees]
    out = [row.numpy(where, sizes=size, norm="").T / math.sqrt(4 * math.pi) for size in sizes]
    out[2] = out[2] * weight
    return tuple(np.ascontiguousarray(table) for table in out)


def _sphere(degree: int) -> tuple[Real, Real]:
    """Points [point, xyz] and weights that integrate polynomials up to a degree."""
    from scipy.integrate import lebedev_rule  # slow to import, rarely wanted

    points, weight = lebedev_rule(min(known for known in _LEBEDEV if known >= degree))
    return np.ascontiguousarray(points.T), weight
