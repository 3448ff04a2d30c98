"""The value of a graph node by brute force over its whole index grid: an oracle for emitters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy

from tensorlang.check.program import Boundary, ReduceOp, ScatterOp
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Contract,
    Gather,
    Group,
    Iota,
    Lit,
    Node,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Scan,
    ScanOp,
    Scatter,
    Semiring,
    SizeOf,
    Softmax,
    Subscript,
)
from tensorlang.registry import functions
from tensorlang.size import Size, evaluate

Values = Mapping[int, np.ndarray[Any, Any]]


def node_value(node: Node, values: Values, sizes: Mapping[str, int]) -> np.ndarray[Any, Any]:
    """The node's tensor when its reads' nodes have these values and sizes are these."""
    shape = tuple(_size(size, sizes) for size in node.sizes)
    grid = np.indices(shape) if shape else np.zeros((0,), int)
    reads = [_read(read, values, grid, sizes, shape) for read in node.reads]
    bound = tuple(range(node.rank, len(shape)))
    match node.op:
        case Contract(coefficient, semiring):
            if semiring is Semiring.SUM_PRODUCT:
                out = np.ones(shape)
                for read in reads:
                    out = out * read
                return coefficient * out.sum(bound)
            total: Any = reads[0]
            for read in reads[1:]:
                total = total + read
            return total.max(bound) if semiring is Semiring.MAX_PLUS else total.min(bound)
        case Pointwise(expr):
            return np.broadcast_to(_scalar(expr, reads, grid, sizes), shape)
        case Reduce(op):
            return _reduced(op, reads[0], bound)
        case Softmax(axes, log):
            logits, keep = reads[0], reads[1] if len(reads) > 1 else np.ones(shape, bool)
            weight = np.where(keep, np.exp(logits), 0.0)
            total = weight.sum(axes, keepdims=True)
            out = np.divide(weight, total, out=np.zeros(shape), where=total > 0)
            if log:
                empty = np.broadcast_to(total == 0, shape)
                with np.errstate(divide="ignore"):
                    out = np.where(empty, 0.0, np.log(out))
            return out
        case Scan(op, axis):
            scanned: Any = np.cumsum if op is ScanOp.CUMSUM else np.cumprod
            return np.asarray(scanned(reads[0], axis))
        case Scatter(op, targets):
            return _scattered(node, op, targets, reads, values, grid, sizes, shape)
    raise AssertionError(node)


def _size(size: Size, sizes: Mapping[str, int]) -> int:
    return evaluate(sympy.sympify(size), sizes) if not isinstance(size, int) else size


def _positions(
    subscript: Subscript, extent: int, values: Values, grid: Any, sizes: Any, shape: Any
) -> tuple[Any, Any]:
    """(positions brought inside, whether the read counts as outside)."""
    match subscript:
        case At(index):
            return grid[index], False
        case Group(indices):
            out = 0
            for index in indices:
                out = out * shape[index] + grid[index]
            return out, False
        case Affine(terms, offset, boundary):
            raw = _size(offset, sizes) + sum(c * grid[i] for i, c in terms)
        case Gather(read, boundary):
            raw = _read(read, values, grid, sizes, shape)
    raw = np.asarray(raw)
    match boundary:
        case Boundary.WRAP:
            return raw % extent, False
        case Boundary.CLAMP:
            return np.clip(raw, 0, extent - 1), False
        case Boundary.REFLECT:
            period = max(2 * (extent - 1), 1)
            folded = raw % period
            return np.minimum(folded, period - folded) if extent > 1 else folded, False
        case Boundary.ELSE:
            outside = (raw < 0) | (raw >= extent)
            return np.where(outside, 0, raw), outside
    return raw, False


def _read(read: Read, values: Values, grid: Any, sizes: Any, shape: Any) -> Any:
    source = values[read.node]
    places, out = [], np.zeros(shape, bool)
    for subscript, extent in zip(read.subscripts, source.shape, strict=True):
        place, outside = _positions(subscript, extent, values, grid, sizes, shape)
        places.append(np.broadcast_to(place, shape))
        out = out | outside
    if source.size == 0:
        return np.full(shape, read.fill or 0).astype(source.dtype)
    value = source[tuple(places)] if places else np.broadcast_to(source, shape)
    return np.where(out, read.fill, value) if read.fill is not None else value


def _scalar(expr: Scalar, reads: Sequence[Any], grid: Any, sizes: Any) -> Any:
    match expr:
        case Arg(position):
            return reads[position]
        case Lit(value):
            return np.asarray(value)
        case Iota(index):
            return grid[index]
        case SizeOf(size):
            return np.asarray(_size(size, sizes))
        case App(name, args):
            return functions()[name].numpy(*(_scalar(arg, reads, grid, sizes) for arg in args))


def _reduced(op: ReduceOp, value: Any, axes: tuple[int, ...]) -> Any:
    match op:
        case ReduceOp.MAX:
            return value.max(axes, initial=-np.inf)
        case ReduceOp.MIN:
            return value.min(axes, initial=np.inf)
        case ReduceOp.PROD:
            return value.prod(axes)
        case ReduceOp.LOGSUMEXP:
            with np.errstate(divide="ignore"):
                return np.log(np.exp(value).sum(axes))
        case ReduceOp.ANY:
            return value.any(axes)
        case ReduceOp.ALL:
            return value.all(axes)
        case ReduceOp.ARGMAX:
            return value.argmax(axes[0])
    raise AssertionError(op)


def _scattered(
    node: Node,
    op: ScatterOp,
    targets: Any,
    reads: Any,
    values: Values,
    grid: Any,
    sizes: Any,
    shape: Any,
) -> Any:
    extents = shape[: node.rank]
    landed: dict[tuple[int, ...], list[float]] = {}
    for target, value in zip(targets, reads, strict=True):
        where = [
            _positions(s, n, values, grid, sizes, shape)
            for s, n in zip(target, extents, strict=True)
        ]
        # axes taken as they are run over the grid; so do bound indices
        for cell in np.ndindex(shape):
            plain = [k for k, s in enumerate(target) if s != At(k)]
            if any(cell[k] != 0 for k in plain):
                continue  # an axis landed on is no loop
            if any(np.broadcast_to(out, shape)[cell] for _, out in where):
                continue
            place = tuple(int(np.broadcast_to(p, shape)[cell]) for p, _ in where)
            landed.setdefault(place, []).append(value[cell])
    combine: Any = {ScatterOp.SUM: sum, ScatterOp.MAX: max, ScatterOp.MIN: min}[op]
    out = np.zeros(extents)
    for place, found in landed.items():
        out[place] = combine(found)
    return out
