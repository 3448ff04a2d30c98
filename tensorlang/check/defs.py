"""Calls of `def`s: hygienic substitution; arguments keep the names of the caller."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check import terms as t
from tensorlang.check.errors.names import DefCall
from tensorlang.check.errors.types import ConditionMisplaced
from tensorlang.check.program import Index
from tensorlang.check.scope import Env, Frame, LayerScope, Thunk
from tensorlang.check.spec import DefSource
from tensorlang.syntax import ast


def call_of_def(scope: LayerScope, call: ast.Call, source: DefSource, env: Env) -> t.Term:
    """Substitute a def; its body is opaque to sums from outside."""
    definition = source.ast
    chain = () if env.frame is None else env.frame.chain
    if source in chain:  # reported when the def was checked
        scope.session.errors += 1
        return t.Bad(span=call.span)
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, call.name))
        return t.Bad(span=call.span)
    fit = scope.session.definition(source)
    if not fit:
        scope.session.errors += 1
    indices = _indices(scope, call, definition, env)
    arguments = _arguments(scope, call, source, env)
    if indices is None or arguments is None or not fit:
        for argument in call.args or ():
            scope.expression(argument.expr, env)
        return t.Bad(span=call.span)
    frame = Frame(source, arguments, indices, (*chain, source))
    scope.def_calls.append(call)
    body = scope.expression(definition.body, Env(env.facts, frame, const=env.const))
    bad = body.bad
    for thunk in arguments.values():
        if not thunk.read:  # so that mistakes in what the body drops are not lost
            bad = scope.expression(thunk.expr, thunk.env).bad or bad
    scope.def_calls.pop()
    read = [(thunk.expr.span, term) for thunk in arguments.values() for term in thunk.terms()]
    return t.Opaque(
        span=call.span,
        free=body.free,
        dtype=body.dtype,
        bad=bad,
        name=definition.name,
        body=body,
        args=tuple(read),
    )


def _indices(
    scope: LayerScope, call: ast.Call, definition: ast.Def, env: Env
) -> dict[str, Index] | None:
    slots = call.slots or ()
    if len(slots) != len(definition.indices):
        count = len(definition.indices)
        expected = "no indices" if not count else "1 index" if count == 1 else f"{count} indices"
        fault = f"it takes {expected} in brackets, {len(slots)} given"
        scope.report(DefCall(call.span, call.name, fault, definition.name_span))
        return None
    out: dict[str, Index] = {}
    for parameter_, slot in zip(definition.indices, slots, strict=True):
        if not isinstance(slot, ast.ExprSlot) or not isinstance(slot.expr, ast.Name):
            fault = "it takes indices in brackets"
            scope.report(DefCall(slot.span, call.name, fault, definition.name_span))
            return None
        index = scope.index(slot.expr, env)
        if index is None:
            return None
        out[parameter_.id] = index
    return out


def _arguments(
    scope: LayerScope, call: ast.Call, source: DefSource, env: Env
) -> dict[str, Thunk] | None:
    definition = source.ast
    parameters = {parameter_.name: parameter_ for parameter_ in definition.parameters}
    out: dict[str, Thunk] = {}
    positional = [argument for argument in call.args or () if argument.name is None]
    if len(positional) > len(definition.parameters):
        count = len(definition.parameters)
        fault = f"it takes {count} argument{'' if count == 1 else 's'}, {len(positional)} given"
        scope.report(DefCall(positional[count].span, call.name, fault, definition.name_span))
        return None
    for argument, parameter_ in zip(positional, definition.parameters, strict=False):
        out[parameter_.name] = Thunk(argument.expr, env)
    for argument in call.args or ():
        if argument.name is None:
            continue
        if argument.name not in parameters or argument.name in out:
            what = (
                "is given twice" if argument.name in parameters else "is not one of its arguments"
            )
            fault = f"{argument.name} {what}"
            scope.report(DefCall(argument.span, call.name, fault, definition.name_span))
            return None
        out[argument.name] = Thunk(argument.expr, env)
    inner = Frame(source, {}, {}, (source,))
    for name, parameter_ in parameters.items():
        if name in out:
            continue
        if parameter_.default is None:
            fault = f"its argument {name} is missing"
            scope.report(DefCall(call.span, call.name, fault, definition.name_span))
            return None
        out[name] = Thunk(parameter_.default, Env(frame=inner, const=env.const))
    return out


def parameter(scope: LayerScope, name: ast.Name, env: Env) -> t.Term | None:
    """The argument that a name in a def's body stands for, None if it is not a parameter."""
    frame = env.frame
    assert frame is not None, name
    thunk = frame.arguments.get(name.id)
    if thunk is None:
        return None
    facts = env.facts
    key = tuple(map(id, facts))
    known = thunk.read.get(key)
    if known is not None:
        term, size = known
        scope.statement.expanded += size
        return term
    before = scope.statement.expanded
    term = scope.expression(thunk.expr, replace(thunk.env, facts=facts))
    scope.statement.kept += facts
    thunk.read[key] = term, scope.statement.expanded - before + 1
    return term
