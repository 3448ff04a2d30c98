"""Declarations: the names of a layer, then its inputs, params, consts and sub-layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

import sympy

from tensorlang.check.calls import SubLayerInfo
from tensorlang.check.errors.dims import GroupUnknown, SizeOfCall, TableShape, UnknownDim
from tensorlang.check.errors.indices import EllipsisMisplaced, LeftNotIndex, LeftRepeated
from tensorlang.check.errors.layers import (
    BadInitialiser,
    HyperArguments,
    NoInitialiser,
    NotYet,
    StackCount,
    UnknownLayer,
)
from tensorlang.check.errors.names import ModuleAttribute, PrimedDeclaration, WronglyUsed
from tensorlang.check.errors.types import NotANumber, ParamType, TargetType, UnknownDtype
from tensorlang.check.expressions import called
from tensorlang.check.hypers import bind_hypers
from tensorlang.check.mentions import base
from tensorlang.check.names import LATER_CONSTRUCTORS, MODULE_ATTRIBUTES
from tensorlang.check.program import (
    Axis,
    Const,
    Index,
    Initialiser,
    Input,
    Param,
    Table,
    Value,
)
from tensorlang.check.scope import Env, Kind, LayerScope, Tensor
from tensorlang.check.types import ARTICLE, BOOL, INT, REAL, SHOWN, cast, dtype_of
from tensorlang.dtype import Dtype
from tensorlang.registry import initialisers
from tensorlang.source import Span
from tensorlang.syntax import ast

_DTYPES = {shown: dtype for dtype, shown in SHOWN.items()}
_TARGET = "the left side"


# --- names ---------------------------------------------------------------------------------------
def declare_names(scope: LayerScope) -> set[int]:
    """Enter all names of the layer; gives the ids of the declarations that own theirs."""
    layer = scope.layer
    for hyper in layer.hypers:
        scope.declare(hyper.name, Kind.HYPER, hyper.name_span)
    for statement in layer.body:
        if isinstance(statement, ast.DimDecl):
            for binding in statement.dims:
                scope.dims.bindings.setdefault(binding.name, binding)
        elif isinstance(statement, ast.IndexDecl):
            for name in statement.names:
                scope.index_dims.setdefault(name.id, statement.dim)
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
                _module_attribute(scope, tensor.name, tensor.name_span)
        case ast.ConstDecl(tensor):
            _own(scope, tensor, Kind.CONST, owned)
            _module_attribute(scope, tensor.name, tensor.name_span)
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


def _module_attribute(scope: LayerScope, name: str, span: Span) -> None:
    if name in MODULE_ATTRIBUTES:
        scope.report(ModuleAttribute(span, name))


def _elsewhere(scope: LayerScope, name: str) -> bool:
    """Whether hyperparameters, `dim` or `index` give this name a meaning as an index."""
    return name in scope.hypers or name in scope.dims.bindings or name in scope.index_dims


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


# --- axes ----------------------------------------------------------------------------------------
def axes(
    scope: LayerScope, slots: tuple[ast.Slot, ...], what: str, ellipsis: bool
) -> tuple[Axis | None, ...] | None:
    """Axes as declared; None if a mistake was reported."""
    out: list[Axis | None] = []
    fine = True
    written: dict[Index, Span] = {}
    for slot in slots:
        match slot:
            case ast.EllipsisSlot(span):
                if not ellipsis:
                    scope.report(EllipsisMisplaced(span, f"cannot stand in {what}"))
                    fine = False
                elif None in out:
                    scope.report(EllipsisMisplaced(span, "stands twice in one tensor"))
                    fine = False
                else:
                    out.append(None)
                continue
            case ast.TypedSlot(_, type_):
                kind = type_.name if isinstance(type_, ast.Call) else type_.span.text
                scope.report(NotYet(slot.span, f"indices of type {kind} are"))
                fine = False
                continue
            case ast.ExprSlot(ast.Name() as name, None):
                names: tuple[ast.Name, ...] = (name,)
            case ast.GroupSlot(indices):
                names = indices
            case _:
                scope.report(LeftNotIndex(slot.span, what))
                fine = False
                continue
        found = [declared_index(scope, name) for name in names]
        for index, name in zip(found, names, strict=True):
            if index is None:
                fine = False
            elif index in written:
                scope.report(LeftRepeated(name.span, index.name, written[index]))
                fine = False
            else:
                written[index] = name.span
        out.append(Axis(tuple(index for index in found if index is not None)))
    return tuple(out) if fine else None


def declared_index(scope: LayerScope, name: ast.Name) -> Index | None:
    """An index of a declaration or a left side; a mistake is reported and gives None."""
    index = scope.known_index(name.id)
    if index is not None:
        return index
    root = base(name.id)
    named = scope.names.get(root)
    if scope.dims.broken(root) or root in scope.poisoned or root in scope.reported:
        return None
    if root in scope.index_dims:
        return None
    if named is not None and named.kind not in (Kind.HYPER, Kind.DIM):
        scope.report(WronglyUsed(name.span, root, named.kind.value, "an index is needed here"))
        return None
    scope.reported.add(root)
    scope.report(UnknownDim(name.span, root, scope.close(root)))
    return None


def tensor(
    scope: LayerScope,
    declared: ast.Declared,
    kind: Kind,
    slots: tuple[Axis | None, ...] | None,
    dtype: Dtype | None,
    order: tuple[int, ...] | None = None,
) -> Tensor:
    """A tensor in scope; one with a mistake is entered as bad."""
    bad = slots is None or dtype is None
    expanded: list[Axis] = []
    for slot in slots or ():
        expanded += [Axis((index,)) for index in scope.ellipsis] if slot is None else [slot]
    order = tuple(range(len(expanded))) if order is None or bad else order
    out = Tensor(
        declared.name,
        kind,
        slots or (),
        tuple(expanded[k] for k in order),
        order,
        REAL if dtype is None else dtype,
        declared.span,
        bad,
    )
    scope.tensors[declared.name] = out
    return out


def declared_dtype(scope: LayerScope, declared: ast.Declared) -> Dtype | None:
    """The kind of number after the colon, real if there is none; None if it was reported."""
    if declared.dtype is None:
        return REAL
    found = _DTYPES.get(declared.dtype.id)
    if found is None:
        scope.report(UnknownDtype(declared.dtype.span, declared.dtype.id))
    return found


# --- inputs and params ---------------------------------------------------------------------------
def inputs(
    scope: LayerScope, statement: ast.InputDecl, owned: set[int], orders: Iterator[tuple[int, ...]]
) -> list[Input]:
    out = []
    for declared in statement.tensors:
        slots = axes(scope, declared.slots or (), "an input", ellipsis=True)
        dtype = declared_dtype(scope, declared)
        if id(declared) in owned:
            entered = tensor(scope, declared, Kind.INPUT, slots, dtype, next(orders, None))
            out.append(Input(entered.name, entered.axes, entered.dtype, declared.span))
    return out


def params(scope: LayerScope, statement: ast.ParamDecl, owned: set[int]) -> None:
    if statement.factorisation is not None:
        span = statement.factorisation.span
        scope.report(NotYet(span, "factorised params (as ...) are"))
    law = _initialiser(scope, statement)
    for declared in statement.tensors:
        slots = axes(scope, declared.slots or (), "a param", ellipsis=False)
        dtype = declared_dtype(scope, declared)
        if statement.initialiser is None:
            text = f"param {declared.span.text}"
            scope.report(NoInitialiser(declared.span, declared.name, text))
        if dtype is not None and dtype <= INT:
            scope.report(ParamType(declared.span, declared.name, ARTICLE[dtype]))
            dtype = None
        static = slots is None or _static(scope, declared, slots, "param")
        if id(declared) not in owned:
            continue
        entered = tensor(scope, declared, Kind.PARAM, slots if static else None, dtype)
        if not entered.bad and law is not None:
            scope.params.append(
                Param(
                    entered.name,
                    entered.axes,
                    entered.dtype,
                    law,
                    statement.frozen,
                    1,
                    declared.span,
                )
            )


def _static(
    scope: LayerScope, declared: ast.Declared, slots: tuple[Axis | None, ...], what: str
) -> bool:
    """Whether all sizes are known before a call."""
    for slot in slots:
        for index in slot.indices if slot is not None else ():
            if called(index.dim.size):
                scope.report(SizeOfCall(declared.span, declared.name, what, index.dim.name))
                return False
    return True


def _initialiser(scope: LayerScope, statement: ast.ParamDecl) -> Initialiser | None:
    expr = statement.initialiser
    if expr is None:
        return None
    args: tuple[ast.Argument, ...] = ()
    match expr:
        case ast.Name(name):
            pass
        case ast.Call(name, _, None, None, arguments) if arguments is not None:
            args = arguments
        case _:
            fault = "an initialiser is a name with arguments, as in normal(std = 0.02)"
            scope.report(BadInitialiser(expr.span, fault))
            return None
    row = initialisers().get(name)
    if row is None:
        known = ", ".join(initialisers())
        fault = f"no initialiser is called {name}"
        scope.report(BadInitialiser(expr.span, fault, f"known: {known}"))
        return None
    names = [parameter for parameter, _ in row.parameters]
    bound: dict[str, bool | int | float] = {}
    for k, argument in enumerate(args):
        key = argument.name if argument.name is not None else names[k] if k < len(names) else None
        if key is None or key not in names or key in bound:
            takes = f"it takes {', '.join(names)}" if names else "it takes no arguments"
            fault = f"{name}: {takes}"
            if key in bound:
                fault = f"{name}: {key} is given twice"
            scope.report(BadInitialiser(argument.span, fault))
            return None
        value = scope.dims.constant(argument.expr, "value")
        if value is None:
            return None
        if isinstance(value, sympy.Expr):
            value = _symbolic(scope, argument, value)
            if value is None:
                return None
        if isinstance(value, bool | str | tuple) or not math.isfinite(value):
            scope.report(BadInitialiser(argument.span, f"{name}: {key} must be a finite number"))
            return None
        if key in ("std", "gain") and value < 0:
            scope.report(BadInitialiser(argument.span, f"{name}: {key} cannot be negative"))
            return None
        bound[key] = value
    missing = [parameter for parameter, default in row.parameters if default is None]
    for parameter in missing:
        if parameter not in bound:
            scope.report(BadInitialiser(expr.span, f"{name}: {parameter} is missing"))
            return None
    return Initialiser(name, tuple(bound.items()))


def _symbolic(
    scope: LayerScope, argument: ast.Argument, value: sympy.Expr
) -> bool | int | float | None:
    """A stand-in for a number that depends on an unbound hyperparameter."""
    if names := called(value):
        name = ", ".join(str(symbol.name) for symbol in names)
        fault = f"the size of {name} is known only at a call"
        scope.report(BadInitialiser(argument.span, fault))
        return None
    return 1.0


# --- consts --------------------------------------------------------------------------------------
def const(scope: LayerScope, statement: ast.ConstDecl, owned: set[int]) -> Tensor | None:
    """The tensor of a const whose value is a list; None where it is an expression to be checked."""
    declared = statement.tensor
    if statement.form is not None:
        scope.report(NotYet(statement.form.span, "const ... as is"))
    value = _list_value(scope, statement.value)
    if value is _NO_LIST:
        return None
    slots = axes(scope, declared.slots or (), "a const", ellipsis=False)
    found = None if value is None else _table(scope, statement, slots, value)
    table, dtype = (None, None) if found is None else found
    if dtype is not None:
        dtype = _as_declared(scope, declared, dtype)
    if id(declared) not in owned:
        return tensor_of_nothing(declared)
    entered = tensor(scope, declared, Kind.CONST, slots, dtype)
    if table is not None and not entered.bad and slots is not None:
        whole = [entry for entry in table.entries if isinstance(entry, int)]
        if entered.dtype is INT and whole:
            scope.tables[entered.name] = (min(whole), max(whole))
        scope.consts.append(Const(entered.name, entered.axes, entered.dtype, table, declared.span))
    return entered


def tensor_of_nothing(declared: ast.Declared) -> Tensor:
    return Tensor(declared.name, Kind.CONST, (), (), (), REAL, declared.span, True)


def _as_declared(scope: LayerScope, declared: ast.Declared, found: Dtype) -> Dtype | None:
    """The kind that a declaration asks for, if what was found can become it."""
    if declared.dtype is None:
        return found
    wanted = declared_dtype(scope, declared)
    if wanted is not None and found > wanted:
        scope.report(TargetType(declared.span, declared.name, SHOWN[wanted], SHOWN[found]))
        return None
    return wanted


_NO_LIST = object()


def _list_value(scope: LayerScope, expr: ast.Expr) -> object:
    """A list of numbers, None if a mistake was reported, `_NO_LIST` if the value is no list."""
    if isinstance(expr, ast.Name) and expr.id in scope.hypers:
        value = scope.hypers[expr.id]
        return value if value is None or isinstance(value, tuple) else _NO_LIST
    if isinstance(expr, ast.ListExpr):
        return scope.dims.constant(expr, "value")
    return _NO_LIST


def _table(
    scope: LayerScope,
    statement: ast.ConstDecl,
    slots: tuple[Axis | None, ...] | None,
    value: object,
) -> tuple[Table, Dtype] | None:
    name, span = statement.tensor.name, statement.value.span
    assert isinstance(value, tuple), value
    shape: list[int] = []
    level: object = value
    while isinstance(level, tuple):
        shape.append(len(level))
        level = level[0] if level else None
    entries: list[Value] = []
    if not _flatten(value, shape, entries):
        scope.report(TableShape(span, name, "the lists within the list differ in length"))
        return None
    if any(isinstance(entry, str) for entry in entries):
        scope.report(NotANumber(span, "a string"))
        return None
    if slots is None:
        return None
    if len(shape) != len(slots):
        fault = f"a list of depth {len(shape)} for {len(slots)} axes"
        scope.report(TableShape(span, name, fault))
        return None
    for length, slot in zip(shape, slots, strict=True):
        assert slot is not None, slots
        if isinstance(slot.size, int) and slot.size != length:
            shown = " ".join(index.name for index in slot.indices)
            fault = f"{length} entries along {shown}, whose size is {slot.size}"
            scope.report(TableShape(span, name, fault))
            return None
        if called(slot.size):
            scope.report(SizeOfCall(span, name, "const", slot.indices[0].dim.name))
            return None
    numbers = [1 if isinstance(entry, sympy.Expr) else entry for entry in entries]
    plain = [entry for entry in numbers if isinstance(entry, bool | int | float)]
    if any(isinstance(entry, float) for entry in plain):
        return Table(tuple(float(entry) for entry in plain)), REAL
    if plain and all(isinstance(entry, bool) for entry in plain):
        return Table(tuple(plain)), BOOL
    return Table(tuple(int(entry) for entry in plain)), INT


def _flatten(value: object, shape: list[int], out: list[Value]) -> bool:
    """Append the entries in row-major order; False if the list is ragged."""
    if not shape:
        if isinstance(value, tuple):
            return False
        assert isinstance(value, bool | int | float | str | sympy.Expr), value
        out.append(value)
        return True
    if not isinstance(value, tuple) or len(value) != shape[0]:
        return False
    return all(_flatten(item, shape[1:], out) for item in value)


def const_expression(scope: LayerScope, statement: ast.ConstDecl, owned: set[int]) -> None:
    """A const whose value is an expression over its indices and other consts."""
    declared = statement.tensor
    expr = statement.value
    slots = axes(scope, declared.slots or (), "a const", ellipsis=False)
    if isinstance(expr, ast.Call) and expr.name in LATER_CONSTRUCTORS and expr.slots is None:
        scope.report(NotYet(expr.span, f"the constant {expr.name} is"))
        if id(declared) in owned:
            tensor(scope, declared, Kind.CONST, None, None)
        return
    term = scope.expression(expr, Env(const=declared.name))
    static = slots is not None and _static(scope, declared, slots, "const")
    dtype = None
    body = None
    if not term.bad and static and slots is not None:
        left = tuple(index for slot in slots if slot is not None for index in slot.indices)
        body = scope.body(term, left, f"{declared.span.text} =", expr.span)
        dtype = _as_declared(scope, declared, dtype_of(body))
    if id(declared) not in owned:
        return
    entered = tensor(scope, declared, Kind.CONST, slots, dtype)
    if body is not None and not entered.bad:
        scope.consts.append(
            Const(
                entered.name, entered.axes, entered.dtype, cast(body, entered.dtype), declared.span
            )
        )


# --- sub-layers ----------------------------------------------------------------------------------
def sub(scope: LayerScope, statement: ast.SubDecl, owned: set[int]) -> None:
    """Bind the hyperparameters of a sub-layer and check it as written."""
    info = _sub(scope, statement)
    if id(statement) in owned:
        scope.subs[statement.name] = info


def _sub(scope: LayerScope, statement: ast.SubDecl) -> SubLayerInfo:
    count = _count(scope, statement)
    source = scope.source.scope.layers.get(statement.layer.id)
    nothing = SubLayerInfo(statement.name, source, (), None, None, statement.span)
    if source is None:
        known = sorted(scope.source.scope.layers)
        close = next(iter(get_close_matches(statement.layer.id, known, 1)), None)
        scope.report(UnknownLayer(statement.layer.span, statement.layer.id, close))
        return nothing
    given, where, fine = _hyper_arguments(scope, statement, source.ast)
    if not fine:
        return nothing
    values = bind_hypers(scope.session, source, given, where, statement.span)
    if any(value is None for value in values.values()) or not given.keys() <= values.keys():
        return nothing
    bind = tuple((name, value) for name, value in values.items() if value is not None)
    interface = scope.session.layer(source, bind, None, statement.layer.span)
    info = SubLayerInfo(statement.name, source, bind, count, interface, statement.span)
    return info if count != -1 else replace(info, interface=None)


def _count(scope: LayerScope, statement: ast.SubDecl) -> int | None:
    """Stages of a stack; None for a single sub-layer, -1 if a mistake was reported."""
    if statement.count is None:
        return None
    value = scope.dims.constant(statement.count, "value")
    if value is None:
        return -1
    span = statement.count.span
    if isinstance(value, sympy.Expr):
        if called(value):
            scope.report(StackCount(span, "depends on a size that only a call knows"))
            return -1
        return 1
    if isinstance(value, bool) or not isinstance(value, int):
        scope.report(StackCount(span, "must be an int"))
        return -1
    if value < 0:
        scope.report(StackCount(span, f"is {value}, it cannot be negative"))
        return -1
    return value


def _hyper_arguments(
    scope: LayerScope, statement: ast.SubDecl, layer: ast.Layer
) -> tuple[dict[str, Value], dict[str, Span], bool]:
    """Hyperparameters as a `sub` gives them, where, and whether all is well."""
    given: dict[str, Value] = {}
    where: dict[str, Span] = {}
    fine = True
    for k, argument in enumerate(statement.args):
        name = argument.name
        if name is None:
            if k >= len(layer.hypers):
                count = len(layer.hypers)
                plural = "1 hyperparameter" if count == 1 else f"{count} hyperparameters"
                fault = f"layer {layer.name} has {plural}, {len(statement.args)} given"
                scope.report(HyperArguments(argument.span, fault))
                fine = False
                break
            name = layer.hypers[k].name
        if name in where:
            scope.report(HyperArguments(argument.span, f"hyperparameter {name} is given twice"))
            fine = False
            continue
        where[name] = argument.span
        value = scope.dims.constant(argument.expr, "value")
        if value is None:
            fine = False
            continue
        if isinstance(value, sympy.Expr) and (names := called(value)):
            shown = ", ".join(str(symbol.name) for symbol in names)
            fault = f"hyperparameter {name}: the size of {shown} is known only at a call"
            scope.report(HyperArguments(argument.span, fault))
            fine = False
            continue
        given[name] = value
    return given, where, fine
