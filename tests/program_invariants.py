"""What `tensorlang.check.program` says the checker guarantees of a program, as asserts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tensorlang.check.program import (
    AffineAt,
    Along,
    Apply,
    At,
    Axis,
    Boundary,
    ComputedAt,
    Const,
    Constructed,
    Equation,
    Expr,
    Gradient,
    Group,
    Index,
    IndexValue,
    Program,
    Read,
    Reduce,
    Scatter,
    SubCall,
    Subscript,
    Table,
    Transform,
    free_indices,
    subscript_indices,
)
from tensorlang.size import product, same


def check_program(program: Program) -> None:
    """Assert every guarantee, in sub-layers too."""
    known: dict[str, tuple[Axis, ...]] = {}
    for given in program.inputs:
        known[given.name] = given.axes
    for param in program.params:
        known[param.name] = param.axes
    for const in program.consts:
        _const(const, known)
        known[const.name] = const.axes
    subs = {sub.name: sub for sub in program.subs}
    for statement in program.body:
        match statement:
            case Equation():
                _equation(statement.axes, statement.body, known)
                assert statement.name not in known, statement.name
                known[statement.name] = statement.axes
            case Scatter():
                _scatter(statement, known)
                assert statement.name not in known, statement.name
                known[statement.name] = statement.axes
            case Gradient(name, axes, _, value, by):
                assert name not in known and value in known, statement
                assert axes == known[by], (statement, known[by])
                known[name] = axes
            case SubCall():
                callee = subs[statement.sub]
                assert callee.bind == statement.program.hypers, (callee, statement)
                _call(statement, callee.count, known)
                check_program(statement.program)
                for output in statement.outputs:
                    assert output.name not in known, output.name
                    known[output.name] = output.axes
    assert all(name in known for name in program.outputs), program.outputs
    dims = {dim.name: dim for dim in program.dims}
    for axes in known.values():
        for axis in axes:
            for index in axis.indices:
                assert dims[index.dim.name] == index.dim, (index, dims)


def _const(const: Const, known: dict[str, tuple[Axis, ...]]) -> None:
    if isinstance(const.value, Table):
        size = product(axis.size for axis in const.axes)
        assert not isinstance(size, int) or size == len(const.value.entries), const
    elif isinstance(const.value, Constructed):
        assert sorted(map(str, const.value.indices)) == sorted(map(str, _indices(const.axes))), (
            const
        )
    else:
        _equation(const.axes, const.value, known)


def _indices(axes: Sequence[Axis]) -> list[Index]:
    return [index for axis in axes for index in axis.indices]


def _equation(axes: Sequence[Axis], body: Expr, known: dict[str, tuple[Axis, ...]]) -> None:
    left = _indices(axes)
    assert len(set(left)) == len(left), left
    assert set(free_indices(body)) <= set(left), (free_indices(body), left)
    _bound_once(body, set(left))
    _reads(body, known)


def _bound_once(body: Expr, taken: set[Index]) -> None:
    for node in nodes(body):
        bound = (
            node.indices
            if isinstance(node, Reduce)
            else node.source
            if isinstance(node, Transform)
            else ()
        )
        for index in bound:
            assert index not in taken, (index, body)
            taken.add(index)
        if isinstance(node, Along):
            assert node.indices, node


def _reads(body: Expr, known: dict[str, tuple[Axis, ...]]) -> None:
    for node in nodes(body):
        if isinstance(node, IndexValue):
            assert not node.index.ellipsis, node
        if not isinstance(node, Read):
            continue
        axes = known[node.tensor]
        assert len(axes) == len(node.subscripts), (node, axes)
        outside = False
        for axis, subscript in zip(axes, node.subscripts, strict=True):
            _subscript(axis, subscript)
            outside = outside or getattr(subscript, "boundary", None) is Boundary.ELSE
        assert outside == (node.otherwise is not None), node
        assert node.otherwise is None or node.otherwise.dtype is node.dtype, node


def _subscript(axis: Axis, subscript: Subscript) -> None:
    match subscript:
        case At(index):
            assert same(index.dim.size, axis.size), (axis, subscript)
        case Group(indices):
            assert same(product(i.dim.size for i in indices), axis.size), (axis, subscript)


def _scatter(scatter: Scatter, known: dict[str, tuple[Axis, ...]]) -> None:
    left = _indices(scatter.axes)
    taken = set(left)
    for part in scatter.contributions:
        assert len(part.subscripts) == len(scatter.axes), part
        for index in part.landing:
            assert index not in taken, (index, scatter)
            taken.add(index)
        free = set(free_indices(part.body))
        free |= {i for subscript in part.subscripts for i in subscript_indices(subscript)}
        assert free <= {*left, *part.landing}, (free, left, part.landing)
        _bound_once(part.body, taken)
        _reads(part.body, known)


def _call(call: SubCall, count: int | None, known: dict[str, tuple[Axis, ...]]) -> None:
    assert len(call.inputs) == len(call.program.inputs), call
    for name, given in zip(call.inputs, call.program.inputs, strict=True):
        assert len(known[name]) == len(given.axes), (name, known[name], given.axes)
        for mine, theirs in zip(known[name], given.axes, strict=True):
            fixed = isinstance(mine.size, int) and isinstance(theirs.size, int)
            assert not fixed or mine.size == theirs.size, (mine, theirs)
    made = {s.name: s.axes for s in call.program.body if not isinstance(s, SubCall)}
    for statement in call.program.body:
        if isinstance(statement, SubCall):
            made |= {output.name: output.axes for output in statement.outputs}
    for output, name in zip(call.outputs, call.program.outputs, strict=True):
        assert len(output.axes) == len(made[name]), (output, made[name])
    if count is not None:
        first, given = call.outputs[0], call.program.inputs[0]
        shown = [[i.name for i in axis.indices] for axis in given.axes]
        assert [[i.name for i in axis.indices] for axis in made[call.program.outputs[0]]] == shown
        assert len(first.axes) == len(given.axes), call


def nodes(expr: Expr) -> Iterator[Expr]:
    """Every expression within an expression, subscripts' too."""
    yield expr
    match expr:
        case Apply(args=args) | Transform(args=args):
            for arg in args:
                yield from nodes(arg)
        case Reduce() | Along():
            if expr.where is not None:
                yield from nodes(expr.where)
            yield from nodes(expr.body)
        case Read():
            for subscript in expr.subscripts:
                if isinstance(subscript, ComputedAt):
                    yield from nodes(subscript.value)
                if isinstance(subscript, AffineAt):
                    assert all(k != 0 for _, k in subscript.affine.terms), subscript
