"""Leaves of expressions: numbers, names, sizes."""

from __future__ import annotations

import math

import sympy

from tensorlang.check import program as p
from tensorlang.check import terms as t
from tensorlang.check.defs import parameter
from tensorlang.check.errors.dims import SizeOfCall, UnknownDim
from tensorlang.check.errors.names import UsedTooEarly, WronglyUsed
from tensorlang.check.errors.types import (
    NotANumber,
)
from tensorlang.check.mentions import base
from tensorlang.check.names import reserved
from tensorlang.check.reads import bare_read
from tensorlang.check.scope import TENSORS, Env, Kind, LayerScope
from tensorlang.check.types import BOOL, INT, REAL, dtype_of_value
from tensorlang.dtype import Dtype
from tensorlang.size import Size
from tensorlang.source import Span
from tensorlang.syntax import ast

_CONSTANTS: dict[str, tuple[bool | float, Dtype]] = {
    "pi": (math.pi, REAL),
    "inf": (math.inf, REAL),
    "true": (True, BOOL),
    "false": (False, BOOL),
}


def no_number(scope: LayerScope, span: Span, found: str) -> t.Term:
    scope.report(NotANumber(span, found))
    return t.Bad(span=span)


# --- leaves --------------------------------------------------------------------------------------
def literal(value: bool | int | float, span: Span) -> t.Leaf:
    dtype = dtype_of_value(value)
    return t.Leaf(span=span, dtype=dtype, expr=p.Literal(value, dtype))


def size_value(scope: LayerScope, name: str, span: Span, env: Env) -> t.Term:
    """`|c|`."""
    if env.frame is not None:
        index = scope.index(ast.Name(name, span), env)
        return t.Bad(span=span) if index is None else _size_value(scope, index.dim.size, span, env)
    index = scope.known_index(name)
    if index is not None:
        return _size_value(scope, index.dim.size, span, env)
    root = base(name)
    named = scope.names.get(root)
    if scope.dims.broken(root) or root in scope.poisoned or root in scope.reported:
        return t.Bad(span=span)
    if named is not None and named.kind in TENSORS:
        scope.report(WronglyUsed(span, name, named.kind.value, "|...| takes a dim"))
        return t.Bad(span=span)
    scope.reported.add(root)
    scope.report(UnknownDim(span, name, scope.close(name)))
    return t.Bad(span=span)


def _size_value(scope: LayerScope, size: Size, span: Span, env: Env) -> t.Term:
    if env.const is not None and not isinstance(size, int) and called(size):
        name = ", ".join(symbol.name for symbol in called(size))
        scope.report(SizeOfCall(span, env.const, "const", name))
        return t.Bad(span=span)
    return t.Leaf(span=span, dtype=INT, expr=p.SizeValue(size))


def called(size: Size) -> list[sympy.Symbol]:
    """Symbols of a size that only a call knows, by name."""
    if isinstance(size, int):
        return []
    free = (symbol for symbol in size.free_symbols if not symbol.is_positive)
    return sorted(free, key=lambda symbol: str(symbol.name))


def name_value(scope: LayerScope, name: ast.Name, env: Env) -> t.Term:
    span = name.span
    if env.frame is None and name.id in scope.poisoned:
        return t.Bad(span=span)
    if name.id in _CONSTANTS:
        value, dtype = _CONSTANTS[name.id]
        return t.Leaf(span=span, dtype=dtype, expr=p.Literal(value, dtype))
    if env.frame is not None:
        found = parameter(scope, name, env)
        if found is not None:
            return found
        return _index_value(scope, name, env)
    root = base(name.id)
    if name.id in scope.tensors:
        return bare_read(scope, name, env)
    if root in scope.hypers and root not in scope.mentions.indices and root not in scope.index_dims:
        return _hyper(scope, name)
    named = scope.names.get(name.id)
    if named is not None and named.kind is Kind.SUB:
        scope.report(WronglyUsed(span, name.id, named.kind.value, f"call it: {name.id}(...)"))
        return t.Bad(span=span)
    if too_early(scope, name.id, span):
        return t.Bad(span=span)
    if name.id in reserved() or name.id in scope.source.scope.defs:
        what = reserved().get(name.id, "a def")
        scope.report(WronglyUsed(span, name.id, what, "it cannot stand alone"))
        return t.Bad(span=span)
    return _index_value(scope, name, env)


def too_early(scope: LayerScope, name: str, span: Span) -> bool:
    """Report a tensor that a later statement defines; True also where that was done before."""
    if name in scope.pending_scatters:
        scope.report(UsedTooEarly(span, name, scope.pending_scatters[name]))
        return True
    named = scope.names.get(name)
    if named is None or named.kind not in TENSORS or name in scope.tensors:
        return name in scope.poisoned
    scope.report(UsedTooEarly(span, name, named.span))
    return True


def _index_value(scope: LayerScope, name: ast.Name, env: Env) -> t.Term:
    index = scope.index(name, env)
    if index is None:
        return t.Bad(span=name.span)
    return t.Leaf(
        span=name.span,
        free={index: None},
        dtype=INT,
        expr=p.IndexValue(index),
        places={index: name.span},
    )


def _hyper(scope: LayerScope, name: ast.Name) -> t.Term:
    value = scope.hypers[base(name.id)]
    span = name.span
    match value:
        case None:
            return t.Bad(span=span)
        case _ if base(name.id) != name.id:
            scope.report(
                WronglyUsed(span, base(name.id), "a hyperparameter", "it is not an index here")
            )
            return t.Bad(span=span)
        case str():
            return no_number(scope, span, "a string")
        case tuple():
            return no_number(scope, span, "a list")
        case sympy.Expr():
            return t.Leaf(
                span=span,
                dtype=INT if value.is_integer is not False else REAL,
                expr=p.SizeValue(value),
            )
        case _:
            return literal(value, span)
