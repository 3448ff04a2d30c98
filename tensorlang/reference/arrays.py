"""The array protocol: all that the evaluator does to values, and numpy's way of doing it.

Positions and masks are numpy arrays of int64 and bool everywhere; values are whatever an
implementation of the protocol computes with (dual numbers are the other one).
"""

from __future__ import annotations

import math
from typing import Any, Protocol, assert_never

import numpy as np

from tensorlang.check.program import AlongOp, ReduceOp, ScatterOp
from tensorlang.dtype import Dtype
from tensorlang.library import signature
from tensorlang.library.row import Function
from tensorlang.library.transform import Transform

KINDS = {"b": Dtype.BOOL, "i": Dtype.INT, "u": Dtype.INT, "f": Dtype.REAL, "c": Dtype.COMPLEX}
TYPES: dict[Dtype, Any] = {
    Dtype.BOOL: np.bool_,
    Dtype.INT: np.int64,
    Dtype.REAL: np.float64,
    Dtype.COMPLEX: np.complex128,
}


class Arrays(Protocol):
    """Operations on values; `x` has the acted-on axis last where one axis is acted on."""

    def cast(self, x: Any, dtype: Dtype) -> Any: ...
    def apply(self, function: Function, args: list[Any]) -> Any: ...
    def select(self, mask: Any, x: Any, otherwise: Any) -> Any: ...
    def gather(self, x: Any, positions: tuple[Any, ...]) -> Any: ...
    def reduce(self, op: ReduceOp, x: Any, mask: Any) -> Any: ...
    def along(self, op: AlongOp, x: Any, mask: Any) -> Any: ...
    def transform(self, row: Transform, args: list[Any], sizes: tuple[int, ...], n: str) -> Any: ...
    def land(self, op: ScatterOp, out: Any, positions: tuple[Any, ...], x: Any) -> None: ...


class Numpy:
    """float64, complex128, int64 and bool."""

    def cast(self, x: Any, dtype: Dtype) -> Any:
        return np.asarray(x).astype(TYPES[dtype], copy=False)

    def apply(self, function: Function, args: list[Any]) -> Any:
        dtypes = signature.promoted(function, tuple(KINDS[arg.dtype.kind] for arg in args))
        cast = [self.cast(arg, dtype) for arg, dtype in zip(args, dtypes, strict=True)]
        return np.asarray(function.numpy(*cast))

    def select(self, mask: Any, x: Any, otherwise: Any) -> Any:
        return np.where(mask, x, otherwise)

    def gather(self, x: Any, positions: tuple[Any, ...]) -> Any:
        return np.asarray(x[positions])

    def reduce(self, op: ReduceOp, x: Any, mask: Any) -> Any:
        """Reduce the last axis over the cells where the mask holds."""
        return np.asarray(self._reduced(op, x, mask))

    def _reduced(self, op: ReduceOp, x: Any, mask: Any) -> Any:
        match op:
            case ReduceOp.SUM:
                return np.where(mask, _number(x), 0).sum(-1)
            case ReduceOp.PROD:
                return np.where(mask, _number(x), 1).prod(-1)
            case ReduceOp.COUNT:
                return (x & mask).sum(-1)
            case ReduceOp.ANY:
                return (x & mask).any(-1)
            case ReduceOp.ALL:
                return (x | ~mask).all(-1)
            case ReduceOp.MEAN:
                return _mean(x, mask)
            case ReduceOp.NORM:
                return np.sqrt(np.where(mask, np.abs(x) ** 2.0, 0).sum(-1))
            case ReduceOp.VAR:
                return _variance(x, mask)
            case ReduceOp.STD:
                return np.sqrt(_variance(x, mask))
            case ReduceOp.MAX:
                return np.where(mask, x, least(x.dtype)).max(-1, initial=least(x.dtype))
            case ReduceOp.MIN:
                return np.where(mask, x, most(x.dtype)).min(-1, initial=most(x.dtype))
            case ReduceOp.LOGSUMEXP:
                return _logsumexp(x, mask)[..., 0]
            case ReduceOp.ARGMAX:
                return _first(x, mask, self.reduce(ReduceOp.MAX, x, mask))
            case ReduceOp.ARGMIN:
                return _first(x, mask, self.reduce(ReduceOp.MIN, x, mask))
            case _:
                assert_never(op)

    def along(self, op: AlongOp, x: Any, mask: Any) -> Any:
        """Act along the last axis over the cells where the mask holds."""
        match op:
            case AlongOp.SOFTMAX:
                return np.where(mask, np.exp(x - _logsumexp(x, mask)), 0.0)
            case AlongOp.LOG_SOFTMAX:
                alive = mask.any(-1, keepdims=True)
                value = np.where(mask, x - _logsumexp(x, mask), -math.inf)
                return np.where(alive, value, 0.0)
            case AlongOp.CUMSUM:
                return np.where(mask, _number(x), 0).cumsum(-1)
            case AlongOp.CUMPROD:
                return np.where(mask, _number(x), 1).cumprod(-1)
            case _:
                assert_never(op)

    def transform(self, row: Transform, args: list[Any], sizes: tuple[int, ...], n: str) -> Any:
        return row.numpy(*args, sizes=sizes, norm=n)

    def land(self, op: ScatterOp, out: Any, positions: tuple[Any, ...], x: Any) -> None:
        """Combine x into out, in place, at the positions; several may land on one cell."""
        match op:
            case ScatterOp.SUM:
                np.add.at(out, positions, x)
            case ScatterOp.MAX:
                np.maximum.at(out, positions, x)
            case ScatterOp.MIN:
                np.minimum.at(out, positions, x)
            case _:
                assert_never(op)


def least(dtype: Any) -> Any:
    """The identity of max."""
    match np.dtype(dtype).kind:
        case "b":
            return False
        case "i":
            return np.iinfo(np.int64).min
        case _:
            return -math.inf


def most(dtype: Any) -> Any:
    """The identity of min."""
    match np.dtype(dtype).kind:
        case "b":
            return True
        case "i":
            return np.iinfo(np.int64).max
        case _:
            return math.inf


def _number(x: Any) -> Any:
    """Booleans count as 0 and 1."""
    return x.astype(np.int64) if x.dtype.kind == "b" else x


def _mean(x: Any, mask: Any) -> Any:
    count = np.broadcast_to(mask, x.shape).sum(-1)
    return np.where(mask, _number(x), 0).sum(-1) / np.maximum(count, 1)


def _variance(x: Any, mask: Any) -> Any:
    return _mean(np.abs(x - _mean(x, mask)[..., None]) ** 2.0, mask)


def _logsumexp(x: Any, mask: Any) -> Any:
    """Keeps the last axis, with size 1; -inf where no cell is."""
    x = np.where(mask, x, -math.inf)
    top = x.max(-1, keepdims=True, initial=-math.inf)
    finite = np.where(np.isinf(top), 0.0, top)
    return finite + np.log(np.exp(x - finite).sum(-1, keepdims=True))


def _first(x: Any, mask: Any, value: Any) -> Any:
    """Position of the first cell of the mask that has the value; 0 where there is none."""
    if x.shape[-1] == 0:
        return np.zeros(x.shape[:-1], np.int64)
    return np.argmax(mask & (x == value[..., None]), axis=-1)
