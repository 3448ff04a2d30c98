"""The array protocol on dual numbers: each operation carries tangents along, to any order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, assert_never

import numpy as np

from tensorlang.check.program import AlongOp, ReduceOp, ScatterOp
from tensorlang.dtype import Dtype
from tensorlang.library import signature
from tensorlang.library.row import Function
from tensorlang.library.transform import Transform
from tensorlang.reference.arrays import KINDS, TYPES, Numpy, least, most
from tensorlang.reference.dual import (
    Dual,
    along,
    array,
    broadcast,
    level,
    of_one_rank,
    primal,
    raised,
    scaled,
    tangent,
    total,
)
from tensorlang.reference.matrices import transformed
from tensorlang.reference.slopes import call, pushed

_PLAIN = Numpy()


class Duals:
    """Arrays and duals of any level; what is an int or a bool has no tangent."""

    def cast(self, x: Any, dtype: Dtype) -> Any:
        if not isinstance(x, Dual) or dtype < Dtype.REAL:
            return _PLAIN.cast(array(x), dtype)
        if x.dtype == TYPES[dtype]:
            return x
        return Dual(x.level, self.cast(x.primal, dtype), self.cast(x.tangent, dtype))

    def apply(self, function: Function, args: list[Any]) -> Any:
        top = max(map(level, args))
        if not top:
            return _PLAIN.apply(function, args)
        dtypes = signature.promoted(function, tuple(KINDS[arg.dtype.kind] for arg in args))
        args = of_one_rank([self.cast(a, dtype) for a, dtype in zip(args, dtypes, strict=True)])
        value = self.apply(function, [primal(arg, top) for arg in args])
        if value.dtype.kind in "bi":
            return value
        below = [raised(primal(arg, top)) for arg in args]
        parts = []
        for at, arg in enumerate(args):
            if (moved := tangent(arg, top)) is not None:
                part = pushed(self, function, below, raised(value), at, moved)
                parts += [] if part is None else [part]
        if not parts:
            return value
        directions = max(part.shape[0] for part in parts)
        return Dual(top, value, broadcast(total(of_one_rank(parts)), (directions, *value.shape)))

    def select(self, mask: Any, x: Any, otherwise: Any) -> Any:
        top = max(level(x), level(otherwise))
        if not top:
            return _PLAIN.select(mask, x, otherwise)
        mask, x, otherwise = of_one_rank((np.asarray(mask), x, otherwise))
        value = self.select(mask, primal(x, top), primal(otherwise, top))
        count = next(v.directions for v in (x, otherwise) if level(v) == top)
        moved = self.select(raised(mask), along(x, top, count), along(otherwise, top, count))
        return Dual(top, value, broadcast(moved, (count, *value.shape)))

    def gather(self, x: Any, positions: tuple[Any, ...]) -> Any:
        return x[positions] if isinstance(x, Dual) else _PLAIN.gather(x, positions)

    # --- reductions ------------------------------------------------------------------------------
    def reduce(self, op: ReduceOp, x: Any, mask: Any) -> Any:
        if not isinstance(x, Dual):
            return _PLAIN.reduce(op, x, mask)
        match op:
            case ReduceOp.SUM | ReduceOp.MEAN:
                moved = self.reduce(op, x.tangent, raised(mask))
                return Dual(x.level, self.reduce(op, x.primal, mask), moved)
            case ReduceOp.PROD:
                cells = self._cells(self.select(mask, x, np.ones((), x.dtype)))
                return reduce(lambda a, b: call(self, "mul", a, b), cells, np.ones(x.shape[:-1]))
            case ReduceOp.NORM:
                return self._root(self.reduce(ReduceOp.SUM, self._square(x), mask))
            case ReduceOp.VAR | ReduceOp.STD:
                middle = self.reduce(ReduceOp.MEAN, x, mask)
                apart = call(self, "neg", middle.reshape((*middle.shape, 1)))
                square = self._square(call(self, "add", x, apart))
                variance = self.reduce(ReduceOp.MEAN, square, mask)
                return variance if op is ReduceOp.VAR else self._root(variance)
            case ReduceOp.MAX | ReduceOp.MIN:  # a tie shares its gradient evenly
                best = _PLAIN.reduce(op, array(x), mask)
                among = mask & (array(x) == best[..., None])
                moved = self.reduce(ReduceOp.MEAN, x.tangent, raised(among))
                return Dual(x.level, self.reduce(op, x.primal, mask), moved)
            case ReduceOp.LOGSUMEXP:
                share = raised(self.along(AlongOp.SOFTMAX, x.primal, mask))
                every = np.ones((), np.bool_)
                moved = self.reduce(ReduceOp.SUM, scaled(share, self._within(mask, x)), every)
                return Dual(x.level, self.reduce(op, x.primal, mask), moved)
            case ReduceOp.ANY | ReduceOp.ALL | ReduceOp.COUNT | ReduceOp.ARGMAX | ReduceOp.ARGMIN:
                return _PLAIN.reduce(op, array(x), mask)
            case _:
                assert_never(op)

    def _within(self, mask: Any, x: Dual) -> Any:
        """The tangent where the mask holds, 0 elsewhere."""
        return self.select(raised(mask), x.tangent, np.zeros((), x.dtype))

    def _cells(self, x: Any) -> list[Any]:
        """The values along the last axis."""
        return [x[..., k] for k in range(x.shape[-1])]

    def _square(self, x: Any) -> Any:
        """|x|^2."""
        if x.dtype.kind != "c":
            return call(self, "mul", x, x)
        parts = [call(self, part, x) for part in ("real", "imag")]
        return call(self, "add", *(call(self, "mul", part, part) for part in parts))

    def _root(self, square: Any) -> Any:
        """The root of what is never negative, of slope 0 at 0."""
        some = array(square) > 0
        safe = self.select(some, square, np.ones(()))
        return self.select(some, call(self, "sqrt", safe), np.zeros(()))

    # --- along an axis ---------------------------------------------------------------------------
    def along(self, op: AlongOp, x: Any, mask: Any) -> Any:
        if not isinstance(x, Dual):
            return _PLAIN.along(op, x, mask)
        match op:
            case AlongOp.SOFTMAX | AlongOp.LOG_SOFTMAX:
                share = self.along(AlongOp.SOFTMAX, x.primal, mask)
                within = self._within(mask, x)
                every = np.ones((), np.bool_)
                middle = self.reduce(ReduceOp.SUM, scaled(raised(share), within), every)
                middle = middle.reshape((*middle.shape, 1))
                apart = call(self, "add", within, call(self, "neg", middle))
                if op is AlongOp.SOFTMAX:
                    return Dual(x.level, share, scaled(raised(share), apart))
                moved = self.select(raised(mask), apart, np.zeros(()))
                return Dual(x.level, self.along(op, x.primal, mask), moved)
            case AlongOp.CUMSUM:
                moved = self.along(op, x.tangent, raised(mask))
                return Dual(x.level, self.along(op, x.primal, mask), moved)
            case AlongOp.CUMPROD:
                return self._products(self.select(mask, x, np.ones((), x.dtype)))
            case _:
                assert_never(op)

    def _products(self, x: Dual) -> Any:
        """Running products: of the values, and with one of them replaced by its tangent."""
        value = self.along(AlongOp.CUMPROD, x.primal, np.ones((), np.bool_))
        moved = np.zeros(x.tangent.shape, x.dtype)
        for k in range(x.shape[-1]):
            here = np.arange(x.shape[-1]) == k
            changed = self.select(here, x.tangent, raised(x.primal))
            one = self.along(AlongOp.CUMPROD, changed, np.ones((), np.bool_))
            later = self.select(np.arange(x.shape[-1]) >= k, one, np.zeros((), x.dtype))
            moved = total([moved, later])
        return Dual(x.level, value, moved)

    # --- opaque ----------------------------------------------------------------------------------
    def transform(self, row: Transform, args: list[Any], sizes: tuple[int, ...], n: str) -> Any:
        return transformed(self, row, args, sizes, n)

    def land(self, op: ScatterOp, out: Any, positions: tuple[Any, ...], x: Any) -> None:
        raise AssertionError("duals land together: landed")

    def landed(
        self, op: ScatterOp, shape: Sequence[int], parts: Sequence[tuple[tuple[Any, ...], Any]]
    ) -> Any:
        """What all values make of the cells that they land on; the others are 0."""
        top = max((level(values) for _, values in parts), default=0)
        kind = np.result_type(*(values.dtype for _, values in parts))
        if not top:
            return _landed(op, shape, [(cells, values) for cells, values in parts], kind)
        value = self.landed(op, shape, [(cells, primal(x, top)) for cells, x in parts])
        count = next(x.directions for _, x in parts if level(x) == top)
        moved = [(cells, along(x, top, count)) for cells, x in parts]
        if op is ScatterOp.SUM:
            return Dual(top, value, self.landed(op, (count, *shape), moved))
        best = array(value)
        among = [array(x) == best[cells] for cells, x in parts]
        ties = _landed(
            ScatterOp.SUM,
            shape,
            [(cells, won.astype(float)) for (cells, _), won in zip(parts, among, strict=True)],
            np.float64,
        )
        shared = [
            (cells, self.select(raised(won), t, np.zeros((), t.dtype)))
            for (cells, t), won in zip(moved, among, strict=True)
        ]
        whole = self.landed(ScatterOp.SUM, (count, *shape), shared)
        return Dual(top, value, call(self, "div", whole, raised(np.maximum(ties, 1))))


def _landed(
    op: ScatterOp, shape: Sequence[int], parts: Sequence[tuple[tuple[Any, ...], Any]], kind: Any
) -> Any:
    start = {ScatterOp.SUM: 0, ScatterOp.MAX: least(kind), ScatterOp.MIN: most(kind)}[op]
    out, reached = np.full(shape, start, kind), np.zeros(shape, np.bool_)
    for cells, values in parts:
        _PLAIN.land(op, out, (..., *cells), values)
        reached[(..., *cells)] = True
    return np.where(reached, out, np.zeros((), kind))
