"""`at[x = e](expr)`: an expression read at a computed position."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check import terms as t
from tensorlang.check.brackets import bind
from tensorlang.check.errors.indices import IndexAbsent, OperatorIndices
from tensorlang.check.errors.types import (
    ArgumentValue,
    Arity,
    ConditionMisplaced,
)
from tensorlang.check.mentions import base, nodes
from tensorlang.check.positions import Position, position
from tensorlang.check.program import (
    At,
    Index,
    Literal,
    Read,
    subscript_indices,
)
from tensorlang.check.scope import Env, LayerScope
from tensorlang.check.types import INT, convert
from tensorlang.syntax import ast


# --- at ------------------------------------------------------------------------------------------
def at(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """`at[x = e](expr)`: expr read at a computed position."""
    slots = call.slots or ()
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, "at"))
        return t.Bad(span=call.span)
    bindings = [slot for slot in slots if isinstance(slot, ast.BindSlot)]
    if not slots or len(bindings) < len(slots):
        scope.report(OperatorIndices(call.name_span, "at", "takes positions: at[x = e](...)"))
        return t.Bad(span=call.span)
    if len(call.args or ()) != 1:
        scope.report(Arity(call.span, "at[...]", "1 argument", len(call.args or ())))
        return t.Bad(span=call.span)
    if len(bindings) > 1:  # at[x = a, y = b](e) is at[x = a](at[y = b](e)), positions read outside
        return _nested_at(scope, call, bindings, env)
    return _at(scope, call, bindings[0], (call.args or ())[0].expr, env)


def _nested_at(scope: LayerScope, call: ast.Call, bindings: list[ast.BindSlot], env: Env) -> t.Term:
    names = [
        slot.left.expr.id
        for slot in bindings
        if isinstance(slot.left, ast.ExprSlot) and isinstance(slot.left.expr, ast.Name)
    ]
    for slot in bindings:
        mentioned = {n.id for n in _slot_names(slot.right)}
        if mentioned & set(names) or len(set(names)) < len(bindings):
            rule = "with several positions, none may mention an index that another one replaces"
            scope.report(OperatorIndices(slot.span, "at", rule))
            return t.Bad(span=call.span)
    inner: ast.Expr = (call.args or ())[0].expr
    for slot in reversed(bindings[1:]):
        argument = ast.Argument(None, inner, inner.span)
        inner = ast.Call("at", call.name_span, (slot,), None, (argument,), call.span)
    return _at(scope, call, bindings[0], inner, env)


def _slot_names(slot: ast.Slot) -> list[ast.Name]:
    if not isinstance(slot, ast.ExprSlot):
        return []
    return [node for node in nodes(slot.expr) if isinstance(node, ast.Name)]


def _at(
    scope: LayerScope, call: ast.Call, binding: ast.BindSlot, body: ast.Expr, env: Env
) -> t.Term:
    left, right = binding.left, binding.right
    if not isinstance(left, ast.ExprSlot) or not isinstance(left.expr, ast.Name):
        scope.report(OperatorIndices(left.span, "at", "takes an index on the left of ="))
        return t.Bad(span=call.span)
    index = scope.index(left.expr, env)
    if not isinstance(right, ast.ExprSlot):
        scope.report(OperatorIndices(right.span, "at", "takes one position on the right of ="))
        return t.Bad(span=call.span)
    inner = replace(env, facts=())
    if index is None:
        scope.expression(body, inner)
        return t.Bad(span=call.span)
    names: dict[str, Index] = {}
    bound = index
    if env.frame is not None and base(left.expr.id) != left.expr.id:
        scope.statement.locals += 1
        bound = Index(index.name, index.dim, scope.statement.locals)
        names = {left.expr.id: bound}
    found = position(scope, right, index.dim.size, index.name, env)
    term = scope.expression(body, bind(inner, names, (bound,)))
    if found is None or term.bad:
        return t.Bad(span=call.span)
    if bound not in term.free:
        scope.report(IndexAbsent(left.span, "at", index.name))
        return t.Bad(span=call.span)
    if found.otherwise is not None and found.otherwise.dtype > term.dtype:
        rule = "at: the value after else must be of the kind of what is read"
        scope.report(ArgumentValue(right.span, "at", rule))
        return t.Bad(span=call.span)
    if (moved := _moved(term, bound, found)) is not None:
        return t.Leaf(
            span=call.span,
            free=t.union([t.without(term.free, (bound,)), found.free]),
            dtype=term.dtype,
            expr=moved,
            binders=found.binders or (isinstance(term, t.Leaf) and term.binders),
        )
    return t.At(
        span=call.span,
        free=t.union([t.without(term.free, (bound,)), found.free]),
        dtype=term.dtype,
        index=bound,
        position=found.subscript,
        outside=found.otherwise,
        position_free=found.free,
        body=term,
    )


def _moved(term: t.Term, index: Index, found: Position) -> Read | None:
    """`at[x = e](X[x, d])` is `X[e, d]` where x is one whole axis of a plain read."""
    if not isinstance(term, t.Leaf) or not isinstance(term.expr, Read):
        return None
    read = term.expr
    if (
        read.otherwise is not None
        or sum(index in subscript_indices(s) for s in read.subscripts) > 1
    ):
        return None
    if At(index) not in read.subscripts:
        return None
    subscripts = tuple(found.subscript if s == At(index) else s for s in read.subscripts)
    outside = Literal(0, INT) if found.assumed else found.otherwise
    if outside is not None:
        outside = Literal(convert(outside.value, read.dtype), read.dtype)
    return Read(read.tensor, subscripts, read.dtype, outside)
