"""What the lanes past the end of an axis hold: a known number, some finite number, or anything.

Inputs count as finite. A value that does not vary along the axis is finite there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from tensorlang.backends.triton.build import conjuncts
from tensorlang.backends.triton.kernel_ir import (
    Cast,
    Const,
    Dot,
    DType,
    Expr,
    Iota,
    Kernel,
    Load,
    Map,
    Reduce,
    Reduction,
    Ref,
)
from tensorlang.backends.triton.ops import op
from tensorlang.backends.triton.tails import inside
from tensorlang.backends.triton.types import Types

FINITE = "finite"
UNKNOWN = "unknown"
Held = float | str
_TOTAL = frozenset(("neg", "abs", "relu", "tanh", "sigmoid", "erf", "sin", "cos", "stopgrad"))
IDENTITY = {Reduction.SUM: 0.0, Reduction.MAX: -math.inf, Reduction.MIN: math.inf}


@dataclass(frozen=True, slots=True)
class Padding:
    """`lets` has the expression of every name that is bound once."""

    kernel: Kernel
    types: Types
    lets: Mapping[str, Expr]

    def of(self, expr: Expr, axis: str) -> Held:
        """What `expr` holds past the end of `axis`."""
        if axis not in self.types.of(expr).axes:
            if isinstance(expr, Const) and expr.dtype is not DType.BOOL:
                return float(expr.value)
            return FINITE
        match expr:
            case Const(value):
                return float(value)
            case Iota():
                return FINITE
            case Ref(name):
                return self.of(self.lets[name], axis) if name in self.lets else UNKNOWN
            case Cast(a):
                return self.of(a, axis)
            case Load(pred=pred, other=other):
                masked = inside(self.kernel.axis(axis)) in conjuncts(pred)
                return float(other) if masked else FINITE
            case Map("where", (condition, a, b)):
                if self.excludes(condition, axis):
                    return self.of(b, axis)
                x, y = self.of(a, axis), self.of(b, axis)
                return x if x == y else FINITE if _finite(x) and _finite(y) else UNKNOWN
            case Map(name, args):
                return _mapped(name, [self.of(arg, axis) for arg in args])
            case Dot(a, b, _, acc):
                parts = [self.of(a, axis), self.of(b, axis)]
                product = _mapped("mul", parts)
                return product if acc is None else _mapped("add", [product, self.of(acc, axis)])
            case Reduce(reduction, a, _):
                held = self.of(a, axis)
                if reduction is Reduction.SUM:
                    return held if held == 0.0 or held == UNKNOWN else FINITE
                return held
        assert_never(expr)

    def excludes(self, condition: Expr, axis: str) -> bool:
        """Whether a condition is false past the end of an axis."""
        wanted = inside(self.kernel.axis(axis))
        for conjunct in conjuncts(condition):
            if conjunct == wanted:
                return True
            named = isinstance(conjunct, Ref) and self.lets.get(conjunct.name)
            if named and self.excludes(named, axis):
                return True
        return False


def _finite(held: Held) -> bool:
    return held == FINITE or (isinstance(held, float) and math.isfinite(held))


def _mapped(name: str, args: list[Held]) -> Held:
    numbers = [arg for arg in args if isinstance(arg, float)]
    infinite = [number for number in numbers if math.isinf(number)]
    match name:
        case "mul" if 0.0 in numbers and all(_finite(arg) for arg in args):
            return 0.0
        case "add" if len(infinite) == 1 and sum(not _finite(arg) for arg in args) == 1:
            return infinite[0]
        case "sub" if len(infinite) == 1 and sum(not _finite(arg) for arg in args) == 1:
            return infinite[0] if args[0] == infinite[0] else -infinite[0]
    function = op(name)
    if function is not None and len(numbers) == len(args):
        with np.errstate(all="ignore"):
            value = float(function.numpy(*numbers))
        return UNKNOWN if math.isnan(value) else value
    arithmetic = name in ("add", "sub", "mul", "max", "min", "exp", "exp2") or name in _TOTAL
    return FINITE if arithmetic and all(_finite(arg) for arg in args) else UNKNOWN
