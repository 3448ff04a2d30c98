"""What the steps of a K5 kernel compute, as statements of the kernel IR."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, assert_never

from tensorlang import registry
from tensorlang.backends.triton.build import real
from tensorlang.backends.triton.kernel_ir import Const, DType, Expr, Map, Reduction, Ref
from tensorlang.backends.triton.operands import HELD
from tensorlang.backends.triton.row_space import RowSpace
from tensorlang.backends.triton.ssa import Values
from tensorlang.backends.triton.tails import tail
from tensorlang.backends.triton.types import Type
from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    Contract,
    Iota,
    Lit,
    Node,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    SizeOf,
    Softmax,
)
from tensorlang.library.signature import promoted
from tensorlang.plan.plan import Slot
from tensorlang.size import Size

INF = math.inf


@dataclass(frozen=True, slots=True)
class RowValues:
    """Adds the values of a space's steps to a kernel."""

    at: RowSpace
    values: Values

    def evaluate(self) -> dict[Slot, Expr]:
        """Every step's value, in order."""
        made: dict[Slot, Expr] = {}
        for k, step in enumerate(self.at.steps):
            reads = [self.read(read, k, made) for read in step.node.reads]
            made[step.out] = self.step(step.node, k, reads)
        return made

    def read(self, read: Read, step: int, made: Mapping[Slot, Expr]) -> Expr:
        if read.node in made:
            return made[read.node]
        operand = self.at.operand(read, step)
        return self.values.load(operand.name, self.at.index(operand.dims), HELD[operand.dtype])

    def step(self, node: Node, step: int, reads: list[Expr]) -> Expr:
        values = self.values
        match node.op:
            case Pointwise(expr):
                kinds = [self.at.dtype(read.node) for read in node.reads]
                value, dtype = Scalars(self.at, values, step, reads, kinds).value(expr)
                return values.cast(value, HELD[max(dtype, node.dtype)])
            case Contract(coefficient):
                assert not isinstance(coefficient, complex), node
                factors = [values.cast(read, DType.ACCUMULATE) for read in reads]
                value = values.map("mul", *factors)
                if node.bound:
                    value = values.sum(value, "l")
                return values.map("mul", value, real(coefficient))
            case Reduce(ReduceOp.LOGSUMEXP):
                _, top, total = self.exponentials(reads[0], None)
                seen = values.map("gt", total, real(0))
                log = values.map("log", values.map("where", seen, total, real(1)))
                return values.map("where", seen, values.map("add", log, top), real(-INF))
            case Reduce(op):
                kind = {ReduceOp.MAX: Reduction.MAX, ReduceOp.MIN: Reduction.MIN}[op]
                return values.reduce(kind, reads[0], "l")
            case Softmax(log=log):
                mask = reads[1] if len(reads) > 1 else None
                shifted, _, total = self.exponentials(reads[0], mask)
                seen = values.map("gt", total, real(0))
                divisor = values.map("where", seen, total, real(1))
                if not log:
                    return values.map("div", values.map("exp", shifted), divisor)
                value = values.map("sub", shifted, values.map("log", divisor))
                return values.map("where", seen, value, real(0))
        raise AssertionError(node)

    def exponentials(self, x: Expr, mask: Expr | None) -> tuple[Expr, Expr, Expr]:
        """x minus the maximum of its row (-inf where masked), that maximum, the sum of exp."""
        values = self.values
        x = values.cast(x, DType.ACCUMULATE)
        keep = [values.let(c, "in") for c in (tail(values.kernel, "l"),) if c is not None]
        if mask is not None:
            keep.append(mask)
        kept = None
        if keep:
            kept = keep[0] if len(keep) == 1 else values.map("and", *keep)
        masked = x if kept is None else values.map("where", kept, x, real(-INF))
        largest = values.let(Map("stopgrad", (values.reduce(Reduction.MAX, masked, "l"),)))
        none = values.map("eq", largest, real(-INF))
        top = values.map("where", none, real(0), largest)
        shifted = values.map("sub", x, top)
        if kept is not None:
            shifted = values.map("where", kept, shifted, real(-INF))
        return shifted, top, values.sum(values.map("exp", shifted), "l")


class Placed(Protocol):
    """Where the steps of a group stand."""

    def local(self, step: int, index: int) -> Expr:
        """The position on a local index of a step."""
        ...

    def size(self, size: Size, name: str) -> Expr: ...

    @property
    def sizes(self) -> Mapping[str, Size]: ...


@dataclass(frozen=True, slots=True)
class Scalars:
    """The value of a Pointwise's expression over the values of its reads and their dtypes."""

    at: Placed
    values: Values
    step: int
    reads: list[Expr]
    kinds: list[Dtype]

    def value(self, expr: Scalar) -> tuple[Expr, Dtype]:
        match expr:
            case Arg(position):
                return self.reads[position], self.kinds[position]
            case Lit(value, dtype):
                assert not isinstance(value, complex), expr
                if dtype is Dtype.REAL:
                    return real(value), dtype
                return Const(value, HELD[dtype]), dtype
            case Iota(index):
                return self.at.local(self.step, index), Dtype.INT
            case SizeOf(size):
                known = self.at.size(size, f"S{len(self.at.sizes)}")
                if isinstance(known, Ref):
                    self.values.types.names[known.name] = Type(DType.INT)
                return known, Dtype.INT
            case App(function, args, dtype):
                return self.values.cast(self.app(function, args), HELD[dtype]), dtype
        assert_never(expr)

    def app(self, function: str, args: tuple[Scalar, ...]) -> Expr:
        if function == "pow":
            (exponent,) = (arg for arg in args[1:] if isinstance(arg, Lit))
            assert not isinstance(exponent.value, complex), exponent
            base, _ = self.value(args[0])
            return self.values.power(self.cast(base, Dtype.REAL), float(exponent.value))
        pairs = [self.value(arg) for arg in args]
        if function in ("to_real", "to_int"):
            return self.cast(pairs[0][0], Dtype.REAL if function == "to_real" else Dtype.INT)
        row = registry.functions()[function]
        kinds = promoted(row, tuple(dtype for _, dtype in pairs))
        cast = [self.cast(value, kind) for (value, _), kind in zip(pairs, kinds, strict=True)]
        return self.values.map(function, *cast)

    def cast(self, expr: Expr, dtype: Dtype) -> Expr:
        return self.values.cast(expr, HELD[dtype])
