"""From syntax to terms: operators, names and calls, with free indices and dtypes."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check import program as p
from tensorlang.check import terms as t
from tensorlang.check.defs import call_of_def
from tensorlang.check.errors.bounds import BoundaryMisused
from tensorlang.check.errors.names import DefTooLarge, UnknownFunction, UsedTooEarly, WronglyUsed
from tensorlang.check.errors.types import (
    ConditionMisplaced,
    NotACondition,
)
from tensorlang.check.functions import called_function, function
from tensorlang.check.gradients import grad
from tensorlang.check.matching import sub_layer
from tensorlang.check.moving import at
from tensorlang.check.names import BOUNDARIES, reserved
from tensorlang.check.operators import OPERATORS, operator
from tensorlang.check.reads import read
from tensorlang.check.scope import TENSORS, Env, Kind, LayerScope
from tensorlang.check.types import ARTICLE, BOOL, INT, typed
from tensorlang.check.values import literal, name_value, no_number, size_value, too_early
from tensorlang.registry import constants, functions
from tensorlang.syntax import ast

_DEPTH = 120  # of nested expressions after defs are substituted


_EXPANDED = 100_000  # terms that the defs of one statement may expand to


_COMPARISONS = {
    ast.Comparison.LT: "lt",
    ast.Comparison.LE: "le",
    ast.Comparison.GT: "gt",
    ast.Comparison.GE: "ge",
    ast.Comparison.EQ: "eq",
    ast.Comparison.NE: "ne",
}


def expression(scope: LayerScope, expr: ast.Expr, env: Env) -> t.Term:
    """Resolve an expression; mistakes are reported and leave a bad term."""
    if env.frame is not None and not _affordable(scope):
        return t.Bad(span=expr.span)
    scope.depth += 1
    try:
        return _expression(scope, expr, env)
    finally:
        scope.depth -= 1


def _affordable(scope: LayerScope) -> bool:
    """Count what defs expand to; past the limit it is reported, once a statement."""
    hand = scope.statement
    hand.expanded += 1
    if hand.exhausted:
        return False
    if hand.expanded > _EXPANDED or scope.depth > _DEPTH:
        hand.exhausted = True
        outermost = scope.def_calls[0]
        scope.report(DefTooLarge(outermost.span, outermost.name))
        return False
    return True


def _expression(scope: LayerScope, expr: ast.Expr, env: Env) -> t.Term:
    match expr:
        case ast.Number():
            return literal(expr.value, expr.span)
        case ast.Name():
            return name_value(scope, expr, env)
        case ast.Call():
            return _call(scope, expr, env)
        case ast.Sum():
            return _sum(scope, expr, env)
        case ast.Product():
            return _product(scope, expr, env)
        case ast.Negate(body, span):
            inner = scope.expression(body, env)
            dtype, bad = typed(scope, "neg", "-", (inner,), span)
            return t.Negation(span=span, free=inner.free, dtype=dtype, bad=bad, body=inner)
        case ast.Power():
            return _power(scope, expr, env)
        case ast.IntDivide(left, right, modulo, span):
            pair = (scope.expression(left, env), scope.expression(right, env))
            name = "mod" if modulo else "floordiv"
            return function(scope, name, "%" if modulo else "//", pair, span)
        case ast.Compare():
            return _compare(scope, expr, env)
        case ast.And(operands, span):
            args = tuple(scope.expression(operand, env) for operand in operands)
            return function(scope, "and", "and", args, span)
        case ast.Or(operands, span):
            args = tuple(scope.expression(operand, env) for operand in operands)
            return function(scope, "or", "or", args, span)
        case ast.Not(body, span):
            return function(scope, "not", "not", (scope.expression(body, env),), span)
        case ast.IfElse():
            return _choice(scope, expr, env)
        case ast.SizeOf(name, span):
            return size_value(scope, name, span, env)
        case ast.String(_, span):
            return no_number(scope, span, "a string")
        case ast.ListExpr(_, span):
            return no_number(scope, span, "a list")


def _sum(scope: LayerScope, expr: ast.Sum, env: Env) -> t.Term:
    terms = tuple((term.negative, scope.expression(term.expr, env)) for term in expr.terms)
    args = tuple(term for _, term in terms)
    dtype, bad = typed(scope, "add", "+", args, expr.span)
    free = t.union(term.free for term in args)
    return t.Sum(span=expr.span, free=free, dtype=dtype, bad=bad, terms=terms)


def _product(scope: LayerScope, expr: ast.Product, env: Env) -> t.Term:
    factors: list[tuple[bool, t.Term]] = []
    negative = False
    for factor in expr.factors:
        term = scope.expression(factor.expr, env)
        while isinstance(term, t.Negation) and not term.bad:
            negative, term = not negative, term.body
        if isinstance(term, t.Product) and not term.bad:
            factors += [(divides != factor.divides, inner) for divides, inner in term.factors]
            negative = negative != term.negative
        else:
            factors.append((factor.divides, term))
    above = tuple(term for divides, term in factors if not divides)
    below = tuple(term for divides, term in factors if divides)
    every = tuple(term for _, term in factors)
    dtype, bad = typed(scope, "mul", "*", above, expr.span) if len(above) > 1 else (INT, False)
    if len(above) == 1:
        dtype, bad = above[0].dtype, above[0].bad
    if below:
        other, worse = typed(scope, "div", "/", (above[0], below[0]), expr.span)
        bad = bad or worse or any(term.bad for term in below)
        dtype = max(dtype, other, *(term.dtype for term in below))
    free = t.union(term.free for term in every)
    return t.Product(
        span=expr.span, free=free, dtype=dtype, bad=bad, factors=tuple(factors), negative=negative
    )


def _power(scope: LayerScope, expr: ast.Power, env: Env) -> t.Term:
    body = scope.expression(expr.base, env)
    exponent = _exponent(scope.expression(expr.exponent, env))
    if isinstance(exponent, t.Leaf) and isinstance(exponent.expr, p.Literal) and body.dtype <= INT:
        value = exponent.expr.value
        if isinstance(value, int) and value < 0:  # 2^-1 is 0.5, as in Python
            exponent = literal(float(value), exponent.span)
    return function(scope, "pow", "^", (body, exponent), expr.span)


def _exponent(term: t.Term) -> t.Term:
    """A negated literal as a literal: `x^-2` has an integer exponent."""
    if isinstance(term, t.Negation) and isinstance(term.body, t.Leaf) and not term.bad:
        expr = term.body.expr
        if isinstance(expr, p.Literal) and isinstance(expr.value, int | float):
            return literal(-expr.value, term.span)
    return term


def _compare(scope: LayerScope, expr: ast.Compare, env: Env) -> t.Term:
    operands = [scope.expression(operand, env) for operand in expr.operands]
    parts = []
    for k, comparison in enumerate(expr.operators):
        pair = (operands[k], operands[k + 1])
        span = pair[0].span.join(pair[1].span) if len(expr.operators) > 1 else expr.span
        parts.append(function(scope, _COMPARISONS[comparison], comparison.value, pair, span))
    if len(parts) == 1:
        return parts[0]
    return function(scope, "and", "and", tuple(parts), expr.span)


def _choice(scope: LayerScope, expr: ast.IfElse, env: Env) -> t.Term:
    condition = scope.expression(expr.condition, env)
    facts, opposite = env.facts, env.facts
    if not condition.bad and condition.dtype is not BOOL:
        scope.report(NotACondition(expr.condition.span, ARTICLE[condition.dtype]))
        condition.bad = True
    if not condition.bad:
        facts = (*facts, condition)
        opposite = (*opposite, function(scope, "not", "not", (condition,), condition.span))
    then = scope.expression(expr.then, replace(env, facts=facts))
    otherwise = scope.expression(expr.otherwise, replace(env, facts=opposite))
    return function(scope, "where", "if", (condition, then, otherwise), expr.span)


# --- calls ---------------------------------------------------------------------------------------
def _call(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    name, in_layer = call.name, env.frame is None
    if in_layer and name in scope.subs:
        return sub_layer(scope, call, env)
    if env.frame is not None and call.name in env.frame.arguments:
        rule = f"read it elsewhere with at[...]({name})"
        return _wrong(scope, call, "an argument of the def", rule)
    named = scope.names.get(name) if in_layer else None
    if named is not None and named.kind in TENSORS:
        return _reference(scope, call, env, named.kind)
    if named is not None and named.kind is Kind.SUB:
        scope.report(UsedTooEarly(call.name_span, name, named.span))
        return t.Bad(span=call.span)
    if in_layer and name in scope.poisoned:
        return t.Bad(span=call.span)
    defs = (scope.source if env.frame is None else env.frame.source).scope.defs
    if name in defs and name not in reserved():
        return call_of_def(scope, call, defs[name], env)
    if name in OPERATORS and (call.slots is not None or name not in functions()):
        return operator(scope, call, env)
    if name == "at":
        return at(scope, call, env)
    if name == "grad":
        return grad(scope, call, env)
    if name in functions() and not functions()[name].reserved:
        return called_function(scope, call, env)
    return _other(scope, call, env)


def _reference(scope: LayerScope, call: ast.Call, env: Env, kind: Kind) -> t.Term:
    if call.args is not None:
        return _wrong(scope, call, kind.value, "it takes subscripts in brackets, not arguments")
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, call.name))
        return t.Bad(span=call.span)
    if call.name not in scope.tensors:
        too_early(scope, call.name, call.name_span)
        return t.Bad(span=call.span)
    return read(scope, call, env)


def _wrong(scope: LayerScope, call: ast.Call, what: str, rule: str) -> t.Term:
    scope.report(WronglyUsed(call.name_span, call.name, what, rule))
    return t.Bad(span=call.span)


def _other(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """What is no function, operator, def, tensor or sub-layer."""
    name, span = call.name, call.name_span
    if name in BOUNDARIES:
        scope.report(BoundaryMisused(span, name, "stands in a subscript only"))
    elif name in constants():
        rule = f"it is the whole value of a const: const C[...] = {name}(...)"
        scope.report(WronglyUsed(span, name, "a constant", rule))
    elif name in scope.source.scope.layers and env.frame is None:
        rule = f"declare a sub-layer: sub f = {name}(...)"
        scope.report(WronglyUsed(span, name, "a layer", rule))
    elif env.frame is None and (name in scope.hypers or scope.known_index(name) is not None):
        what = "a hyperparameter" if name in scope.hypers else "an index"
        scope.report(WronglyUsed(span, name, what, "it has no axes and takes no arguments"))
    elif name in reserved():
        scope.report(WronglyUsed(span, name, reserved()[name], "it cannot stand here"))
    elif call.args is None and env.frame is None:
        scope.unknown(name, span)
    elif name not in scope.reported:
        scope.reported.add(name)
        known = (*reserved(), *constants(), *scope.source.scope.defs, *scope.subs)
        scope.report(UnknownFunction(span, name, scope.close(name, known)))
    return t.Bad(span=call.span)
