"""Which values are finite wherever the inputs and params are: what a 0 of a mask may multiply."""

from __future__ import annotations

from collections.abc import Set
from typing import assert_never

from tensorlang.check.program import (
    Along,
    AlongOp,
    Apply,
    Expr,
    IndexValue,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    SizeValue,
    Transform,
    TransformOp,
)
from tensorlang.lower.ranges import can_fail


def is_finite(expr: Expr, tensors: Set[str]) -> bool:
    """Whether a prepared expression is finite, given the names of the tensors that are."""
    match expr:
        case Literal(value):
            return abs(value) < float("inf")
        case IndexValue() | SizeValue():
            return True
        case Read():
            fill = expr.otherwise
            return expr.tensor in tensors and (fill is None or is_finite(fill, tensors))
        case Apply():
            return not can_fail(expr) and all(is_finite(arg, tensors) for arg in expr.args)
        case Reduce(ReduceOp.MAX | ReduceOp.MIN | ReduceOp.LOGSUMEXP):
            cells = all(isinstance(i.dim.size, int) and i.dim.size > 0 for i in expr.indices)
            return cells and expr.where is None and is_finite(expr.body, tensors)
        case Reduce(ReduceOp.ANY | ReduceOp.ALL | ReduceOp.ARGMAX | ReduceOp.ARGMIN):
            return True
        case Along(AlongOp.LOG_SOFTMAX):
            return expr.where is None and is_finite(expr.body, tensors)
        case Reduce() | Along():
            return is_finite(expr.body, tensors)
        case Transform():
            linear = (TransformOp.FFT, TransformOp.IFFT, TransformOp.RFFT, TransformOp.IRFFT)
            return expr.op in (
                *linear,
                TransformOp.CONCAT,
                TransformOp.SPHERICAL_HARMONICS,
            ) and all(is_finite(arg, tensors) for arg in expr.args)
    assert_never(expr)
