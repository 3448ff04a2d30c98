"""Equations: a left side, a right side, calls of sub-layers that are whole right sides."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check import terms as t
from tensorlang.check.axes import axes, tensor
from tensorlang.check.errors.layers import NotYet, SeveralTargets
from tensorlang.check.forms import batch_of, direct, place_call
from tensorlang.check.hoisting import finish, printed
from tensorlang.check.left import ellipsis_known, left_is_fine
from tensorlang.check.matching import matched
from tensorlang.check.program import (
    Axis,
    Equation,
    Index,
    Read,
    Statement,
)
from tensorlang.check.scope import Env, Kind, LayerScope, Tensor, own
from tensorlang.check.types import cast
from tensorlang.dtype import Dtype
from tensorlang.syntax import ast


# --- equations -----------------------------------------------------------------------------------
def equation(
    scope: LayerScope,
    statement: ast.Equation,
    owned: set[int],
    orders: dict[str, tuple[int, ...]],
) -> list[Statement]:
    """Check an equation; gives its statements, those hoisted first."""
    if statement.form is not None:
        scope.report(NotYet(statement.form.span, "approximations (as ...) are"))
    if len(statement.targets) > 1:
        return _several(scope, statement, owned, orders)
    (declared,) = statement.targets
    term = scope.expression(statement.body, Env())
    slots = axes(scope, declared.slots or (), "the left side", ellipsis=True)
    if not ellipsis_known(scope, declared, slots):
        slots = None
    mine = id(declared) in owned
    target = _target(scope, declared, slots, term.dtype, orders)
    body = None
    if not term.bad and not target.bad and left_is_fine(scope, declared, target, term.free, term):
        if _is_direct(term, target) and isinstance(term, t.SubLayer):
            return _direct(scope, statement, term, target, mine)
        body = printed(scope, term, target.indices, f"{declared.span.text} =", statement.body.span)
    if mine:
        scope.tensors[declared.name] = target
        if term.bad and not target.bad:
            _poison(scope, target)
    out = finish(scope)
    if body is None:
        return out
    body = cast(body, target.dtype)
    out.append(Equation(target.name, target.axes, target.dtype, body, statement.span))
    return out


def _poison(scope: LayerScope, target: Tensor) -> None:
    """What a faulty right side defines is of unknown kind: reading it stays silent."""
    scope.tensors[target.name] = Tensor(
        target.name,
        target.kind,
        target.slots,
        target.axes,
        target.order,
        target.dtype,
        target.span,
        True,
    )


def _target(
    scope: LayerScope,
    declared: ast.Declared,
    slots: tuple[Axis | None, ...] | None,
    dtype: Dtype | None,
    orders: dict[str, tuple[int, ...]],
) -> Tensor:
    """The tensor of a left side, not in scope yet."""
    before = scope.tensors.get(declared.name)
    order = orders.get(declared.name)
    target = tensor(scope, declared, Kind.EQUATION, slots, dtype, order)
    if before is None:
        del scope.tensors[declared.name]
    else:
        scope.tensors[declared.name] = before
    return target


# --- calls of sub-layers as whole right sides ----------------------------------------------------
def _sums_of(term: t.SubLayer, left: Sequence[Index]) -> tuple[tuple[Index, ...], ...] | None:
    """What each argument sums, None if that is not plain."""
    kept = set(left)
    sums = [index for index in term.free if index not in kept]
    if any(sum(index in arg.free for arg in term.args) != 1 for index in sums):
        return None
    return tuple(tuple(i for i in sums if i in arg.free) for arg in term.args)


def _is_direct(term: t.Term, target: Tensor) -> bool:
    """Whether a right side is a call whose output can be the target itself."""
    if not isinstance(term, t.SubLayer) or len(term.match.outputs) != 1:
        return False
    sums = _sums_of(term, target.indices)
    if sums is None or term.dtype is not target.dtype:
        return False
    if not direct(term, batch_of(term, sums), (target,)):
        return False
    callee = term.match.sub.interface
    assert callee is not None, term
    if term.match.sub.count is None:
        return True
    first = term.args[0]  # a stack returns its first input's axes, in their order
    order = tuple(t.without(first.free, sums[0]))
    plain = isinstance(first, t.Leaf) and isinstance(first.expr, Read)
    return (not plain and order == target.indices) or (
        isinstance(first, t.Leaf)
        and isinstance(first.expr, Read)
        and first.expr.subscripts == tuple(map(own, target.axes))
    )


def _direct(
    scope: LayerScope,
    statement: ast.Equation,
    term: t.SubLayer,
    target: Tensor,
    mine: bool,
) -> list[Statement]:
    sums = _sums_of(term, target.indices)
    assert sums is not None, term
    place_call(scope, term, sums, (target,))
    if mine:
        scope.tensors[target.name] = target
    return finish(scope)


def _several(
    scope: LayerScope,
    statement: ast.Equation,
    owned: set[int],
    orders: dict[str, tuple[int, ...]],
) -> list[Statement]:
    """`Y[n], Z[n] = f(X)`."""
    call = statement.body
    term: t.Term = t.Bad(span=call.span)
    if statement.scatter is not None:
        scope.report(SeveralTargets(statement.span, "a scatter has one target"))
    elif not isinstance(call, ast.Call) or call.name not in scope.subs:
        if not isinstance(call, ast.Call) or call.name not in scope.poisoned:
            fault = "several tensors on the left need a call of a sub-layer on the right"
            scope.report(SeveralTargets(statement.body.span, fault))
    else:
        term = matched(scope, call, Env())
    if isinstance(term, t.SubLayer) and len(term.match.outputs) != len(statement.targets):
        count = len(term.match.outputs)
        returns = "1 tensor" if count == 1 else f"{count} tensors"
        fault = f"{term.match.sub.name} returns {returns}, {len(statement.targets)} on the left"
        scope.report(SeveralTargets(statement.body.span, fault))
        term = t.Bad(span=call.span)
    targets = []
    for m, declared in enumerate(statement.targets):
        slots = axes(scope, declared.slots or (), "the left side", ellipsis=True)
        if not ellipsis_known(scope, declared, slots):
            slots = None
        dtype: Dtype | None = Dtype.REAL
        if isinstance(term, t.SubLayer):
            callee = term.match.sub.interface
            assert callee is not None, term
            dtype = callee.outputs[m].dtype
        target = _target(scope, declared, slots, dtype, orders)
        targets.append(target)
        if id(declared) in owned:
            scope.tensors[declared.name] = target
            if term.bad:
                _poison(scope, target)
    if isinstance(term, t.SubLayer) and not any(target.bad for target in targets):
        _place_several(scope, statement, term, targets)
    return finish(scope)


def _place_several(
    scope: LayerScope, statement: ast.Equation, term: t.SubLayer, targets: list[Tensor]
) -> None:
    left = tuple(dict.fromkeys(index for target in targets for index in target.indices))
    sums = _sums_of(term, left + _outputs(term))
    if sums is None or not direct(term, batch_of(term, sums), targets):
        shown = ", ".join(
            _shown_axes(slots, batch_of(term, sums or tuple(() for _ in term.args)))
            for slots in term.match.outputs
        )
        fault = f"{term.match.sub.name} returns tensors over {shown}: the left sides differ"
        scope.report(SeveralTargets(statement.span, fault))
        return
    place_call(scope, term, sums, targets)


def _outputs(term: t.SubLayer) -> tuple[Index, ...]:
    return tuple(i for slots in term.match.outputs for slot in slots if slot for i in slot)


def _shown_axes(slots: tuple[tuple[Index, ...] | None, ...], batch: tuple[Index, ...]) -> str:
    names: list[str] = []
    for slot in slots:
        if slot is None:
            names += [index.name for index in batch]
        else:
            names.append(
                " ".join(i.name for i in slot)
                if len(slot) == 1
                else f"({' '.join(i.name for i in slot)})"
            )
    return f"[{', '.join(names)}]"
