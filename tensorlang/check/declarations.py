"""Inputs, and params with their initialisers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import sympy

from tensorlang.check.axes import axes, declared_dtype, static, tensor
from tensorlang.check.errors.layers import (
    BadInitialiser,
    NoInitialiser,
)
from tensorlang.check.errors.types import ParamType
from tensorlang.check.factorised import clause, factorise
from tensorlang.check.program import (
    Equation,
    Initialiser,
    Input,
    Param,
)
from tensorlang.check.scope import Kind, LayerScope
from tensorlang.check.types import ARTICLE, INT
from tensorlang.check.values import called
from tensorlang.registry import initialisers
from tensorlang.syntax import ast


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


def params(scope: LayerScope, statement: ast.ParamDecl, owned: set[int]) -> list[Equation]:
    """Enter params; gives the equations of those that are factorised."""
    out: list[Equation] = []
    form = None if statement.factorisation is None else clause(scope, statement)
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
        fixed = slots is None or static(scope, declared, slots, "param")
        if id(declared) not in owned:
            continue
        entered = tensor(scope, declared, Kind.PARAM, slots if fixed else None, dtype)
        if entered.bad or law is None:
            continue
        if form is not None:
            out += factorise(scope, entered, law, statement.frozen, form)
        else:
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
    return out


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
