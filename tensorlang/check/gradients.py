"""`grad[X[i, j]](e)`: the derivative of e, summed over its free indices, by the cells of X."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tensorlang.check import program as p
from tensorlang.check import terms as t
from tensorlang.check.dependence import between
from tensorlang.check.errors.gradients import GradBy, GradType, GradZero
from tensorlang.check.errors.types import Arity, ConditionMisplaced, UnknownKeyword
from tensorlang.check.program import subscript_indices
from tensorlang.check.scope import Env, Kind, LayerScope
from tensorlang.check.types import ARTICLE, COMPLEX, REAL
from tensorlang.source import Span
from tensorlang.syntax import ast

_REAL = "differentiate a real number: real(...), abs(...) or norm[...](...) of it"


def grad(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """A call of `grad`."""
    outside = replace(env, facts=())  # it is computed in a statement of its own
    by = _by(scope, call, outside)
    body = _body(scope, call, outside)
    if by is None or body is None or by.bad or body.bad:
        return t.Bad(span=call.span)
    if body.dtype is not REAL:
        hint = _REAL if body.dtype is COMPLEX else "nothing but real numbers has a derivative"
        scope.report(GradType(body.span, "a real number", ARTICLE[body.dtype], hint))
        return t.Bad(span=call.span)
    return t.Gradient(span=call.span, free=by.free, dtype=by.dtype, by=by, body=body)


def _body(scope: LayerScope, call: ast.Call, env: Env) -> t.Term | None:
    """What is differentiated."""
    args = call.args or ()
    for argument in args:
        if argument.name is not None:
            scope.report(UnknownKeyword(argument.span, "grad", argument.name))
            return None
    if len(args) != 1:
        scope.report(Arity(call.span, "grad[...]", "1 argument", len(args)))
        return None
    return scope.expression(args[0].expr, env)


def _by(scope: LayerScope, call: ast.Call, env: Env) -> t.Leaf | None:
    """A read of the tensor in brackets, at an index of its own for each axis."""
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, "grad"))
        return None
    if not call.slots:
        scope.report(GradBy(call.name_span, "needs in brackets what it differentiates by"))
        return None
    if len(call.slots) > 1:
        scope.report(GradBy(call.slots[1].span, "takes one tensor", "write a grad for each"))
        return None
    (slot,) = call.slots
    if not isinstance(slot, ast.ExprSlot) or slot.otherwise is not None:
        scope.report(GradBy(slot.span, "takes one tensor"))
        return None
    written = slot.expr
    if not isinstance(written, ast.Name) and not (
        isinstance(written, ast.Call) and written.args is None
    ):
        scope.report(GradBy(written.span, "takes a tensor, this is an expression"))
        return None
    term = scope.expression(written, env)
    if term.bad:
        return None
    if not isinstance(term, t.Leaf) or not isinstance(term.expr, p.Read):
        rule = "takes a tensor, this is none"
        if env.frame is not None:
            rule = "takes a tensor: the argument stands for an expression here"
        scope.report(GradBy(written.span, rule))
        return None
    return term if _differentiable(scope, term, term.expr, written.span) else None


def _differentiable(scope: LayerScope, term: t.Leaf, read: p.Read, span: Span) -> bool:
    kind = scope.tensors[read.tensor].kind
    if kind is Kind.CONST:
        why = f"cannot differentiate by {read.tensor}: a const is known at compile time"
        scope.report(GradBy(span, why, None))
        return False
    if read.dtype < REAL:
        hint = "nothing but real and complex numbers has a derivative"
        scope.report(GradType(span, "a real or complex tensor", ARTICLE[read.dtype], hint))
        return False
    indices = [index for s in read.subscripts for index in subscript_indices(s)]
    plain = all(isinstance(s, p.At | p.Group) for s in read.subscripts)
    if not plain or len(set(indices)) < len(indices):
        hint = f"name the gradient, G[...] = grad[{read.tensor}](...), and read G at any position"
        scope.report(GradBy(span, "takes a different index for each axis of the tensor", hint))
        return False
    return True


def report_zeros(scope: LayerScope, body: Iterable[p.Statement]) -> None:
    """Warn of derivatives of what does not depend on the tensor."""
    statements = tuple(body)
    for statement in statements:
        match statement:
            case p.Gradient(value=value, by=by) if value != by:
                if not between(statements, by, value):
                    scope.report(GradZero(statement.span, by))
