"""Consts: lists of numbers, and expressions over indices and other consts."""

from __future__ import annotations

import sympy

from tensorlang.check.axes import axes, static, tensor
from tensorlang.check.errors.dims import SizeOfCall, TableShape
from tensorlang.check.errors.layers import (
    NotYet,
)
from tensorlang.check.errors.types import NotANumber
from tensorlang.check.program import (
    Axis,
    Const,
    Table,
    Value,
)
from tensorlang.check.scope import Env, Kind, LayerScope, Tensor
from tensorlang.check.types import BOOL, INT, REAL, cast, dtype_of
from tensorlang.check.values import called
from tensorlang.dtype import Dtype
from tensorlang.syntax import ast

_FORMS = ("sparse", "dense")


# --- consts --------------------------------------------------------------------------------------
def form(scope: LayerScope, statement: ast.ConstDecl) -> None:
    """`as sparse` and `as dense` are exact and left to the optimiser; others are not there yet."""
    asked = statement.form
    if asked is not None and not (isinstance(asked, ast.Name) and asked.id in _FORMS):
        scope.report(NotYet(asked.span, f"const ... as {asked.span.text} is"))


def const(scope: LayerScope, statement: ast.ConstDecl, owned: set[int]) -> Tensor | None:
    """The tensor of a const whose value is a list; None where it is an expression to be checked."""
    declared = statement.tensor
    form(scope, statement)
    value = _list_value(scope, statement.value)
    if value is _NO_LIST:
        return None
    slots = axes(scope, declared.slots or (), "a const", ellipsis=False)
    found = None if value is None else _table(scope, statement, slots, value)
    table, dtype = (None, None) if found is None else found
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
    term = scope.expression(expr, Env(const=declared.name))
    fixed = slots is not None and static(scope, declared, slots, "const")
    dtype = None
    body = None
    if not term.bad and fixed and slots is not None:
        left = tuple(index for slot in slots if slot is not None for index in slot.indices)
        body = scope.body(term, left, f"{declared.span.text} =", expr.span)
        dtype = dtype_of(body)
    if id(declared) not in owned:
        return
    entered = tensor(scope, declared, Kind.CONST, slots, dtype)
    if body is not None and not entered.bad:
        scope.consts.append(
            Const(
                entered.name, entered.axes, entered.dtype, cast(body, entered.dtype), declared.span
            )
        )
