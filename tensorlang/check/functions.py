"""Pointwise functions of the library, as calls and as operators."""

from __future__ import annotations

from tensorlang.check import program as p
from tensorlang.check import terms as t
from tensorlang.check.errors.indices import OperatorIndices
from tensorlang.check.errors.types import (
    ArgumentValue,
    Arity,
    ConditionMisplaced,
    UnknownKeyword,
)
from tensorlang.check.scope import Env, LayerScope
from tensorlang.check.types import typed
from tensorlang.registry import functions
from tensorlang.source import Span
from tensorlang.syntax import ast


# --- operators -----------------------------------------------------------------------------------
def function(
    scope: LayerScope, name: str, shown: str, args: tuple[t.Term, ...], span: Span
) -> t.Term:
    """A pointwise function of the library on terms."""
    dtype, bad = typed(scope, name, shown, args, span)
    free = t.union(arg.free for arg in args)
    return t.Function(span=span, free=free, dtype=dtype, bad=bad, name=name, shown=shown, args=args)


def called_function(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    row = functions()[call.name]
    if call.slots is not None:
        if call.where is not None:
            scope.report(ConditionMisplaced(call.where.span, call.name))
        else:
            rule = "acts on each value: it takes no indices in brackets"
            scope.report(OperatorIndices(call.name_span, call.name, rule))
        return t.Bad(span=call.span)
    args: list[t.Term] = []
    for argument in call.args or ():
        if argument.name is not None and not (call.name == "dropout" and argument.name == "p"):
            known = ("p",) if call.name == "dropout" else ()
            scope.report(UnknownKeyword(argument.span, call.name, argument.name, known))
            args.append(t.Bad(span=argument.span))
            continue
        args.append(scope.expression(argument.expr, env))
    least, most = row.arity
    if len(args) < least or (most is not None and len(args) > most):
        if not any(arg.bad for arg in args):
            expected = "1 argument" if least == 1 else f"{least} arguments"
            scope.report(Arity(call.span, call.name, expected, len(args)))
        return t.Bad(span=call.span)
    if call.name == "dropout":
        return _dropout(scope, call, args)
    return function(scope, call.name, call.name, tuple(args), call.span)


def _dropout(scope: LayerScope, call: ast.Call, args: list[t.Term]) -> t.Term:
    rate = args[1]
    if not rate.bad:
        value = scope.finalise(rate)
        known = isinstance(value, p.SizeValue) or (
            isinstance(value, p.Literal)
            and isinstance(value.value, int | float)
            and 0 <= value.value < 1
        )
        if not known:
            scope.report(ArgumentValue(rate.span, "dropout", "p is a number, 0 <= p < 1"))
            return t.Bad(span=call.span)
    term = function(scope, "dropout", "dropout", tuple(args), call.span)
    assert isinstance(term, t.Function), term
    scope.sites += 1
    term.site = scope.sites
    return term
