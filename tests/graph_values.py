"""The value of a graph, node by node over the full index space: what lowering and rewrites keep.

Slow and plain on purpose; it shares nothing with the backends. `value_of_node` also evaluates the
node of a planned step, given the values of its slots.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import numpy as np

from tensorlang import registry
from tensorlang.check.program import (
    Boundary,
    Program,
    ReduceOp,
    ScatterOp,
    SubCall,
    TransformOp,
)
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Call,
    Const,
    Contract,
    Gather,
    Group,
    Input,
    Iota,
    Lit,
    Merge,
    Node,
    Param,
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
    Transform,
)
from tensorlang.ir.reads import read_indices, subscript_indices
from tensorlang.lower import lower
from tensorlang.reference import border
from tensorlang.size import evaluate as size_value

Array = Any
TYPES = (np.bool_, np.int64, np.float64, np.complex128)


def values(
    graph: Graph,
    inputs: Sequence[Array],
    params: Mapping[str, Array],
    graph_of: Callable[[Program], Graph] = lower,
) -> tuple[Array, ...]:
    """Outputs of a graph; sub-layers are evaluated as `graph_of` their programs."""
    program = graph.program
    bound = border.bind(program, inputs)
    own = border.params(program, params)
    found: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for identity in graph.alive():
            node = graph.node(identity)
            match node.op:
                case Input(position):
                    value = bound.inputs[position]
                case Param(name):
                    value = own[name]
                case Call(sub, signature, output):
                    passed = [found[read.node] for read in node.reads]
                    callee = _callee(program, sub, signature)
                    value = _call(program, sub, callee, passed, params, graph_of)[output]
                case _:
                    value = value_of_node(node, found, bound.sizes)
            shape = tuple(size_value(size, bound.sizes) for size in node.shape)
            assert np.shape(value) == shape, (identity, node, np.shape(value), shape)
            found[identity] = np.asarray(value).astype(TYPES[node.dtype], casting="safe")
    axes = _axes(program)
    return tuple(
        border.unflattened(axes[name], found[identity], bound.batch)
        for name, identity in zip(program.outputs, graph.outputs, strict=True)
    )


def _axes(program: Program) -> dict[str, Any]:
    axes: dict[str, Any] = {}
    for statement in program.body:
        if isinstance(statement, SubCall):
            axes |= {output.name: output.axes for output in statement.outputs}
        else:
            axes[statement.name] = statement.axes
    return axes


def _callee(program: Program, sub: str, signature: str) -> Program:
    return next(
        s.program
        for s in program.body
        if isinstance(s, SubCall) and s.sub == sub and s.program.signature == signature
    )


def _call(
    program: Program,
    name: str,
    callee: Program,
    inputs: list[Array],
    params: Mapping[str, Array],
    graph_of: Callable[[Program], Graph],
) -> tuple[Array, ...]:
    sub = next(sub for sub in program.subs if sub.name == name)

    def below(path: str) -> dict[str, Array]:
        return {k[len(path) + 1 :]: v for k, v in params.items() if k.startswith(path + ".")}

    if sub.count is None:
        return values(graph_of(callee), inputs, below(name), graph_of)
    for stage in range(sub.count):
        inputs[:1] = values(graph_of(callee), inputs, below(f"{name}.{stage}"), graph_of)
    return tuple(inputs[:1])


# --- nodes ---------------------------------------------------------------------------------------
def value_of_node(node: Node, found: Mapping[int, Array], sizes: Mapping[str, int]) -> Array:
    """The value of a node that is no Input, Param or Call; `found` holds what it reads."""
    local = _Local([size_value(size, sizes) for size in node.sizes], found, sizes)
    shape = tuple(local.extents[: node.rank])
    match node.op:
        case Const(array):
            return array.value
        case Contract(coefficient, semiring):
            return _contract(node, coefficient, semiring, local)
        case Pointwise(expr):
            reads = [local.read(read) for read in node.reads]
            return np.broadcast_to(_scalar(expr, reads, local), shape)
        case Reduce(op):
            return _reduce(op, local.full(node.reads[0], node), node.rank)
        case Softmax(axes, log):
            return _softmax(node, axes, log, local)
        case Scan(op, axis):
            body = local.full(node.reads[0], node)
            return np.cumsum(body, axis) if op is ScanOp.CUMSUM else np.cumprod(body, axis)
        case Transform():
            return _transform(node, node.op, local)
        case Scatter():
            return _scatter(node, node.op, local)
        case Merge():
            return np.asarray(found[node.reads[0].node]).reshape(shape)
        case Input() | Param() | Call():
            raise AssertionError(node)
        case _:
            assert_never(node.op)


class _Local:
    """The index space of a node: every array below has one axis per local index, 1 where absent."""

    def __init__(
        self, extents: list[int], found: Mapping[int, Array], sizes: Mapping[str, int]
    ) -> None:
        self.extents, self.found, self.sizes = extents, found, sizes

    def iota(self, index: int) -> Array:
        shape = [1] * len(self.extents)
        shape[index] = self.extents[index]
        return np.arange(self.extents[index]).reshape(shape)

    def full(self, read: Read, node: Node) -> Array:
        return np.broadcast_to(self.read(read), self.extents)

    def read(self, read: Read) -> Array:
        tensor = np.asarray(self.found[read.node])
        assert tensor.ndim == len(read.subscripts), (tensor.shape, read)
        where, valid = self.places(read.subscripts, tensor.shape)
        shape = np.broadcast_shapes((1,) * len(self.extents), *(w.shape for w in where))
        if 0 in shape or tensor.size == 0:
            value = np.zeros(shape, tensor.dtype)
        else:
            value = np.broadcast_to(tensor[where] if where else tensor, shape)
        if valid is None:
            assert tensor.size or 0 in shape, (tensor.shape, read)
            return value
        assert read.fill is not None, read
        return np.where(valid, value, np.asarray(read.fill, tensor.dtype))

    def places(
        self, subscripts: Sequence[Subscript], shape: tuple[int, ...]
    ) -> tuple[tuple[Array, ...], Array | None]:
        """Position on each axis, and where all that end in ELSE are inside."""
        where, valid = [], None
        for subscript, size in zip(subscripts, shape, strict=True):
            place, inside = self.place(subscript, size)
            where.append(place)
            if inside is not None:
                valid = inside if valid is None else valid & inside
        return tuple(where), valid

    def place(self, subscript: Subscript, size: int) -> tuple[Array, Array | None]:
        match subscript:
            case At(index):
                assert self.extents[index] == size, (self.extents, subscript, size)
                return self.iota(index), None
            case Group(indices):
                place = np.zeros((1,) * len(self.extents), np.int64)
                assert int(np.prod([self.extents[i] for i in indices])) == size, subscript
                for index in indices:
                    place = place * self.extents[index] + self.iota(index)
                return place, None
            case Affine(terms, offset, boundary):
                place = np.full((1,) * len(self.extents), size_value(offset, self.sizes))
                for index, factor in terms:
                    place = place + factor * self.iota(index)
                return _inside(place, size, boundary)
            case Gather(read, boundary):
                return _inside(self.read(read), size, boundary)
        assert_never(subscript)


def _inside(place: Array, size: int, boundary: Boundary) -> tuple[Array, Array | None]:
    inside = (place >= 0) & (place < size)
    match boundary:
        case Boundary.INSIDE:
            assert inside.all(), (place, size)
            return place, None
        case Boundary.CHECKED:
            if not inside.all():
                raise IndexError(f"{place[~inside][0]} is not below {size}")
            return place, None
        case Boundary.ELSE:
            return np.where(inside, place, 0), inside
        case Boundary.CLAMP:
            return np.clip(place, 0, size - 1), None
        case Boundary.WRAP:
            return place % size, None
        case Boundary.REFLECT:
            period = max(2 * (size - 1), 1)
            place = place % period
            return np.minimum(place, period - place) if size > 1 else place * 0, None
    assert_never(boundary)


def _scalar(expr: Scalar, reads: list[Array], local: _Local) -> Array:
    match expr:
        case Arg(position):
            return reads[position]
        case Lit(value, dtype):
            return np.asarray(value, TYPES[dtype])
        case Iota(index):
            return local.iota(index)
        case SizeOf(size):
            return np.asarray(size_value(size, local.sizes))
        case App(function, args, dtype):
            given = [_scalar(arg, reads, local) for arg in args]
            value = np.asarray(registry.functions()[function].numpy(*given))
            assert value.dtype == TYPES[dtype], (expr, value.dtype)
            return value
    assert_never(expr)


def _contract(node: Node, coefficient: Any, semiring: Semiring, local: _Local) -> Array:
    fields = [local.read(read) for read in node.reads]
    shape = tuple(local.extents[: node.rank])
    bound = tuple(node.bound)
    if semiring is not Semiring.SUM_PRODUCT:
        assert coefficient == 1, node
        total = np.broadcast_to(fields[0], local.extents)
        for field in fields[1:]:
            total = total & field if semiring is Semiring.OR_AND else total + field
        match semiring:
            case Semiring.MAX_PLUS:
                return np.max(total, bound, initial=-np.inf)
            case Semiring.MIN_PLUS:
                return np.min(total, bound, initial=np.inf)
            case _:
                return np.any(total, bound)
    operands: list[Any] = []
    present: set[int] = set()
    for read, field in zip(node.reads, fields, strict=True):
        own = sorted(set(read_indices(read)))
        present |= set(own)
        operands.append(field.reshape([local.extents[i] for i in own]))
        operands.append(own)
    assert present >= set(range(len(local.extents))), ("an index that no read has", node)
    assert len(local.extents) <= len(string.ascii_letters), node
    total = np.einsum(*operands, list(range(node.rank)), optimize=len(fields) > 2)
    total = np.asarray(total).reshape(shape) * coefficient
    return total.astype(TYPES[node.dtype]) if node.dtype is not Dtype.COMPLEX else total


def _reduce(op: ReduceOp, body: Array, rank: int) -> Array:
    bound = tuple(range(rank, body.ndim))
    match op:
        case ReduceOp.MAX | ReduceOp.MIN:
            least, most = (
                (-np.inf, np.inf)
                if body.dtype.kind == "f"
                else (False, True)
                if body.dtype.kind == "b"
                else (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
            )
            if op is ReduceOp.MAX:
                return body.max(bound, initial=least)
            return body.min(bound, initial=most)
        case ReduceOp.PROD:
            return body.prod(bound)
        case ReduceOp.LOGSUMEXP:
            top = body.max(bound, initial=-np.inf, keepdims=True)
            top = np.where(np.isfinite(top), top, 0)
            return np.log(np.exp(body - top).sum(bound)) + top.reshape(body.shape[:rank])
        case ReduceOp.ANY:
            return body.any(bound)
        case ReduceOp.ALL:
            return body.all(bound)
        case ReduceOp.ARGMAX | ReduceOp.ARGMIN:
            (axis,) = bound
            if body.shape[axis] == 0:
                return np.zeros(body.shape[:rank], np.int64)
            return body.argmax(axis) if op is ReduceOp.ARGMAX else body.argmin(axis)
        case _:
            raise AssertionError(op)


def _softmax(node: Node, axes: tuple[int, ...], log: bool, local: _Local) -> Array:
    body = local.full(node.reads[0], node)
    mask = np.True_ if len(node.reads) == 1 else local.read(node.reads[1])
    body = np.where(mask, body, -np.inf)
    top = body.max(axes, initial=-np.inf, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.exp(body - top).sum(axes, keepdims=True)
    if log:
        return np.where(total > 0, body - top - np.log(total), 0)
    return np.where(total > 0, np.exp(body - top) / np.where(total > 0, total, 1), 0)


def _transform(node: Node, op: Transform, local: _Local) -> Array:
    row = registry.transforms()[op.op.value]
    batch = [axis for axis in range(node.rank) if axis not in op.target]
    args = []
    for position, read in enumerate(node.reads):
        own = _sources(op, position)
        field = local.read(read)
        order = [*batch, *own]
        rest = [axis for axis in range(field.ndim) if axis not in order]
        args.append(field.transpose(*order, *rest).reshape([field.shape[a] for a in order]))
    targets = tuple(local.extents[axis] for axis in op.target)
    value = np.asarray(row.numpy(*args, sizes=targets, norm=op.norm))
    shape = [local.extents[axis] for axis in batch]
    value = np.broadcast_to(value, (*shape, *targets))
    return value.transpose(np.argsort([*batch, *op.target]))


def _sources(op: Transform, position: int) -> tuple[int, ...]:
    if op.op is TransformOp.CONCAT:
        return (op.source[position],)
    return op.source[:1] if op.op is TransformOp.SOLVE and position == 1 else op.source


def _scatter(node: Node, op: Scatter, local: _Local) -> Array:
    shape = tuple(local.extents[: node.rank])
    kind = TYPES[node.dtype]
    out = np.zeros(shape, kind)
    if op.op is not ScatterOp.SUM:
        limits = np.iinfo(np.int64) if node.dtype is Dtype.INT else np.finfo(np.float64)
        low, high = (limits.min, limits.max) if node.dtype is Dtype.INT else (-np.inf, np.inf)
        out = np.full(shape, low if op.op is ScatterOp.MAX else high, kind)
    hit = np.zeros(shape, np.bool_)
    combine = {
        ScatterOp.SUM: np.add,
        ScatterOp.MAX: np.maximum,
        ScatterOp.MIN: np.minimum,
    }[op.op]
    for read, target in zip(node.reads, op.targets, strict=True):
        own = {*read_indices(read), *(i for s in target for i in subscript_indices(s))}
        extents = [size if k in own else 1 for k, size in enumerate(local.extents)]
        where, valid = local.places(target, shape)
        value = np.broadcast_to(local.read(read), extents).ravel()
        flat = [np.broadcast_to(place, extents).ravel() for place in where]
        if valid is not None:
            keep = np.broadcast_to(valid, extents).ravel()
            value, flat = value[keep], [place[keep] for place in flat]
        combine.at(out, tuple(flat), value)
        hit[tuple(flat)] = True
    return np.where(hit, out, 0).astype(kind)
