"""Straight-line values under construction: every value has one name, equal values the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tensorlang.backends.triton.build import integer, real
from tensorlang.backends.triton.kernel_ir import (
    Cast,
    Const,
    Dot,
    DType,
    Expr,
    Iota,
    Kernel,
    Let,
    Load,
    Map,
    Reduce,
    Reduction,
    Ref,
)
from tensorlang.backends.triton.ops import op, result
from tensorlang.backends.triton.tails import tail
from tensorlang.backends.triton.types import Type, Types


@dataclass(slots=True)
class Values:
    """Lets of one kernel, in order; `known` has the name of every value."""

    kernel: Kernel
    lets: list[Let] = field(default_factory=list)
    known: dict[Expr, Expr] = field(default_factory=dict)
    types: Types = field(init=False)

    def __post_init__(self) -> None:
        self.types = Types(self.kernel)

    def type(self, expr: Expr) -> Type:
        return self.types.of(expr)

    def let(self, expr: Expr, hint: str = "t") -> Expr:
        """A name for a value, the one it has if it has one."""
        if isinstance(expr, (Const, Ref, Iota)):
            return expr
        if expr not in self.known:
            name = f"{hint}_{len(self.lets)}"
            self.types.names[name] = self.types.of(expr)
            self.lets.append(Let(name, expr))
            self.known[expr] = Ref(name)
        return self.known[expr]

    def load(self, tensor: str, index: tuple[Expr, ...], dtype: DType) -> Expr:
        return self.let(Cast(Load(tensor, index), dtype), tensor.lower())

    def map(self, name: str, *args: Expr) -> Expr:
        """A function of values, with the identities of 0 and 1."""
        folded = _folded(name, args)
        if folded is not None:
            return folded
        match name, args:
            case "add", _:
                args = tuple(arg for arg in args if not _is(arg, 0))
                if not args:
                    return real(0)
                if len(args) == 1:
                    return args[0]
            case "mul", _:
                if any(_is(arg, 0) for arg in args):
                    return real(0)
                args = tuple(arg for arg in args if not _is(arg, 1))
                if not args:
                    return real(1)
                if len(args) == 1:
                    return args[0]
            case "div", (a, b) if _is(b, 1):
                return a
            case "where", (_, a, b) if a == b:
                return a
            case _:
                pass
        return self.let(Map(name, args))

    def power(self, base: Expr, exponent: float) -> Expr:
        """base ^ exponent for a small integer or ± 1/2."""
        match exponent:
            case 0.5:
                return self.map("sqrt", base)
            case -0.5:
                return self.map("rsqrt", base)
        count = abs(int(exponent))
        assert count == abs(exponent), exponent
        out = self._power(base, count)
        return out if exponent >= 0 else self.map("div", real(1), out)

    def _power(self, base: Expr, count: int) -> Expr:
        if count == 0:
            return real(1)
        if count == 1:
            return base
        half = self._power(base, count // 2)
        square = self.map("mul", half, half)
        return square if count % 2 == 0 else self.map("mul", square, base)

    def cast(self, expr: Expr, dtype: DType) -> Expr:
        if self.type(expr).dtype is dtype:
            return expr
        if isinstance(expr, Const) and not expr.axes:
            return real(expr.value) if dtype is DType.ACCUMULATE else integer(int(expr.value))
        return self.let(Cast(expr, dtype))

    def dot(self, a: Expr, b: Expr, axis: str, acc: Expr | None = None) -> Dot:
        """The sum over an axis of a product of tiles, which are ordered as their other axes are."""
        (x,), (y,) = (set(self.type(side).axes) - {axis} for side in (a, b))
        if self.types.order((x, y)) != (x, y):
            a, b = b, a
        return Dot(self.cast(a, DType.COMPUTE), self.cast(b, DType.COMPUTE), axis, acc)

    def sum(self, expr: Expr, axis: str) -> Expr:
        return self.reduce(Reduction.SUM, expr, axis)

    def reduce(self, op: Reduction, expr: Expr, axis: str) -> Expr:
        """Reduce over an axis; cells past its end count as the identity, and a value that does not
        vary along the axis counts once per cell."""
        identity = real({"sum": 0.0, "max": -float("inf"), "min": float("inf")}[op.value])
        inside = tail(self.kernel, axis)
        if inside is not None:
            expr = self.let(Map("where", (self.let(inside, "in"), expr, identity)))
        elif axis not in self.type(expr).axes:
            ones = Const(1.0, DType.ACCUMULATE, (axis,))
            expr = self.let(Map("mul", (expr, ones)))
        return self.let(Reduce(op, expr, axis))


def _folded(name: str, args: tuple[Expr, ...]) -> Expr | None:
    """The value of a function of real numbers: Triton would compute it in float32."""
    numbers = [a.value for a in args if isinstance(a, Const) and a.dtype is DType.ACCUMULATE]
    function = op(name)
    if (
        len(numbers) < len(args)
        or function is None
        or result(name, (DType.ACCUMULATE,)) not in (DType.ACCUMULATE,)
    ):
        return None
    with np.errstate(all="ignore"):
        return real(float(function.numpy(*(np.float64(n) for n in numbers))))


def _is(expr: Expr, value: float) -> bool:
    return isinstance(expr, Const) and expr.value == value and not expr.axes
