"""An expression becomes nodes: one Pointwise per maximal pointwise part, a node per other operator.

A frame is a node in the making: its local indices and the reads collected so far. What is lowered
into a frame is a scalar over them; an operator becomes a node of its own and the scalar reads it.

Guards are the conditions under which a value is needed. Where none holds, an argument of a function
that can fail is 0.5 (an int 1) and a checked position 0, so neither value nor gradient is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from tensorlang import registry
from tensorlang.check.program import (
    AffineAt,
    Along,
    AlongOp,
    Apply,
    At,
    Boundary,
    ComputedAt,
    Expr,
    Group,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    SizeValue,
    Subscript,
    Transform,
    TransformOp,
    free_indices,
)
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes as ir
from tensorlang.ir.graph import Graph
from tensorlang.ir.reads import identity_read
from tensorlang.lower.finite import is_finite
from tensorlang.lower.guards import Guards, beyond, states, where_needed
from tensorlang.lower.partial import Partial
from tensorlang.lower.prepare import identity
from tensorlang.lower.ranges import can_fail
from tensorlang.lower.sums import take_apart
from tensorlang.lower.terms import (
    cast,
    conjunction,
    dtype_of,
    is_plain,
    masked,
    negation,
    number,
    projected,
    reads_tensors,
    uncast,
)
from tensorlang.size import Size
from tensorlang.source import Span

Local = dict[Index, int]


@dataclass(slots=True)
class Frame:
    """Local indices of a node in the making, its reads by position, the guards it stands under."""

    local: Local
    guards: Guards
    reads: dict[ir.Read, int] = field(default_factory=dict)

    def arg(self, read: ir.Read) -> ir.Arg:
        return ir.Arg(self.reads.setdefault(read, len(self.reads)))

    def under(self, *guards: Expr) -> Frame:
        """The same node in the making, under more guards."""
        return Frame(self.local, self.guards + guards, self.reads)

    def without(self, indices: Sequence[Index]) -> Frame:
        """The same node in the making, without guards over indices that are bound anew."""
        kept = tuple(g for g in self.guards if not set(indices) & set(free_indices(g)))
        return Frame(self.local, kept, self.reads)

    def ordered(self, indices: Iterable[Index]) -> tuple[Index, ...]:
        """Indices as this frame orders them, others after them as they come."""
        given = dict.fromkeys(indices)
        own = sorted((i for i in given if i in self.local), key=self.local.__getitem__)
        return (*own, *(i for i in given if i not in self.local))


class Expressions:
    """Lowers prepared expressions into a graph; tensors by name are filled in by the statements."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, ir.NodeId] = {}
        self.finite: set[str] = set()
        self.partial = Partial()
        self.spans: tuple[Span, ...] = ()
        self.masks = False  # what is drawn at random is a tensor, for derivatives to read

    def node(self, expr: Expr, indices: Sequence[Index], guards: Guards = ()) -> ir.NodeId:
        """The tensor of an expression over these indices, which are all that are free in it."""
        frame = Frame({index: k for k, index in enumerate(indices)}, guards)
        scalar = self.scalar(expr, frame)
        reads = tuple(frame.reads)
        sizes = _sizes(indices)
        if isinstance(scalar, ir.Arg):
            (read,) = reads
            if read == identity_read(read.node, len(sizes)) and (
                self.graph.node(read.node).shape == sizes
            ):
                return read.node
        return self._add(ir.Pointwise(scalar), reads, sizes, len(sizes), dtype_of(expr))

    def _add(
        self,
        op: ir.Op,
        reads: tuple[ir.Read, ...],
        sizes: tuple[Size, ...],
        rank: int,
        dtype: Dtype,
    ) -> ir.NodeId:
        return self.graph.add(ir.Node(op, reads, sizes, rank, dtype), spans=self.spans)

    # --- scalars ---------------------------------------------------------------------------------
    def scalar(self, expr: Expr, frame: Frame) -> ir.Scalar:
        """The expression over a frame's indices; adds to the frame's reads."""
        expr = self.partial.opened(expr, frame.guards)
        match expr:
            case Literal(value, dtype):
                return ir.Lit(value, dtype)
            case SizeValue(size):
                return ir.SizeOf(size)
            case IndexValue(index):
                return ir.Iota(frame.local[index])
            case Apply():
                return self._apply(expr, frame)
            case Read():
                return frame.arg(self.read(expr, frame.local, frame.guards))
            case Reduce(ReduceOp.SUM):
                return self._sum(expr, frame)
            case Reduce():
                return self._reduce(expr, frame)
            case Along():
                return self._along(expr, frame)
            case Transform():
                return self._transform(expr, frame)
        assert_never(expr)

    def _apply(self, expr: Apply, frame: Frame) -> ir.Scalar:
        args: list[ir.Scalar]
        match expr.function, expr.args:
            case "where", (condition, then, otherwise):
                args = [
                    self.scalar(condition, frame),
                    self.scalar(then, frame.under(condition)),
                    self.scalar(otherwise, frame.under(negation(condition))),
                ]
            case "dropout", (value, rate) if self.masks:
                return self._masked(value, rate, expr, frame)
            case "and" | "or", _:
                args, inside = [], frame
                for arg in expr.args:
                    args.append(self.scalar(arg, inside))
                    inside = inside.under(arg if expr.function == "and" else negation(arg))
            case _ if frame.guards and can_fail(expr):
                divides = expr.function in ("div", "floordiv", "mod")  # fails by its divisor only
                args = [
                    self._guarded(arg, frame, total=divides and k == 0)
                    for k, arg in enumerate(expr.args)
                ]
            case _:
                args = [self.scalar(arg, frame) for arg in expr.args]
        return ir.App(expr.function, tuple(args), expr.dtype, expr.site)

    def _masked(self, value: Expr, rate: Expr, expr: Apply, frame: Frame) -> ir.Scalar:
        """A value times a mask that is a tensor: the value's derivatives read the same."""
        axes = frame.ordered(free_indices(value))
        parts = (ir.Lit(1.0, Dtype.REAL), self.scalar(rate, Frame({}, ())))
        drawn = ir.App("dropout", parts, Dtype.REAL, expr.site)
        node = self._add(ir.Pointwise(drawn), (), _sizes(axes), len(axes), Dtype.REAL)
        mask: ir.Scalar = frame.arg(_at(node, axes, frame))
        if expr.dtype is Dtype.COMPLEX:
            mask = ir.App("to_complex", (mask,), expr.dtype)
        return ir.App("mul", (self.scalar(value, frame), mask), expr.dtype)

    def _guarded(self, arg: Expr, frame: Frame, total: bool) -> ir.Scalar:
        """An argument, or what is in every domain where it is not needed."""
        guards = frame.guards
        if not free_indices(arg) and not reads_tensors(arg):
            # a size has no gradient, and can be 0 only where the layer asks for it
            guards = tuple(guard for guard in guards if not free_indices(guard))
        if total or not guards or isinstance(arg, Literal):
            return self.scalar(arg, frame)
        indices = tuple(frame.local)
        condition = conjunction([projected(guard, indices) for guard in guards])
        dtype = dtype_of(arg)
        safe = number(1 if dtype is Dtype.INT else 0.5, dtype)
        chosen = self.scalar(condition, Frame(frame.local, (), frame.reads))
        return ir.App("where", (chosen, self.scalar(arg, frame), ir.Lit(safe.value, dtype)), dtype)

    # --- reads -----------------------------------------------------------------------------------
    def read(self, expr: Read, local: Local, guards: Guards) -> ir.Read:
        """A tensor of the program read at local indices."""
        fill = None if expr.otherwise is None else cast(expr.otherwise, expr.dtype)
        assert fill is None or isinstance(fill, Literal), expr
        indices = tuple(free_indices(expr))
        subscripts = tuple(self.subscript(s, local, guards, indices) for s in expr.subscripts)
        return ir.Read(self.tensors[expr.tensor], subscripts, None if fill is None else fill.value)

    def subscript(
        self, subscript: Subscript, local: Local, guards: Guards, indices: tuple[Index, ...]
    ) -> ir.Subscript:
        """A subscript over local indices; `indices` are those of the whole read."""
        match subscript:
            case At(index):
                return ir.At(local[index])
            case Group(split):
                return ir.Group(tuple(local[index] for index in split))
            case AffineAt(affine, boundary):
                terms = tuple(sorted((local[index], factor) for index, factor in affine.terms))
                return ir.Affine(terms, affine.offset, boundary)
            case ComputedAt(value, boundary):
                needed = (
                    where_needed(value, guards, indices) if boundary is Boundary.CHECKED else value
                )
                if needed is not value:
                    guards = ()  # they are its condition now, and may read the same position
                return ir.Gather(self.operand(needed, local, guards), boundary)
        assert_never(subscript)

    def operand(
        self,
        expr: Expr,
        local: Local,
        guards: Guards,
        indices: Iterable[Index] | None = None,
        plain: bool = False,
    ) -> ir.Read:
        """A read of an expression's value, directly where it is a tensor's.

        `indices` (default: those free in it) are those that the value must have; `plain` asks for a
        read of whole axes.
        """
        asked = free_indices(expr) if indices is None else indices
        wanted = sorted(set(asked), key=local.__getitem__)
        expr = self.partial.opened(expr, guards)
        free = tuple(free_indices(expr))
        if len(wanted) == len(free):
            if isinstance(expr, Read) and (not plain or is_plain(expr)):
                return self.read(expr, local, guards)
            tensor = uncast(expr)
            if isinstance(tensor, Read) and isinstance(expr, Apply) and not plain:
                return self._cast_read(expr, tensor, local, guards)
        node = self.node(expr, wanted, guards)
        return ir.Read(node, tuple(ir.At(local[index]) for index in wanted))

    def _cast_read(self, expr: Apply, tensor: Read, local: Local, guards: Guards) -> ir.Read:
        """Cast the tensor, then read it: the read may repeat cells."""
        read = self.read(tensor, local, guards)
        source = self.graph.node(read.node)
        op: ir.Op
        reads: tuple[ir.Read, ...] = ()
        if isinstance(source.op, ir.Const):
            values = registry.functions()[expr.function].numpy(source.op.array.value)
            op = ir.Const(ir.Array(values))
        else:
            op = ir.Pointwise(ir.App(expr.function, (ir.Arg(0),), expr.dtype))
            reads = (identity_read(read.node, source.rank),)
        node = self._add(op, reads, source.shape, source.rank, expr.dtype)
        fill = None if read.fill is None else number(read.fill, expr.dtype).value
        return replace(read, node=node, fill=fill)

    # --- operators -------------------------------------------------------------------------------
    def _sum(self, expr: Reduce, frame: Frame) -> ir.Scalar:
        frame = frame.without(expr.indices)
        parts = take_apart(expr, lambda factor: is_finite(factor, self.finite))
        needed = frame if expr.where is None else frame.under(expr.where)
        scalars: list[ir.Scalar] = []
        if parts.inner:
            guarded = [
                (f, frame.guards if states(f, expr.where) else needed.guards) for f in parts.inner
            ]
            summed = self._contract(parts.coefficient, guarded, parts.indices, expr.dtype, frame)
            scalars.append(frame.arg(summed))
        elif parts.coefficient != 1 or not parts.outer:
            scalars.append(ir.Lit(number(parts.coefficient, expr.dtype).value, expr.dtype))
        scalars.extend(self.scalar(cast(factor, expr.dtype), needed) for factor in parts.outer)
        above = scalars[0] if len(scalars) == 1 else ir.App("mul", tuple(scalars), expr.dtype)
        if not parts.divisors:
            return above
        below = [self._divisor(cast(d, expr.dtype), needed) for d in parts.divisors]
        under = below[0] if len(below) == 1 else ir.App("mul", tuple(below), expr.dtype)
        return ir.App("div", (above, under), expr.dtype)

    def _divisor(self, expr: Expr, frame: Frame) -> ir.Scalar:
        return self._guarded(expr, frame, total=not frame.guards)

    def _contract(
        self,
        coefficient: int | float | complex,
        factors: Sequence[tuple[Expr, Guards]],
        indices: tuple[Index, ...],
        dtype: Dtype,
        frame: Frame,
    ) -> ir.Read:
        """A sum of a product of factors, each under its guards."""
        here = dict.fromkeys(index for factor, _ in factors for index in free_indices(factor))
        axes = frame.ordered(index for index in here if index not in indices)
        local = {index: k for k, index in enumerate((*axes, *indices))}
        reads = tuple(self.operand(cast(f, dtype), local, guards) for f, guards in factors)
        op = ir.Contract(coefficient)
        node = self._add(op, reads, _sizes(local), len(axes), dtype)
        return _at(node, axes, frame)

    def _reduce(self, expr: Reduce, frame: Frame) -> ir.Scalar:
        frame = frame.without(expr.indices)
        body = masked(expr.where, expr.body, identity(expr.op, dtype_of(expr.body)))
        free = free_indices(body)
        axes = frame.ordered(index for index in free if index not in expr.indices)
        local = {index: k for k, index in enumerate((*axes, *expr.indices))}
        read = self.operand(body, local, frame.guards, local, plain=True)
        node = self._add(ir.Reduce(expr.op), (read,), _sizes(local), len(axes), expr.dtype)
        return frame.arg(_at(node, axes, frame))

    def _along(self, expr: Along, frame: Frame) -> ir.Scalar:
        above = beyond(frame.guards, expr.indices)
        guards = above if expr.where is None else (*above, expr.where)
        free = dict.fromkeys((*free_indices(expr.body), *expr.indices))
        if expr.where is not None:
            free |= free_indices(expr.where)
        axes = frame.ordered(free)
        local = {index: k for k, index in enumerate(axes)}
        reads = [self.operand(expr.body, local, guards, axes, plain=True)]
        if expr.where is not None:
            reads.append(self.operand(expr.where, local, above, plain=True))
        along = tuple(local[index] for index in expr.indices)
        op: ir.Op
        match expr.op:
            case AlongOp.SOFTMAX | AlongOp.LOG_SOFTMAX:
                op = ir.Softmax(along, expr.op is AlongOp.LOG_SOFTMAX)
            case AlongOp.CUMSUM:
                op = ir.Scan(ir.ScanOp.CUMSUM, along[0])
            case AlongOp.CUMPROD:
                op = ir.Scan(ir.ScanOp.CUMPROD, along[0])
            case _:
                assert_never(expr.op)
        node = self._add(op, tuple(reads), _sizes(axes), len(axes), expr.dtype)
        return frame.arg(_at(node, axes, frame))

    def _transform(self, expr: Transform, frame: Frame) -> ir.Scalar:
        axes = frame.ordered(free_indices(expr))
        sizes = _sizes((*axes, *expr.source))
        local = {index: k for k, index in enumerate(axes)}
        target = tuple(local[index] for index in expr.target)
        local |= {index: len(axes) + k for k, index in enumerate(expr.source)}
        reads = tuple(
            self.operand(
                arg,
                local,
                beyond(frame.guards, (*expr.source, *expr.target)),
                dict.fromkeys((*free_indices(arg), *_sources(expr, position))),
                plain=True,
            )
            for position, arg in enumerate(expr.args)
        )
        source = tuple(local[index] for index in expr.source)
        op = ir.Transform(expr.op, source, target, expr.norm)
        node = self._add(op, reads, sizes, len(axes), expr.dtype)
        return frame.arg(_at(node, axes, frame))


def _sources(expr: Transform, position: int) -> tuple[Index, ...]:
    """Indices that an argument must have: sources; all of the result where laid end to end."""
    match expr.op:
        case TransformOp.CONCAT:
            rest = (index for index in free_indices(expr) if index not in expr.target)
            return (*rest, expr.source[position])
        case TransformOp.SOLVE if position == 1:
            return (expr.source[0],)
        case _:
            return expr.source


def _at(node: ir.NodeId, axes: tuple[Index, ...], frame: Frame) -> ir.Read:
    return ir.Read(node, tuple(ir.At(frame.local[index]) for index in axes))


def _sizes(indices: Iterable[Index]) -> tuple[Size, ...]:
    return tuple(index.dim.size for index in indices)
