"""Hyperparameters: their types, their defaults, the values that callers give."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import SupportsIndex

import sympy

from tensorlang.check.constant import evaluate
from tensorlang.check.dims import shown_value
from tensorlang.check.errors.layers import (
    HyperType,
    MissingHyper,
    NotYet,
    UnknownHyper,
    UnknownHyperType,
)
from tensorlang.check.program import Value
from tensorlang.check.session import Session
from tensorlang.check.spec import LayerSource
from tensorlang.size import unbound
from tensorlang.source import Span
from tensorlang.syntax import ast

_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "list": tuple}
_SHOWN = {int: "an int", float: "a float", bool: "a bool", str: "a str", tuple: "a list"}


def bind_hypers(
    session: Session,
    source: LayerSource,
    given: Mapping[str, Value],
    where: Mapping[str, Span],
    missing: Span | None,
) -> dict[str, Value | None]:
    """Values of a layer's hyperparameters, None where a mistake was reported.

    `where` says where a value was written. Those without a value are reported at `missing`; if
    that is None they become symbols.
    """
    layer = source.ast
    known = tuple(hyper.name for hyper in layer.hypers)
    out: dict[str, Value | None] = {}
    for name in given:
        if name in ranks_by_values(layer):
            out[name] = _plain(given[name])
        elif name not in known:
            session.report(UnknownHyper(where.get(name, layer.name_span), layer.name, name, known))
    for hyper in layer.hypers:
        if hyper.name in out:
            continue  # reported as a name that is taken
        out[hyper.name] = _value(session, layer, hyper, given, where, missing, out)
    return out


def ranks_by_values(layer: ast.Layer) -> tuple[str, ...]:
    """What may be bound besides: `W.ranks`, of params whose ranks their values decide."""
    return tuple(
        f"{tensor.name}.ranks"
        for statement in layer.body
        if isinstance(statement, ast.ParamDecl)
        and isinstance(statement.factorisation, ast.Call)
        and any(argument.name == "tol" for argument in statement.factorisation.args or ())
        for tensor in statement.tensors
    )


def _value(
    session: Session,
    layer: ast.Layer,
    hyper: ast.Hyper,
    given: Mapping[str, Value],
    where: Mapping[str, Span],
    missing: Span | None,
    earlier: Mapping[str, Value | None],
) -> Value | None:
    kind = _annotated(session, hyper)
    default: Value | None = None
    needed = hyper.name not in given or (hyper.type is None and hyper.default is not None)
    if hyper.default is not None and needed:
        names = {name: value for name, value in earlier.items() if value is not None}
        default = evaluate(hyper.default, names, session.report, "value")
        if default is None:
            return None
    if hyper.type is not None and kind is None:
        return None
    if kind is None:
        kind = int if default is None or isinstance(default, sympy.Expr) else type(default)
    if hyper.name in given:
        span = where.get(hyper.name, hyper.span)
        return _converted(session, hyper.name, kind, _plain(given[hyper.name]), span)
    if default is not None:
        return _converted(session, hyper.name, kind, default, hyper.default.span)  # type: ignore[union-attr]
    if missing is not None:
        session.report(MissingHyper(missing, layer.name, hyper.name))
        return None
    if kind is int:
        return unbound(hyper.name)
    return sympy.Symbol(hyper.name, integer=False, positive=True) if kind is float else None


def _annotated(session: Session, hyper: ast.Hyper) -> type | None:
    if hyper.type is None:
        return None
    if hyper.type.id == "irreps":
        session.report(NotYet(hyper.type.span, "hyperparameters of type irreps are"))
        return None
    kind = _TYPES.get(hyper.type.id)
    if kind is None:
        session.report(UnknownHyperType(hyper.type.span, hyper.type.id))
    return kind


def _plain(value: object) -> Value:
    """A value as Python callers give it: lists become tuples."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, bool | str | sympy.Expr):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, SupportsIndex):
        return index(value)
    return str(value)


def _converted(session: Session, name: str, kind: type, value: Value, span: Span) -> Value | None:
    if isinstance(value, sympy.Expr):
        fits = (kind is int and value.is_integer is not False) or kind is float
        found = "an expression"
    else:
        fits = type(value) is kind or (kind is float and type(value) is int)
        found = f"{_SHOWN[type(value)]} ({shown_value(value)})"
    if not fits:
        session.report(HyperType(span, name, _SHOWN[kind], found))
        return None
    return float(value) if kind is float and isinstance(value, int) else value
