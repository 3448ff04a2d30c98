"""Constants with constants: what needs no input is computed once, here, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

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
    Iota,
    Lit,
    Node,
    Pointwise,
    Read,
    Scalar,
    Semiring,
    SizeOf,
)
from tensorlang.ir.reads import read_indices, rename_read
from tensorlang.registry import functions
from tensorlang.rewrite.compose import is_whole
from tensorlang.rewrite.engine import Site
from tensorlang.rewrite.price import compared, node_price, points

_MOST_WORK = 10**8
_MOST_CELLS = 10**6
_KINDS: tuple[type[np.generic], ...] = (np.bool_, np.int64, np.float64, np.complex128)
_NEVER = {"dropout", "stopgrad"}
Values = npt.NDArray[Any]


def fold_constants(node: Node, site: Site) -> Node | None:
    """A pointwise function or a product of constants is a constant, where it is not much larger."""
    match node.op:
        case Pointwise(expr):
            return _pointwise(node, expr, site)
        case Contract(_, Semiring.SUM_PRODUCT):
            return _contract(node, site)
    return None


def values(read: Read, site: Site) -> Values | None:
    """The cells of a constant that is read whole."""
    op = site.node(read.node).op
    return op.array.value if isinstance(op, Const) and is_whole(read) else None


def constant_factors(node: Node, site: Site, least: int) -> Iterator[tuple[int, Values, list[int]]]:
    """Place, cells and indices of each constant in a real product.

    Those of at least so many axes, every axis read under an index of its own.
    """
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return
    if node.dtype is not Dtype.REAL:
        return
    for place, read in enumerate(node.reads):
        cells = values(read, site)
        if cells is None or read.fill is not None or cells.ndim < least:
            continue
        axes = [s.index for s in read.subscripts if isinstance(s, At)]
        if len(set(axes)) == len(axes):
            yield place, cells, axes


def _pointwise(node: Node, expr: Scalar, site: Site) -> Node | None:
    if not node.reads or _is_open(expr):
        return None
    arrays = [values(read, site) for read in node.reads]
    shape = [size for size in node.sizes if isinstance(size, int)]
    if len(shape) < len(node.sizes) or any(array is None for array in arrays):
        return None
    cells = sum(array.size for array in arrays if array is not None)
    if math.prod(shape) > min(_MOST_CELLS, 4 * cells):
        return None
    spread = [
        _spread(array, read, len(shape))
        for array, read in zip(arrays, node.reads, strict=True)
        if array is not None
    ]
    with np.errstate(all="ignore"):
        value = np.broadcast_to(_evaluate(expr, spread, shape), shape)
    return _made(node, value, "computed when compiling", site)


def _is_open(expr: Scalar) -> bool:
    """Whether only a call knows the value: a random number, a dynamic size."""
    match expr:
        case SizeOf(size):
            return not isinstance(size, int)
        case App(function, args):
            return function in _NEVER or any(_is_open(arg) for arg in args)
        case _:
            return False


def _spread(array: Values, read: Read, rank: int) -> Values:
    """The cells along the local indices 0 … rank-1, size 1 where the read has none."""
    indices = [s.index for s in read.subscripts if isinstance(s, At)]
    kept = sorted(set(indices))
    diagonal = np.einsum(array, indices, kept)
    shape = [1] * rank
    for place, index in enumerate(kept):
        shape[index] = diagonal.shape[place]
    out: Values = diagonal.reshape(shape)
    return out


def _evaluate(expr: Scalar, arrays: Sequence[Values], shape: Sequence[int]) -> Values:
    match expr:
        case Arg(position):
            return arrays[position]
        case Lit(value, dtype):
            return np.asarray(value, _KINDS[dtype])
        case SizeOf(size):
            return np.asarray(size, np.int64)
        case Iota(index):
            line = [1] * len(shape)
            line[index] = shape[index]
            return np.arange(shape[index]).reshape(line)
        case App(function, args):
            inner = [_evaluate(arg, arrays, shape) for arg in args]
            found: Values = np.asarray(functions()[function].numpy(*inner))
            return found


def _contract(node: Node, site: Site) -> Node | None:
    """Multiply constants that share a summed index which nothing else has."""
    known = [k for k, read in enumerate(node.reads) if values(read, site) is not None]
    if not known or node.dtype is Dtype.BOOL:
        return None
    if len(known) == len(node.reads):
        return _product(node, site)
    if len(known) < 2:
        return None
    others = [read for k, read in enumerate(node.reads) if k not in known]
    needed = {index for read in others for index in read_indices(read)} | set(range(node.rank))
    reads = [node.reads[k] for k in known]
    mentioned = sorted({index for read in reads for index in read_indices(read)})
    gone = [index for index in mentioned if index not in needed]
    if not gone:
        return None
    kept = [index for index in mentioned if index in needed]
    local = {index: place for place, index in enumerate([*kept, *gone])}
    part = Node(
        Contract(),
        tuple(rename_read(read, local) for read in reads),
        tuple(node.sizes[index] for index in (*kept, *gone)),
        len(kept),
        max(site.node(read.node).dtype for read in reads),
    )
    if part.dtype is Dtype.BOOL:
        return None
    folded = _product(part, site)
    if folded is None:
        return None
    made = Read(site.add(folded), tuple(At(index) for index in kept))
    left = [index for index in range(len(node.sizes)) if index not in gone]
    place = {index: new for new, index in enumerate(left)}
    out = replace(
        node,
        reads=tuple(rename_read(read, place) for read in (made, *others)),
        sizes=tuple(node.sizes[index] for index in left),
    )
    return out if len(known) == 2 or _pays(node, out, site) else None


def _pays(node: Node, out: Node, site: Site) -> bool:
    """Whether a product of three constants or more is worth it: factors may be a cheaper form."""
    options = site.options
    found = compared(
        points(node.sizes, options),
        lambda at: node_price(node, at, options),
        lambda at: node_price(out, at, options),
    )
    return found.mostly()


def _product(node: Node, site: Site) -> Node | None:
    shape = [size for size in node.sizes if isinstance(size, int)]
    arrays = [values(read, site) for read in node.reads]
    if len(shape) < len(node.sizes) or math.prod(shape) > _MOST_WORK or len(shape) > 26:
        return None
    cells = math.prod(shape[: node.rank])
    if cells > min(_MOST_CELLS, max(64, sum(array.size for array in arrays if array is not None))):
        return None
    mentioned = {index for read in node.reads for index in read_indices(read)}
    if mentioned != set(range(len(shape))):
        return None
    kind = _KINDS[node.dtype]
    operands: list[Any] = []
    for array, read in zip(arrays, node.reads, strict=True):
        assert array is not None, node
        operands += [array.astype(kind), [s.index for s in read.subscripts if isinstance(s, At)]]
    assert isinstance(node.op, Contract), node
    operands.append(list(range(node.rank)))
    total = np.einsum(*operands, optimize=len(arrays) > 2)
    return _made(node, total * node.op.coefficient, "a product of constants", site)


def _made(node: Node, value: Values, what: str, site: Site) -> Node | None:
    array = np.array(value, _KINDS[node.dtype], order="C")  # of rank 0 too
    if not np.all(np.isfinite(array)):
        return None
    site.did(what)
    return Node(Const(Array(array)), (), node.shape, node.rank, node.dtype)
