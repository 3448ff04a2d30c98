"""The namespace of a layer: every name it declares, and the dims that inputs and lists bring."""

from __future__ import annotations

from tensorlang.check.constructed import constructor, named
from tensorlang.check.dims import FirstAxis
from tensorlang.check.errors.dims import GroupUnknown
from tensorlang.check.errors.names import ConstructorArgument, ModuleAttribute, PrimedDeclaration
from tensorlang.check.mentions import base
from tensorlang.check.names import CONSTRUCTOR_ARGUMENTS, user_of
from tensorlang.check.scope import Kind, LayerScope
from tensorlang.source import Span
from tensorlang.syntax import ast


# --- names ---------------------------------------------------------------------------------------
def declare_names(scope: LayerScope) -> set[int]:
    """Enter all names of the layer; gives the ids of the declarations that own theirs."""
    layer = scope.layer
    for hyper in layer.hypers:
        scope.declare(hyper.name, Kind.HYPER, hyper.name_span)
        _constructor_argument(scope, hyper.name, hyper.name_span)
    for statement in layer.body:
        if isinstance(statement, ast.DimDecl):
            for binding in statement.dims:
                scope.dims.bindings.setdefault(binding.name, binding)
        elif isinstance(statement, ast.IndexDecl):
            for name in statement.names:
                scope.index_dims.setdefault(name.id, statement.dim)
    for statement in layer.body:
        if isinstance(statement, ast.ConstDecl):
            _first_axis(scope, statement)
    owned: set[int] = set()
    for statement in layer.body:
        _declare(scope, statement, owned)
    _input_groups(scope)
    for statement in layer.body:
        if isinstance(statement, ast.ConstDecl):
            _list_dims(scope, statement)
    return owned


def _declare(scope: LayerScope, statement: ast.Statement, owned: set[int]) -> None:
    match statement:
        case ast.InputDecl(tensors):
            for tensor in tensors:
                _own(scope, tensor, Kind.INPUT, owned)
                _input_dims(scope, tensor)
        case ast.ParamDecl(tensors=tensors):
            for tensor in tensors:
                _own(scope, tensor, Kind.PARAM, owned)
                if statement.given:
                    _constructor_argument(scope, tensor.name, tensor.name_span)
                _module_attribute(scope, tensor.name, tensor.name_span)
        case ast.ConstDecl(tensor):
            _own(scope, tensor, Kind.CONST, owned)
            _module_attribute(scope, tensor.name, tensor.name_span, by_its_name=False)
        case ast.DimDecl(dims):
            for binding in dims:
                if base(binding.name) != binding.name:
                    scope.report(PrimedDeclaration(binding.name_span, binding.name))
                else:
                    scope.declare(binding.name, Kind.DIM, binding.name_span)
        case ast.IndexDecl(names):
            for name in names:
                if base(name.id) != name.id:
                    scope.report(PrimedDeclaration(name.span, name.id))
                else:
                    scope.declare(name.id, Kind.INDEX, name.span)
        case ast.SubDecl():
            if scope.declare(statement.name, Kind.SUB, statement.name_span):
                owned.add(id(statement))
            _module_attribute(scope, statement.name, statement.name_span)
        case ast.Equation(targets, scatter):
            for target in targets:
                first = scope.names.get(target.name)
                more = scatter is not None and first is not None and first.kind is Kind.EQUATION
                if more and target.name in scope.scatter_names:
                    owned.add(id(target))
                    continue
                if _own(scope, target, Kind.EQUATION, owned) and scatter is not None:
                    scope.scatter_names.add(target.name)
        case ast.CheckDecl():
            pass


def _own(scope: LayerScope, tensor: ast.Declared, kind: Kind, owned: set[int]) -> bool:
    if not scope.declare(tensor.name, kind, tensor.name_span):
        return False
    owned.add(id(tensor))
    return True


def _module_attribute(
    scope: LayerScope, name: str, span: Span, *, by_its_name: bool = True
) -> None:
    user = user_of(name, by_its_name=by_its_name)
    if user is not None:
        scope.report(ModuleAttribute(span, name, user))


def _constructor_argument(scope: LayerScope, name: str, span: Span) -> None:
    if name in CONSTRUCTOR_ARGUMENTS:
        scope.report(ConstructorArgument(span, name))


def _elsewhere(scope: LayerScope, name: str) -> bool:
    """Whether hyperparameters, `dim` or `index` give this name a meaning as an index."""
    bound = name in scope.hypers or name in scope.dims.bindings or name in scope.index_dims
    return bound or name in scope.dims.constructed


def _input_dims(scope: LayerScope, tensor: ast.Declared) -> None:
    for slot in tensor.slots or ():
        inner = slot.slot if isinstance(slot, ast.TypedSlot) else slot
        if isinstance(inner, ast.ExprSlot) and isinstance(inner.expr, ast.Name):
            name = base(inner.expr.id)
            if not _elsewhere(scope, name) and name not in scope.dims.inputs:
                if scope.declare(name, Kind.DIM, inner.expr.span):
                    scope.dims.inputs[name] = inner.expr.span
                else:
                    scope.dims.found[name] = None


def _input_groups(scope: LayerScope) -> None:
    """Dims that only a group of an input mentions: one unknown is found by division at the call."""
    for statement in scope.layer.body:
        if not isinstance(statement, ast.InputDecl):
            continue
        for tensor in statement.tensors:
            for slot in tensor.slots or ():
                if isinstance(slot, ast.GroupSlot):
                    _input_group(scope, slot)


def _input_group(scope: LayerScope, slot: ast.GroupSlot) -> None:
    unknown: dict[str, Span] = {}
    for index in slot.indices:
        name = base(index.id)
        if not _elsewhere(scope, name) and name not in scope.dims.inputs:
            unknown.setdefault(name, index.span)
    if len(unknown) > 1:
        scope.report(GroupUnknown(slot.span, slot.span.text, tuple(unknown)))
        scope.dims.found.update(dict.fromkeys(unknown))
        return
    for name, span in unknown.items():
        if scope.declare(name, Kind.DIM, span):
            scope.dims.inputs[name] = span
        else:
            scope.dims.found[name] = None


def _first_axis(scope: LayerScope, statement: ast.ConstDecl) -> None:
    """The dim of a constructor's first axis has its size from the others, unless it is declared."""
    row = constructor(scope, statement)
    if row is None or row.first is None:
        return
    names = named(statement)
    if len(names) != row.axes[0] or base(names[0].id) != names[0].id:
        return
    name = names[0].id
    if _elsewhere(scope, name) or not scope.declare(name, Kind.DIM, names[0].span):
        return
    call = statement.value
    assert isinstance(call, ast.Call), call
    keywords = tuple((a.name, a.expr) for a in call.args or () if a.name is not None)
    others = tuple(other.id for other in names[1:])
    scope.dims.constructed[name] = FirstAxis(row, others, keywords)


def _list_dims(scope: LayerScope, statement: ast.ConstDecl) -> None:
    """Dims that take their size from a const's list."""
    shape = _list_shape(scope, statement.value)
    for k, slot in enumerate(statement.tensor.slots or ()):
        if not isinstance(slot, ast.ExprSlot) or not isinstance(slot.expr, ast.Name):
            continue
        name = slot.expr.id
        if _elsewhere(scope, name) or name in scope.dims.inputs or base(name) != name:
            continue
        if shape is None or k >= len(shape) or name in scope.dims.lists:
            continue
        if scope.declare(name, Kind.DIM, slot.expr.span):
            scope.dims.lists[name] = shape[k]


def _list_shape(scope: LayerScope, expr: ast.Expr) -> list[int | None] | None:
    """Lengths of a nested list along its first entries; None in it where that is not known."""
    if isinstance(expr, ast.Name) and expr.id in scope.hypers:
        value = scope.hypers[expr.id]
        if value is None:
            return [None] * 8
        if not isinstance(value, tuple):
            return None
        out: list[int | None] = []
        while isinstance(value, tuple):
            out.append(len(value))
            value = value[0] if value else 0
        return out
    if not isinstance(expr, ast.ListExpr):
        return None
    out = []
    while isinstance(expr, ast.ListExpr):
        out.append(len(expr.items))
        if not expr.items:
            break
        expr = expr.items[0]
    return out
