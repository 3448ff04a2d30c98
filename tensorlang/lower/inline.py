"""Calls that a derivative passes through are written out: a `Call` is opaque, its layer is not.

Their params stay in the sub-layer, as `mlp.W`, and so does what its tensors are called here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import sympy

from tensorlang.check.dependence import axes_of, between
from tensorlang.check.program import (
    Affine,
    AffineAt,
    Along,
    Apply,
    At,
    Axis,
    ComputedAt,
    Const,
    Constructed,
    Contribution,
    Equation,
    Expr,
    Gradient,
    Group,
    Index,
    IndexValue,
    Literal,
    Param,
    Program,
    Read,
    Reduce,
    Scatter,
    SizeValue,
    Statement,
    SubCall,
    Subscript,
    Table,
    Transform,
)
from tensorlang.check.scope import own
from tensorlang.size import Size, simplest


def inlined(program: Program) -> Program:
    """The program in which no derivative has to pass through a call."""
    passed = {
        id(step)
        for statement in program.body
        if isinstance(statement, Gradient)
        for step in between(program.body, statement.by, statement.value)
        if isinstance(step, SubCall)
    }
    if not passed:
        return program
    inliner = _Inliner(program)
    body: list[Statement] = []
    for statement in program.body:
        if isinstance(statement, SubCall) and id(statement) in passed:
            body += inliner.call(program, statement, "", inliner.axes)
        else:
            body.append(statement)
    return replace(
        program,
        params=(*program.params, *inliner.params.values()),
        consts=(*program.consts, *inliner.consts),
        body=tuple(body),
    )


class _Inliner:
    """What the calls bring to the layer that they are written out in."""

    def __init__(self, program: Program) -> None:
        self.params: dict[str, Param] = {}
        self.consts: list[Const] = []
        self.sites = 1 << 20  # apart from those of the layer
        self.axes = axes_of(program.body)
        self.axes |= {given.name: given.axes for given in program.inputs}
        self.axes |= {param.name: param.axes for param in program.params}
        self.axes |= {const.name: const.axes for const in program.consts}
        self.names = set(self.axes)

    def fresh(self, wish: str) -> str:
        name, k = wish, 1
        while name in self.names:
            name, k = f"{wish}_{k}", k + 1
        self.names.add(name)
        return name

    def call(
        self, program: Program, call: SubCall, path: str, axes: Mapping[str, tuple[Axis, ...]]
    ) -> list[Statement]:
        """The statements of a call in `program`, which is itself found at a path."""
        sub = next(sub for sub in program.subs if sub.name == call.sub)
        outputs = [output.name for output in call.outputs]
        if sub.count is None:
            return self._layer(call.program, f"{path}{sub.name}.", call.inputs, outputs, axes)
        known = dict(axes)
        given = list(call.inputs)
        out: list[Statement] = []
        for stage in range(sub.count):
            last = stage == sub.count - 1
            made = outputs[0] if last else self.fresh(f"{path}{sub.name}.{stage}.output")
            at = f"{path}{sub.name}.{stage}."
            out += self._layer(call.program, at, given, [made], known)
            known[made] = call.outputs[0].axes
            given[0] = made
        if not sub.count:
            (output,) = call.outputs
            read = Read(given[0], tuple(map(own, output.axes)), output.dtype)
            out.append(Equation(output.name, output.axes, output.dtype, read, call.span))
        return out

    def _layer(
        self,
        callee: Program,
        path: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        axes: Mapping[str, tuple[Axis, ...]],
    ) -> list[Statement]:
        """A callee's statements in the caller's names and sizes."""
        sizes = _sizes(callee, [axes[name] for name in inputs])
        names = dict(zip((given.name for given in callee.inputs), inputs, strict=True))
        names |= zip(callee.outputs, outputs, strict=True)
        names |= {param.name: path + param.name for param in callee.params}
        for name in (*(const.name for const in callee.consts), *axes_of(callee.body)):
            if name not in names:
                names[name] = self.fresh(path + name)
        inside = _Moved(names, sizes, self)
        for param in callee.params:
            own = replace(param, name=names[param.name], axes=inside.axes(param.axes))
            self.params.setdefault(own.name, own)
        for const in callee.consts:
            value = const.value
            if isinstance(value, Constructed):
                value = replace(value, indices=tuple(map(inside.index, value.indices)))
            elif not isinstance(value, Table):
                value = inside.expression(value)
            at = inside.axes(const.axes)
            self.consts.append(replace(const, name=names[const.name], axes=at, value=value))
        known = {names[name]: inside.axes(at) for name, at in axes_of(callee.body).items()}
        known |= {name: axes[name] for name in inputs}
        known |= {param.name: param.axes for param in self.params.values()}
        known |= {const.name: const.axes for const in self.consts}
        out: list[Statement] = []
        for statement in callee.body:
            moved = inside.statement(statement)
            if isinstance(moved, SubCall):
                out += self.call(callee, moved, path, known)
            else:
                out.append(moved)
        return out


def _sizes(callee: Program, passed: Sequence[tuple[Axis, ...]]) -> dict[sympy.Symbol, Size]:
    """The callee's sizes that only a call knows, in the caller's."""
    pairs = [
        (theirs, mine)
        for given, axes in zip(callee.inputs, passed, strict=True)
        for theirs, mine in zip(given.axes, axes, strict=True)
    ]
    found: dict[sympy.Symbol, Size] = {}
    for theirs, mine in pairs:
        if len(theirs.indices) == len(mine.indices):
            for index, actual in zip(theirs.indices, mine.indices, strict=True):
                if isinstance(index.dim.size, sympy.Symbol):
                    found.setdefault(index.dim.size, actual.dim.size)
    for theirs, mine in pairs:  # a group with one size that nothing else tells, by division
        unknown = [
            index.dim.size
            for index in theirs.indices
            if isinstance(index.dim.size, sympy.Symbol) and index.dim.size not in found
        ]
        for symbol in unknown[:1]:
            rest: Size = 1
            for index in theirs.indices:
                if index.dim.size != symbol:
                    rest = rest * index.dim.size
            whole = sympy.sympify(mine.size) / sympy.sympify(rest).subs(found)
            found[symbol] = simplest(whole)
    return found


@dataclass(frozen=True, slots=True)
class _Moved:
    """Statements in other names and sizes; what draws at random does so at sites of its own."""

    names: Mapping[str, str]
    sizes: Mapping[sympy.Symbol, Size]
    inliner: _Inliner
    sites: dict[int, int] = field(default_factory=dict)

    def statement(self, statement: Statement) -> Statement:
        match statement:
            case Equation(name, axes, _, body):
                moved = self.expression(body)
                return replace(statement, name=self.names[name], axes=self.axes(axes), body=moved)
            case Scatter(name, axes, _, _, parts):
                return replace(
                    statement,
                    name=self.names[name],
                    axes=self.axes(axes),
                    contributions=tuple(map(self._contribution, parts)),
                )
            case SubCall(inputs=inputs, outputs=outputs):
                return replace(
                    statement,
                    inputs=tuple(self.names[name] for name in inputs),
                    outputs=tuple(
                        replace(output, name=self.names[output.name], axes=self.axes(output.axes))
                        for output in outputs
                    ),
                )
            case Gradient(name, axes, _, value, by):
                return replace(
                    statement,
                    name=self.names[name],
                    axes=self.axes(axes),
                    value=self.names[value],
                    by=self.names[by],
                )
            case _:
                assert_never(statement)

    def _contribution(self, part: Contribution) -> Contribution:
        return replace(
            part,
            subscripts=tuple(map(self.subscript, part.subscripts)),
            landing=tuple(map(self.index, part.landing)),
            body=self.expression(part.body),
        )

    def axes(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        return tuple(Axis(tuple(map(self.index, axis.indices))) for axis in axes)

    def size(self, size: Size) -> Size:
        if isinstance(size, int) or not self.sizes:
            return size
        return simplest(size.subs(dict(self.sizes), simultaneous=True))

    def index(self, index: Index) -> Index:
        return replace(index, dim=replace(index.dim, size=self.size(index.dim.size)))

    def expression(self, expr: Expr) -> Expr:
        match expr:
            case Literal():
                return expr
            case IndexValue(index):
                return IndexValue(self.index(index))
            case SizeValue(size):
                return SizeValue(self.size(size))
            case Apply(_, args):
                site = expr.site
                if expr.function == "dropout":
                    if site not in self.sites:
                        self.inliner.sites += 1
                        self.sites[site] = self.inliner.sites
                    site = self.sites[site]
                return replace(expr, args=tuple(map(self.expression, args)), site=site)
            case Read(tensor, subscripts):
                moved = tuple(map(self.subscript, subscripts))
                return replace(expr, tensor=self.names[tensor], subscripts=moved)
            case Reduce() | Along():
                return replace(
                    expr,
                    indices=tuple(map(self.index, expr.indices)),
                    where=None if expr.where is None else self.expression(expr.where),
                    body=self.expression(expr.body),
                )
            case Transform():
                return replace(
                    expr,
                    source=tuple(map(self.index, expr.source)),
                    target=tuple(map(self.index, expr.target)),
                    args=tuple(map(self.expression, expr.args)),
                )
            case _:
                assert_never(expr)

    def subscript(self, subscript: Subscript) -> Subscript:
        match subscript:
            case At(index):
                return At(self.index(index))
            case Group(indices):
                return Group(tuple(map(self.index, indices)))
            case AffineAt(affine, boundary):
                terms = tuple((self.index(index), k) for index, k in affine.terms)
                return AffineAt(Affine(terms, self.size(affine.offset)), boundary)
            case ComputedAt(value, boundary):
                return ComputedAt(self.expression(value), boundary)
            case _:
                assert_never(subscript)
