"""Operators on named indices: reductions, softmax and scans."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check import terms as t
from tensorlang.check.brackets import Slotted, bind, localised
from tensorlang.check.errors.indices import IndexAbsent, OperatorIndices, SumOfAbsent
from tensorlang.check.errors.types import (
    Arity,
    NotACondition,
    UnknownKeyword,
    WrongTypes,
)
from tensorlang.check.program import (
    AlongOp,
    Literal,
    ReduceOp,
    TransformOp,
)
from tensorlang.check.scope import Env, LayerScope
from tensorlang.check.transforms import transform
from tensorlang.check.types import ARTICLE, BOOL, INT, REAL, reduced
from tensorlang.dtype import Dtype
from tensorlang.registry import functions
from tensorlang.syntax import ast

_REDUCTIONS = {op.value: op for op in ReduceOp}


_ALONG = {op.value: op for op in AlongOp}


_TRANSFORMS = {op.value: op for op in TransformOp}
OPERATORS = frozenset((*_REDUCTIONS, *_ALONG, *_TRANSFORMS))


_ONE_INDEX = (ReduceOp.ARGMAX, ReduceOp.ARGMIN, AlongOp.CUMSUM, AlongOp.CUMPROD)


def operator(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """A call of a reduction, of softmax or a scan, of a transform."""
    if call.slots is None or (not call.slots and call.name not in _TRANSFORMS):
        example = "fft[x -> kx](...)" if call.name in _TRANSFORMS else f"{call.name}[j](...)"
        rule = f"names in brackets the indices that it acts on, as in {example}"
        if call.name in functions():  # max(), min() without brackets are functions
            rule = "takes two numbers, or indices in brackets"
        scope.report(OperatorIndices(call.name_span, call.name, rule))
        return t.Bad(span=call.span)
    if call.name in _TRANSFORMS:
        return transform(scope, call, _TRANSFORMS[call.name], env)
    slotted = _plain(scope, call, call.slots, env)
    if slotted is None:
        _report_arguments(scope, call, env)
        return t.Bad(span=call.span)
    if call.name in _REDUCTIONS:
        return _reduction(scope, call, _REDUCTIONS[call.name], slotted, env)
    return _along(scope, call, _ALONG[call.name], slotted, env)


def _report_arguments(scope: LayerScope, call: ast.Call, env: Env) -> None:
    """Check what an operator with a mistake in its brackets is applied to."""
    for argument in call.args or ():
        scope.expression(argument.expr, env)


# --- brackets ------------------------------------------------------------------------------------
def _plain(
    scope: LayerScope, call: ast.Call, slots: tuple[ast.Slot, ...], env: Env
) -> list[Slotted] | None:
    """Indices in brackets, each once; `...` is the batch indices."""
    out: list[Slotted] = []
    fine = True
    for slot in slots:
        if isinstance(slot, ast.EllipsisSlot) and env.frame is None and scope.has_ellipsis:
            out += [Slotted(index, slot.span) for index in scope.ellipsis]
            continue
        name = _slot_name(scope, call, slot)
        index = None if name is None else scope.index(name, env)
        if index is None:
            fine = False
        elif any(index == other.index for other in out):
            rule = f"names {index.name} twice"
            scope.report(OperatorIndices(slot.span, call.name, rule))
            fine = False
        else:
            out.append(Slotted(index, slot.span))
    if fine and call.name in {op.value for op in _ONE_INDEX} and len(out) != 1:
        scope.report(OperatorIndices(call.name_span, call.name, "acts on one index"))
        return None
    return out if fine else None


def _slot_name(scope: LayerScope, call: ast.Call, slot: ast.Slot) -> ast.Name | None:
    match slot:
        case ast.ExprSlot(ast.Name() as name, None):
            return name
        case ast.ArrowSlot() | ast.BindSlot():
            rule = f"takes a list of indices, as in {call.name}[j](...)"
            scope.report(OperatorIndices(slot.span, call.name, rule))
        case _:
            scope.report(OperatorIndices(slot.span, call.name, "takes indices only"))
    return None


def _names(slots: tuple[ast.Slot, ...]) -> list[str]:
    return [
        slot.expr.id
        for slot in slots
        if isinstance(slot, ast.ExprSlot) and isinstance(slot.expr, ast.Name)
    ]


# --- reductions, softmax, scans ------------------------------------------------------------------
def _condition(
    scope: LayerScope, call: ast.Call, env: Env
) -> tuple[t.Term | None, tuple[t.Term, ...]]:
    """The term after `where`, and the facts that hold in the body."""
    if call.where is None:
        return None, env.facts
    where = scope.expression(call.where, env)
    if not where.bad and where.dtype is not BOOL:
        scope.report(NotACondition(call.where.span, ARTICLE[where.dtype]))
        where.bad = True
    return where, env.facts if where.bad else (*env.facts, where)


def _body(scope: LayerScope, call: ast.Call, env: Env) -> t.Term | None:
    """The one argument of an operator, None if the count is wrong."""
    args = call.args or ()
    for argument in args:
        if argument.name is not None:
            scope.report(UnknownKeyword(argument.span, call.name, argument.name))
            return None
    if len(args) != 1:
        scope.report(Arity(call.span, f"{call.name}[...]", "1 argument", len(args)))
        return None
    return scope.expression(args[0].expr, env)


def _reduction(
    scope: LayerScope, call: ast.Call, op: ReduceOp, slotted: list[Slotted], env: Env
) -> t.Term:
    assert call.slots is not None, call
    names = _names(call.slots) if env.frame is not None else []
    slotted, local = localised(scope, slotted, names, env)
    indices = tuple(s.index for s in slotted)
    inner = bind(env, local, indices)
    where, facts = _condition(scope, call, inner)
    if op is ReduceOp.COUNT:
        body = _counted(scope, call)
    else:
        body = _body(scope, call, replace(inner, facts=facts))
    if body is None:
        return t.Bad(span=call.span)
    dtype = REAL if body.bad else reduced(op, body.dtype)
    bad = body.bad or (where is not None and where.bad)
    if isinstance(dtype, str):
        scope.report(
            WrongTypes(call.args[0].expr.span if call.args else call.span, op.value, dtype)
        )
        return t.Bad(span=call.span)
    inside = t.union([body.free] if where is None else [body.free, where.free])
    if not bad:
        for s in slotted:
            if s.index not in inside and not s.index.ellipsis:
                if op in (ReduceOp.SUM, ReduceOp.COUNT):
                    scope.report(SumOfAbsent(s.span, s.index.name))
                else:
                    scope.report(IndexAbsent(s.span, op.value, s.index.name))
                    bad = True
    if not indices:  # `...` of a call that leaves no batch axes
        return body
    free = t.without(inside, indices)
    return t.Reduction(
        span=call.span,
        free=free,
        dtype=dtype,
        bad=bad,
        op=op,
        indices=indices,
        where=where,
        body=body,
    )


def _counted(scope: LayerScope, call: ast.Call) -> t.Term | None:
    if call.args:
        scope.report(Arity(call.span, "count[...]", "a condition and no argument", len(call.args)))
        return None
    return t.Leaf(span=call.span, dtype=BOOL, expr=Literal(True, BOOL))


def _along(
    scope: LayerScope, call: ast.Call, op: AlongOp, slotted: list[Slotted], env: Env
) -> t.Term:
    where, facts = _condition(scope, call, env)
    body = _body(scope, call, replace(env, facts=facts))
    if body is None:
        return t.Bad(span=call.span)
    bad = body.bad or (where is not None and where.bad)
    indices = tuple(s.index for s in slotted)
    inside = t.union([body.free] if where is None else [body.free, where.free])
    softmax = op in (AlongOp.SOFTMAX, AlongOp.LOG_SOFTMAX)
    if not bad:
        for s in slotted:
            if s.index not in inside and not s.index.ellipsis:
                scope.report(IndexAbsent(s.span, op.value, s.index.name))
                bad = True
        if softmax and body.dtype is Dtype.COMPLEX:
            why = "it is defined on real numbers only"
            scope.report(WrongTypes(body.span, op.value, why))
            bad = True
    dtype = REAL if softmax else max(body.dtype, INT)
    if not indices:
        return body
    return t.Along(
        span=call.span,
        free=t.union([inside, dict.fromkeys(indices)]),
        dtype=dtype,
        bad=bad,
        op=op,
        indices=indices,
        where=where,
        body=body,
    )
