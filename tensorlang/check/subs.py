"""Declarations of sub-layers: which layer, with which hyperparameters, how many stages."""

from __future__ import annotations

from dataclasses import replace

import sympy

from tensorlang.check.calls import SubLayerInfo
from tensorlang.check.errors.layers import (
    HyperArguments,
    StackCount,
    UnknownLayer,
)
from tensorlang.check.hypers import bind_hypers
from tensorlang.check.program import (
    Value,
)
from tensorlang.check.scope import LayerScope
from tensorlang.check.values import called
from tensorlang.source import Span
from tensorlang.syntax import ast


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
        close = scope.session.close(statement.layer.id, scope.source.scope.layers)
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
