"""The invariants of a graph, checked after every stage in tests. What fails is our mistake."""

from __future__ import annotations

from typing import assert_never

from tensorlang import registry
from tensorlang.check.program import Boundary, ReduceOp, ScatterOp, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.canonical import canonical
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
    NodeId,
    Param,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Scan,
    Scatter,
    Semiring,
    SizeOf,
    Softmax,
    Subscript,
    Transform,
)
from tensorlang.ir.reads import identity_read, operands, read_indices, subscript_indices
from tensorlang.library.signature import promoted
from tensorlang.size import Size, product, same

_LITERALS = {
    Dtype.BOOL: bool,
    Dtype.INT: int,
    Dtype.REAL: float,
    Dtype.COMPLEX: complex,
}
_REDUCES = {
    ReduceOp.MAX,
    ReduceOp.MIN,
    ReduceOp.PROD,
    ReduceOp.LOGSUMEXP,
    ReduceOp.ANY,
    ReduceOp.ALL,
    ReduceOp.ARGMAX,
    ReduceOp.ARGMIN,
}
_POSITIONS = {ReduceOp.ARGMAX, ReduceOp.ARGMIN}


def verify(graph: Graph) -> None:
    """Assert that all nodes that the outputs need are well formed."""
    _border(graph)
    for identity in graph.alive():
        node = graph.node(identity)
        try:
            _node(graph, identity, node)
        except AssertionError as error:
            raise AssertionError(f"node {identity}: {error} in {node}") from error


def _border(graph: Graph) -> None:
    program = graph.program
    assert len(graph.inputs) == len(program.inputs), graph.inputs
    for position, (identity, given) in enumerate(zip(graph.inputs, program.inputs, strict=True)):
        node = graph.node(identity)
        assert node.op == Input(position), (identity, node)
        _same_shape(node.shape, tuple(axis.size for axis in given.axes))
        assert node.dtype is given.dtype, (identity, node)
    for param in program.params:
        node = graph.node(graph.params[param.name])
        assert node.op == Param(param.name), node
        _same_shape(node.shape, tuple(axis.size for axis in param.axes))
    assert len(graph.outputs) == len(program.outputs), graph.outputs


def _node(graph: Graph, identity: NodeId, node: Node) -> None:
    reads = operands(node)
    assert all(operand < identity for operand in reads), "a read of a later node"
    assert sorted(graph.operands(identity)) == sorted(reads), "edges that are not the reads"
    assert 0 <= node.rank <= len(node.sizes), "rank"
    assert canonical(node) == node, "not canonical"
    if not isinstance(node.op, Merge | Call):
        for read in node.reads:
            _read(graph, node, read)
    _operation(graph, node)
    used = {index for read in node.reads for index in read_indices(read)}
    if isinstance(node.op, Scatter):
        used |= {i for target in node.op.targets for s in target for i in subscript_indices(s)}
    assert used >= set(node.bound), "a bound index that nothing reads"


def _read(graph: Graph, node: Node, read: Read) -> None:
    tensor = graph.node(read.node)
    outside = _subscripts(graph, node, read.subscripts, tensor.shape)
    assert (read.fill is not None) == outside, "fill without else, or else without fill"
    if read.fill is not None:
        _literal(read.fill, tensor.dtype)


def _subscripts(
    graph: Graph, node: Node, subscripts: tuple[Subscript, ...], shape: tuple[Size, ...]
) -> bool:
    """Check one subscript per axis; whether one of them ends in ELSE."""
    assert len(subscripts) == len(shape), f"{len(subscripts)} subscripts of {len(shape)} axes"
    outside = False
    for subscript, size in zip(subscripts, shape, strict=True):
        local = set(subscript_indices(subscript))
        assert local <= set(range(len(node.sizes))), f"no such index: {subscript}"
        match subscript:
            case At(index):
                assert same(node.sizes[index], size), f"{node.sizes[index]} reads {size}"
            case Group(indices):
                inside = product(node.sizes[index] for index in indices)
                assert len(set(indices)) == len(indices), subscript
                assert same(inside, size), f"{inside} reads {size}"
            case Affine(terms, _, boundary):
                assert terms == tuple(sorted(terms)), subscript
                assert all(factor for _, factor in terms), subscript
                assert len(local) == len(terms), subscript
                assert boundary is not Boundary.CHECKED, subscript
                outside |= boundary is Boundary.ELSE
            case Gather(read, boundary):
                assert graph.node(read.node).dtype is Dtype.INT, "gather by what is no int"
                _read(graph, node, read)
                outside |= boundary is Boundary.ELSE
            case _:
                assert_never(subscript)
    return outside


def _operation(graph: Graph, node: Node) -> None:
    dtypes = [graph.node(read.node).dtype for read in node.reads]
    match node.op:
        case Input() | Param():
            assert not node.reads and not node.bound, "a leaf"
        case Const(array):
            assert not node.reads and not node.bound, "a leaf"
            assert array.value.shape == node.shape, array.value.shape
        case Contract(_, semiring):
            assert node.reads, "a contraction of nothing"
            assert all(dtype is node.dtype for dtype in dtypes), f"{dtypes} in one contraction"
            assert (node.dtype is Dtype.BOOL) == (semiring is Semiring.OR_AND), "bool contraction"
            _all_axes(node, node.reads)
        case Pointwise(expr):
            assert not node.bound, "a pointwise sum"
            assert _scalar(expr, node, dtypes) is node.dtype, "dtype of the expression"
        case Reduce(op):
            assert op in _REDUCES, op
            _whole(node, node.reads, 1)
            _all_axes(node, node.reads)
            assert node.bound and (op not in _POSITIONS or len(node.bound) == 1), node.bound
            assert node.dtype is (Dtype.INT if op in _POSITIONS else dtypes[0]), dtypes
        case Softmax(axes):
            _whole(node, node.reads, len(node.reads))
            _all_axes(node, node.reads[:1])
            assert axes and set(axes) <= set(range(node.rank)) and not node.bound, axes
            assert dtypes == [node.dtype, Dtype.BOOL][: len(dtypes)], dtypes
        case Scan(_, axis):
            _whole(node, node.reads, 1)
            _all_axes(node, node.reads)
            assert 0 <= axis < node.rank and not node.bound and dtypes == [node.dtype], axis
        case Transform(op, source, target):
            _whole(node, node.reads, len(node.reads))
            assert sorted(source) == list(node.bound), source
            assert set(target) <= set(range(node.rank)), target
            assert op is not TransformOp.CONCAT or len(node.reads) == len(source), source
        case Scatter(op, targets):
            assert len(targets) == len(node.reads), "a target for each read"
            assert all(dtype is node.dtype for dtype in dtypes), dtypes
            assert op in ScatterOp, op
            for landing in targets:
                _subscripts(graph, node, landing, node.shape)
        case Merge(groups):
            _merge(graph, node, groups)
        case Call():
            for read in node.reads:
                _identity(graph, read)
        case _:
            assert_never(node.op)


def _all_axes(node: Node, reads: tuple[Read, ...]) -> None:
    used = {index for read in reads for index in read_indices(read)}
    assert used >= set(range(len(node.sizes))), "an index that no read has"


def _whole(node: Node, reads: tuple[Read, ...], count: int) -> None:
    """So many reads, each of whole axes by indices of their own."""
    assert len(reads) == count, f"{len(reads)} reads"
    for read in reads:
        indices = [s.index for s in read.subscripts if isinstance(s, At)]
        assert len(set(indices)) == len(read.subscripts), read


def _merge(graph: Graph, node: Node, groups: tuple[tuple[int, ...], ...]) -> None:
    (read,) = node.reads
    _identity(graph, read)
    tensor = graph.node(read.node)
    assert [axis for group in groups for axis in group] == list(range(tensor.rank)), groups
    assert len(groups) == node.rank, groups
    assert tensor.dtype is node.dtype, tensor.dtype
    for size, group in zip(node.shape, groups, strict=True):
        assert same(product(tensor.sizes[axis] for axis in group), size), groups


def _identity(graph: Graph, read: Read) -> None:
    """A read of a whole tensor, whose indices are the tensor's own axes."""
    assert read == identity_read(read.node, graph.node(read.node).rank), read


def _scalar(expr: Scalar, node: Node, dtypes: list[Dtype]) -> Dtype:
    match expr:
        case Arg(position):
            assert 0 <= position < len(dtypes), expr
            return dtypes[position]
        case Lit(value, dtype):
            _literal(value, dtype)
            return dtype
        case Iota(index):
            assert 0 <= index < node.rank, expr
            return Dtype.INT
        case SizeOf():
            return Dtype.INT
        case App(function, args, dtype):
            found = tuple(_scalar(arg, node, dtypes) for arg in args)
            row = registry.functions()[function]
            assert row.dtype(found) is dtype, (function, found, dtype)
            if function != "pow":  # whose literal exponent stays an int
                assert promoted(row, found) == found, (function, found)
            return dtype
    assert_never(expr)


def _literal(value: bool | int | float | complex, dtype: Dtype) -> None:
    assert type(value) is _LITERALS[dtype], (value, dtype)


def _same_shape(found: tuple[Size, ...], wanted: tuple[Size, ...]) -> None:
    assert len(found) == len(wanted), (found, wanted)
    assert all(same(a, b) for a, b in zip(found, wanted, strict=True)), (found, wanted)
