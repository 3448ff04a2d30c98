"""Which values are finite for all finite inputs and params: 0 * NaN is NaN, so masks care.

Overflow is not counted. A small sign analysis shows that norms such as rsqrt(mean(x^2) + eps) are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import assert_never

import numpy as np
import numpy.typing as npt

from tensorlang.check.program import ReduceOp, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    App,
    Arg,
    Call,
    Const,
    Contract,
    Input,
    Iota,
    Lit,
    Merge,
    Node,
    NodeId,
    Param,
    Pointwise,
    Reduce,
    Scalar,
    Scan,
    ScanOp,
    Scatter,
    SizeOf,
    Softmax,
    Transform,
)
from tensorlang.registry import functions

_MATRIX_FUNCTIONS = {
    TransformOp.INV,
    TransformOp.SOLVE,
    TransformOp.CHOLESKY,
    TransformOp.SQRTM,
    TransformOp.LOGM,
    TransformOp.EIGVALS,
    TransformOp.EIGVECS,
}


class Sign(IntEnum):
    """What is known of a finite real value; NOT_FINITE: nothing, not even that it is finite."""

    NOT_FINITE = 0
    ANY = 1
    NONNEGATIVE = 2
    POSITIVE = 3


class Finite:
    """finite(node) for the nodes of one graph, remembered."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[NodeId, Sign] = {}

    def __call__(self, node: NodeId) -> bool:
        return self.sign(node) is not Sign.NOT_FINITE

    def sign(self, node: NodeId) -> Sign:
        """Sign of every cell of a node; operands first, so that deep graphs do not recurse."""
        stack = [node]
        while stack:
            top = stack[-1]
            if top in self._known:
                stack.pop()
                continue
            missing = [o for o in self._graph.operands(top) if o not in self._known]
            if missing:
                stack.extend(missing)
                continue
            self._known[top] = self._sign(self._graph.node(top))
            stack.pop()
        return self._known[node]

    def scalar(self, expr: Scalar, node: Node) -> bool:
        """Whether an expression over the reads of a node is finite."""
        reads = [min(self.sign(read.node), _fill_sign(read.fill)) for read in node.reads]
        return _scalar(expr, reads) is not Sign.NOT_FINITE

    def _sign(self, node: Node) -> Sign:
        reads = [min(self._known[read.node], _fill_sign(read.fill)) for read in node.reads]
        if node.dtype is Dtype.BOOL:
            return Sign.NONNEGATIVE
        match node.op:
            case Input() | Param() | Call():
                return Sign.ANY
            case Const(array):
                return _array_sign(array.value)
            case Contract(coefficient):
                return _contract(node, coefficient, reads)
            case Pointwise(expr):
                return _scalar(expr, reads)
            case Reduce(op):
                return _reduce(op, reads[0])
            case Softmax(_, log):
                return min(reads[0], Sign.ANY) if log else min(reads[0], Sign.NONNEGATIVE)
            case Scan(op):
                if op is ScanOp.CUMSUM and reads[0] is not Sign.NOT_FINITE:
                    return min(reads[0], Sign.POSITIVE)
                return min(reads[0], Sign.ANY)
            case Transform(op):
                if op in _MATRIX_FUNCTIONS:
                    return Sign.NOT_FINITE
                return min([Sign.ANY, *reads])
            case Scatter():
                return min([Sign.NONNEGATIVE, *reads])
            case Merge():
                return reads[0]
        assert_never(node.op)


def _contract(node: Node, coefficient: int | float | complex, reads: list[Sign]) -> Sign:
    if Sign.NOT_FINITE in reads:
        return Sign.NOT_FINITE
    if isinstance(coefficient, complex) or coefficient < 0:
        return Sign.ANY
    left = list(zip(node.reads, reads, strict=True))
    least = Sign.POSITIVE if not node.bound and coefficient > 0 else Sign.NONNEGATIVE
    while left:
        read, sign = left.pop()
        if sign is Sign.ANY:
            partner = next((p for p in left if p[0] == read), None)
            if partner is None:
                return Sign.ANY
            left.remove(partner)  # a square
            sign = Sign.NONNEGATIVE
        least = min(least, sign)
    return least


def _scalar(expr: Scalar, reads: list[Sign]) -> Sign:
    match expr:
        case Arg(position):
            return reads[position]
        case Lit(value):
            return _literal_sign(value)
        case Iota():
            return Sign.NONNEGATIVE
        case SizeOf(size):
            # where a size is 0 there is no cell to be infinite
            return _literal_sign(size) if isinstance(size, int) else Sign.POSITIVE
        case App():
            return _apply(expr, reads)
    assert_never(expr)


def _apply(expr: App, reads: list[Sign]) -> Sign:
    args = [_scalar(arg, reads) for arg in expr.args]
    if Sign.NOT_FINITE in args:
        return Sign.NOT_FINITE
    if expr.dtype is Dtype.BOOL:
        return Sign.NONNEGATIVE
    match expr.function:
        case "add":
            if Sign.ANY in args:
                return Sign.ANY
            return max(args)
        case "mul":
            square = len(expr.args) == 2 and expr.args[0] == expr.args[1]
            if expr.dtype is Dtype.REAL and square:
                return max(Sign.NONNEGATIVE, args[0])
            return min(args)
        case "pow":
            exponent = expr.args[1]
            if isinstance(exponent, Lit) and isinstance(exponent.value, int):
                if exponent.value < 0:
                    return args[0] if args[0] is Sign.POSITIVE else Sign.NOT_FINITE
                even = exponent.value % 2 == 0 and expr.dtype is not Dtype.COMPLEX
                return max(args[0], Sign.NONNEGATIVE) if even else args[0]
            return args[0] if args[0] is Sign.POSITIVE else Sign.NOT_FINITE
        case "div":
            return args[0] if args[1] is Sign.POSITIVE else Sign.NOT_FINITE
        case "mod" if args[1] is Sign.POSITIVE:
            return Sign.NONNEGATIVE
        case "floordiv" if args[1] is Sign.POSITIVE:
            return min(args[0], Sign.NONNEGATIVE)
        case "sqrt":
            return args[0] if args[0] >= Sign.NONNEGATIVE else Sign.NOT_FINITE
        case "rsqrt":
            return args[0] if args[0] is Sign.POSITIVE else Sign.NOT_FINITE
        case "log":
            return Sign.ANY if args[0] is Sign.POSITIVE else Sign.NOT_FINITE
        case "exp" | "sigmoid" | "softplus":
            return Sign.POSITIVE
        case "abs" | "relu":
            return max(args[0], Sign.NONNEGATIVE)
        case "max":
            return max(args)
        case "min":
            return min(args)
        case "where":
            return min(args[1:])
        case "to_real":
            return args[0]
    return Sign.NOT_FINITE if functions()[expr.function].partial else Sign.ANY


def _reduce(op: ReduceOp, sign: Sign) -> Sign:
    """Reductions over no cell are infinite for max, min and logsumexp."""
    if op in {ReduceOp.PROD}:
        return min(sign, Sign.ANY)
    if op in {ReduceOp.ARGMAX, ReduceOp.ARGMIN, ReduceOp.ANY, ReduceOp.ALL}:
        return Sign.NONNEGATIVE
    return Sign.NOT_FINITE


def _literal_sign(value: bool | int | float | complex) -> Sign:
    if not np.isfinite(value):
        return Sign.NOT_FINITE
    if isinstance(value, complex):
        return Sign.ANY
    return Sign.POSITIVE if value > 0 else Sign.NONNEGATIVE if value == 0 else Sign.ANY


def _fill_sign(fill: bool | int | float | complex | None) -> Sign:
    return Sign.POSITIVE if fill is None else _literal_sign(fill)


def _array_sign(value: npt.NDArray[np.generic]) -> Sign:
    if not np.all(np.isfinite(value)):
        return Sign.NOT_FINITE
    if np.iscomplexobj(value) or value.size == 0:
        return Sign.ANY
    least = value.min()
    return Sign.POSITIVE if least > 0 else Sign.NONNEGATIVE if least == 0 else Sign.ANY
