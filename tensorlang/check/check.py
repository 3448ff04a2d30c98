"""The checker's two doors: a layer with its hyperparameters bound, and a whole spec in symbols."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sympy

from tensorlang.check.axes import declared_index
from tensorlang.check.calls import Form
from tensorlang.check.constructed import constructed, constructor
from tensorlang.check.consts import const, const_expression
from tensorlang.check.declarations import inputs, params
from tensorlang.check.definitions import check_def
from tensorlang.check.dims import Dims
from tensorlang.check.equations import equation
from tensorlang.check.errors.dims import DimCycle, TooManyCells
from tensorlang.check.errors.layers import NoOutput, NotYet, UnknownLayer
from tensorlang.check.errors.names import ReservedName
from tensorlang.check.expressions import expression
from tensorlang.check.factorised import RANKS, with_initial_values
from tensorlang.check.gradients import report_zeros
from tensorlang.check.hoisting import finish, prepare
from tensorlang.check.hypers import bind_hypers
from tensorlang.check.mentions import mentions
from tensorlang.check.names import is_python_own, reserved
from tensorlang.check.naming import declare_names
from tensorlang.check.program import Dim, Index, Input, Program, Statement, Sub, Value
from tensorlang.check.scatter import Gathered, scatter
from tensorlang.check.scope import LayerScope
from tensorlang.check.session import Bind, Interface, Session
from tensorlang.check.signature import signature
from tensorlang.check.spec import LayerSource, Spec
from tensorlang.check.subs import sub
from tensorlang.diagnostics import Diagnostic, SpecError, in_order
from tensorlang.size import dynamic
from tensorlang.source import Span
from tensorlang.syntax import ast

_MOST_CELLS = 1 << 60  # their bytes fit 64 bits


def check_layer(
    spec: Spec,
    layer: str,
    bind: Mapping[str, Value],
    warnings: list[Diagnostic] | None = None,
) -> Program:
    """Check one layer of the root file with these hyperparameters; the others take their defaults.

    Warnings are appended to `warnings`. Raises SpecError with every mistake, in source order.
    """
    with _deep():
        return _check_layer(spec, layer, bind, warnings)


def _check_layer(
    spec: Spec,
    layer: str,
    bind: Mapping[str, Value],
    warnings: list[Diagnostic] | None,
) -> Program:
    session = _session(spec)
    program = None
    source = spec.layers.get(layer) or spec.scope.layers.get(layer)
    if source is None:
        session.report(UnknownLayer(Span(spec.sources[0], 0, 0), layer))
    else:
        span = source.ast.name_span
        values = bind_hypers(session, source, bind, {}, span)
        program = _program(session, source, values, span)
    found = in_order(session.diagnostics)
    errors = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    if errors:
        raise SpecError(errors)
    assert program is not None, (layer, session.errors)
    if warnings is not None:
        warnings += [diagnostic for diagnostic in found if diagnostic.severity != "error"]
    return program


def check_spec(spec: Spec) -> tuple[Diagnostic, ...]:
    """Check every layer of the root file for all values of what has no default.

    Gives errors and warnings in source order.
    """
    with _deep():
        session = _session(spec)
        session.symbolic = True
        for source in spec.layers.values():
            values = bind_hypers(session, source, {}, {}, None)
            _program(session, source, values, source.ast.name_span)
    return tuple(in_order(session.diagnostics))


@contextmanager
def _deep() -> Iterator[None]:
    """Room for expressions nested 100 deep, in layers nested 32 deep."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _session(spec: Spec) -> Session:
    """A run that has looked at the root's defs, and at the names of its layers."""
    session = Session(_check, check_def)
    for source in spec.scope.defs.values():
        session.definition(source)
    for layer in spec.layers.values():
        name = layer.ast.name
        why = "a name of Python's own" if is_python_own(name) else reserved().get(name)
        if why is not None:
            session.report(ReservedName(layer.ast.name_span, name, why))
    return session


def _program(
    session: Session, source: LayerSource, values: Mapping[str, Value | None], span: Span
) -> Program | None:
    if any(value is None for value in values.values()):
        # go on, for the mistakes that do not depend on the missing values
        session.open.append(source)
        _read(session, source, dict(values), None)
        session.open.pop()
        return None
    bind = tuple((name, value) for name, value in values.items() if value is not None)
    interface = session.layer(source, bind, None, span)
    return None if interface is None else interface.program


def _check(
    session: Session, source: LayerSource, bind: Bind, form: Form | None
) -> Interface | None:
    return _read(session, source, dict(bind), form)


def _read(
    session: Session, source: LayerSource, values: dict[str, Value | None], form: Form | None
) -> Interface | None:
    """Check a layer in a form; what it gives counts only if nothing was reported."""
    layer = source.ast
    has_ellipsis = any(
        isinstance(slot, ast.EllipsisSlot)
        for statement in layer.body
        if isinstance(statement, ast.InputDecl)
        for tensor in statement.tensors
        for slot in tensor.slots or ()
    )
    batch = form.batch if form is not None else ("...",) if has_ellipsis else ()
    ellipsis = tuple(
        Index(name, Dim(name, dynamic(name)), ellipsis=name == "...") for name in batch
    )
    spans = {hyper.name: hyper.span for hyper in reversed(layer.hypers)}
    ranks = {name.removesuffix(RANKS): v for name, v in values.items() if name.endswith(RANKS)}
    values = {name: value for name, value in values.items() if not name.endswith(RANKS)}
    scope = LayerScope(session, source, mentions(layer), values, spans, ellipsis, has_ellipsis)
    scope.ranks = {name: value for name, value in ranks.items() if value is not None}
    scope.dims = Dims(values, spans, scope.mentions, scope.report)
    scope.dims.indices = scope.index_dims
    for index in ellipsis:
        scope.dims.bring(index.dim.name, index.dim.size)
    scope.expression = lambda expr, env: expression(scope, expr, env)
    prepare(scope)
    before = session.errors
    reader = _Reader(scope, form)
    reader.read()
    faulty = [tensor.name for tensor in scope.tensors.values() if tensor.bad]
    assert session.errors > before or None in values.values() or not faulty, (layer.name, faulty)
    return reader.interface()


class _Reader:
    """Reads the statements of a layer in order."""

    def __init__(self, scope: LayerScope, form: Form | None) -> None:
        self.scope = scope
        self.form = form
        self.owned = declare_names(scope)
        self.inputs: list[Input] = []
        self.body: list[Statement] = []
        targets = [
            target.name
            for statement in scope.layer.body
            if isinstance(statement, ast.Equation) and statement.is_output
            for target in statement.targets
        ]
        self.outputs = tuple(dict.fromkeys(targets))
        self.input_orders = iter(() if form is None else form.inputs)
        self.orders = {} if form is None else dict(zip(self.outputs, form.outputs, strict=False))
        self.gathered: dict[str, Gathered] = {}
        self.left: dict[str, int] = {}  # contributions still to come
        for statement in scope.layer.body:
            if isinstance(statement, ast.Equation) and statement.scatter is not None:
                for target in statement.targets:
                    if id(target) in self.owned:
                        self.left[target.name] = self.left.get(target.name, 0) + 1
                        scope.pending_scatters[target.name] = target.span

    def read(self) -> None:
        scope = self.scope
        for statement in scope.layer.body:
            self.statement(statement)
        for name in (*scope.dims.bindings, *scope.hypers):
            if name in scope.mentions.indices or name in scope.dims.bindings:
                scope.dims.find(name)
        if not self.outputs:
            scope.report(NoOutput(scope.layer.name_span, scope.layer.name))

    def statement(self, statement: ast.Statement) -> None:
        scope = self.scope
        match statement:
            case ast.InputDecl():
                self.inputs += inputs(scope, statement, self.owned, self.input_orders)
            case ast.ParamDecl():
                self.body += params(scope, statement, self.owned)
            case ast.ConstDecl():
                row = constructor(scope, statement)
                if row is not None:
                    constructed(scope, statement, row, self.owned)
                elif const(scope, statement, self.owned) is None:
                    const_expression(scope, statement, self.owned)
                self.body += finish(scope)
            case ast.DimDecl():
                for binding in statement.dims:
                    scope.dims.find(binding.name)
            case ast.IndexDecl(names, dim):
                if any(scope.dims.root(name.id) is None for name in names):
                    scope.report(DimCycle(dim.span, names[0].id))
                else:
                    declared_index(scope, dim)
            case ast.SubDecl():
                sub(scope, statement, self.owned)
            case ast.CheckDecl(span=span):
                scope.report(NotYet(span, "check statements are"))
            case ast.Equation(scatter=None):
                self.body += equation(scope, statement, self.owned, self.orders)
            case ast.Equation():
                self.scatter(statement)

    def scatter(self, statement: ast.Equation) -> None:
        last = True
        for target in statement.targets:
            if id(target) in self.owned:
                self.left[target.name] -= 1
                last = self.left[target.name] == 0
        self.body += scatter(self.scope, statement, self.owned, self.gathered, last, self.orders)

    def interface(self) -> Interface | None:
        """The program and what callers know of it; None if it cannot be made."""
        scope, layer = self.scope, self.scope.layer
        report_zeros(scope, self.body)
        self._report_cells()
        tensors = [scope.tensors.get(name) for name in self.outputs]
        outputs = tuple(tensor for tensor in tensors if tensor is not None)
        if len(outputs) < len(tensors):
            return None
        dims = {dim.name: dim for dim in scope.dims.found.values() if dim is not None}
        moving: dict[str, Dim] = {}
        for given in self.inputs:
            for axis in given.axes:
                for index in axis.indices:
                    if index.dim.size == dynamic(index.dim.name):
                        moving.setdefault(index.dim.name, index.dim)
        program = Program(
            layer.name,
            "" if self.form is None else signature(self.inputs, outputs, self.form),
            layer.docstring,
            tuple((name, value) for name, value in scope.hypers.items() if value is not None),
            tuple(dims.values()),
            tuple(moving.values()),
            tuple(self.inputs),
            tuple(with_initial_values(scope)),
            tuple(scope.consts),
            tuple(self._subs()),
            tuple(self.body),
            self.outputs,
            layer.span,
            tuple(scope.factored),
        )
        return Interface(
            program,
            tuple(scope.tensors[given.name] for given in self.inputs),
            outputs,
            frozenset((*scope.names, *scope.dims.found)),
            scope.has_ellipsis,
            frozenset(dim.size for dim in moving.values() if isinstance(dim.size, sympy.Symbol)),
        )

    def _report_cells(self) -> None:
        for kind, tensors in (("param", self.scope.params), ("const", self.scope.consts)):
            for tensor in tensors:
                sizes = [axis.size for axis in tensor.axes]
                cells = math.prod(size for size in sizes if isinstance(size, int))
                if cells > _MOST_CELLS:
                    self.scope.report(TooManyCells(tensor.span, f"{kind} {tensor.name}", cells))

    def _subs(self) -> Iterator[Sub]:
        for info in self.scope.subs.values():
            if info.interface is not None and info.source is not None:
                yield Sub(
                    info.name,
                    info.source.ast.name,
                    info.bind,
                    info.count,
                    info.interface.program,
                    info.span,
                )
