"""A constant against a product that is the same with two summed indices exchanged.

sum_ij C[p i j] x[i] x[j] sees the symmetric part of C alone: nothing of an antisymmetric one (the
cross product of a vector with itself), and of another each pair of cells once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tensorlang.ir.nodes import Array, At, Const, Contract, Node, Read, Semiring
from tensorlang.ir.reads import rename_read
from tensorlang.library.irreps import natural_degree
from tensorlang.rewrite.constants import Values, values
from tensorlang.rewrite.engine import Site
from tensorlang.size import same

_FEWEST = 4  # pairs count once where at most one in so many cells of the constant is not 0


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A constant of a product, and two of its axes whose exchange the other factors do not see."""

    position: int
    axes: tuple[int, int]
    cells: Values

    @property
    def exchanged(self) -> Values:
        return np.swapaxes(self.cells, *self.axes)


def vanishing(node: Node, site: Site) -> Node | None:
    """A product whose constant is antisymmetric in indices that the other factors exchange is 0."""
    for found in _exchanges(node, site):
        if np.any(found.cells + found.exchanged) or node.op == Contract(0):
            continue
        site.did("an antisymmetric constant against a symmetric product is 0")
        assert isinstance(node.op, Contract), node
        return replace(node, op=replace(node.op, coefficient=0))
    return None


def once(node: Node, site: Site) -> Node | None:
    """Cells on one side of the diagonal join those on the other."""
    for found in _exchanges(node, site):
        cells = found.cells
        before = np.count_nonzero(cells)
        if _FEWEST * before > cells.size or _is_left_to_grids(cells):
            continue
        rows, columns = (
            np.arange(cells.shape[axis]).reshape(
                [-1 if k == axis else 1 for k in range(cells.ndim)]
            )
            for axis in found.axes
        )
        joined = np.where(rows < columns, cells + found.exchanged, 0)
        joined = np.where(rows == columns, cells, joined)
        if np.count_nonzero(joined) >= before:
            continue
        read = node.reads[found.position]
        made = replace(site.node(read.node), op=Const(Array(joined.astype(cells.dtype))))
        one = Read(site.add(made), read.subscripts)
        site.did(f"{np.count_nonzero(joined)} of {before} cells of a constant, each pair once")
        return replace(
            node, reads=(*node.reads[: found.position], one, *node.reads[found.position + 1 :])
        )
    return None


def _exchanges(node: Node, site: Site) -> Iterator[_Exchange]:
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return
    if len(node.bound) < 2 or len(node.reads) < 3:
        return
    for position, read in enumerate(node.reads):
        cells = values(read, site)
        if cells is None or read.fill is not None or cells.dtype.kind == "b":
            continue
        at = [s.index for s in read.subscripts if isinstance(s, At)]
        summed = [axis for axis, index in enumerate(at) if index in node.bound]
        rest = node.reads[:position] + node.reads[position + 1 :]
        if not all(site.finite(other.node) for other in rest):
            continue  # 0 * inf is no number
        for a, b in itertools.combinations(summed, 2):
            sizes = node.sizes[at[a]], node.sizes[at[b]]
            if (
                at.count(at[a]) == at.count(at[b]) == 1
                and same(*sizes)
                and _same(rest, at[a], at[b])
            ):
                yield _Exchange(position, (a, b), cells)


def _same(rest: Sequence[Read], i: int, j: int) -> bool:
    """Whether exchanging two indices leaves the factors as they are, in some order."""
    return Counter(rename_read(read, {i: j, j: i}) for read in rest) == Counter(rest)


def _is_left_to_grids(cells: Values) -> bool:
    """Whether it may be Gaunt's, which is recognised whole."""
    return cells.ndim == 3 and all(natural_degree(size) for size in cells.shape)
