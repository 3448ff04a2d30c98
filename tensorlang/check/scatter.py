"""Scatter: `T[node = dst[e], u] += expr`, and its contributions gathered at the last one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tensorlang.check import terms as t
from tensorlang.check.axes import declared_index
from tensorlang.check.errors.bounds import ElseValue
from tensorlang.check.errors.indices import (
    EllipsisMisplaced,
    LeftOnly,
    LeftRepeated,
    ReducedIndexOnLeft,
    ScatterTarget,
)
from tensorlang.check.errors.layers import NotYet, SeveralTargets
from tensorlang.check.errors.types import WrongTypes
from tensorlang.check.hoisting import finish
from tensorlang.check.indices import Printer
from tensorlang.check.left import bound_at
from tensorlang.check.positions import Position, Target, position
from tensorlang.check.program import (
    AffineAt,
    At,
    Axis,
    ComputedAt,
    Contribution,
    Index,
    Scatter,
    ScatterOp,
    Statement,
    Subscript,
)
from tensorlang.check.renaming import Renaming
from tensorlang.check.scope import Env, Kind, LayerScope, Tensor
from tensorlang.check.types import cast, dtype_of
from tensorlang.dtype import Dtype
from tensorlang.source import Span
from tensorlang.syntax import ast

_OPS = {
    ast.ScatterKind.SUM: ScatterOp.SUM,
    ast.ScatterKind.MAX: ScatterOp.MAX,
    ast.ScatterKind.MIN: ScatterOp.MIN,
}


@dataclass(slots=True)
class Gathered:
    """The contributions to one tensor so far."""

    op: ScatterOp
    span: Span
    slots: tuple[Axis | None, ...]
    dtype: Dtype
    renaming: Renaming
    bad: bool = False
    contributions: list[Contribution] = field(default_factory=list)


@dataclass(slots=True)
class _Left:
    """A scatter's left side: its axes, where values land, the indices that land."""

    slots: list[Axis | None] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)  # one an axis, `...` expanded
    written: dict[Index, Span] = field(default_factory=dict)  # the axes' own indices
    computed: list[tuple[Index, Position, Span]] = field(default_factory=list)


def scatter(
    scope: LayerScope,
    statement: ast.Equation,
    owned: set[int],
    gathered: dict[str, Gathered],
    last: bool,
    orders: dict[str, tuple[int, ...]],
) -> list[Statement]:
    """Check one contribution; at the last one of its tensor the Scatter comes out."""
    if statement.form is not None:
        scope.report(NotYet(statement.form.span, "approximations (as ...) are"))
    if len(statement.targets) > 1 or statement.scatter is None:
        scope.report(SeveralTargets(statement.span, "a scatter has one target"))
        return []
    (declared,) = statement.targets
    op = _OPS[statement.scatter]
    left = _left(scope, declared)
    term = scope.expression(statement.body, Env())
    mine = id(declared) in owned
    known = gathered.get(declared.name) if mine else None
    fine = left is not None and not term.bad
    if left is not None:
        fine = _agrees(scope, declared, op, left, known) and fine
    if left is not None and fine:
        fine = _complete(scope, declared, left, term)
    if fine and op is not ScatterOp.SUM and term.dtype is Dtype.COMPLEX:
        why = "complex numbers have no order"
        scope.report(WrongTypes(statement.body.span, statement.scatter.value, why))
        fine = False
    if mine and known is None:
        slots = tuple(left.slots) if left is not None else ()
        renaming = Renaming(set(left.written) if left is not None else set())
        known = gathered[declared.name] = Gathered(op, declared.span, slots, Dtype.INT, renaming)
    if fine and left is not None and known is not None:
        _contribute(scope, statement, declared, left, term, known)
    elif known is not None:
        known.bad = True
    out = finish(scope)
    if mine and last and known is not None:
        out += _gather(scope, declared, known, orders)
    return out


# --- the left side -------------------------------------------------------------------------------
def _left(scope: LayerScope, declared: ast.Declared) -> _Left | None:
    out = _Left()
    fine = True
    for slot in declared.slots or ():
        match slot:
            case ast.EllipsisSlot(span):
                if None in out.slots:
                    scope.report(EllipsisMisplaced(span, "stands twice in one tensor"))
                    fine = False
                elif not scope.has_ellipsis:
                    rule = "stands on the left, but no input has it"
                    scope.report(EllipsisMisplaced(span, rule))
                    fine = False
                else:
                    out.slots.append(None)
                    for index in scope.ellipsis:
                        out.positions.append(Position(At(index), {index: None}))
                        out.written[index] = span
            case ast.ExprSlot(ast.Name() as name, None) if scope.names.get(name.id) is None or (
                scope.known_index(name.id) is not None
            ):
                plain = _axis(scope, name, out)
                fine = fine and plain is not None
                if plain is not None:
                    out.positions.append(Position(At(plain), {plain: None}))
            case ast.BindSlot(ast.ExprSlot(ast.Name() as name, None), ast.ExprSlot() as right):
                axis = _axis(scope, name, out)
                fine = fine and axis is not None
                if axis is None:
                    continue
                target = Target(declared.name, name.id, declared.span, scatter=True)
                landing = _landing(scope, right, axis, target)
                if landing is None:
                    fine = False
                else:
                    out.positions.append(landing)
                    out.computed.append((axis, landing, right.span))
            case (ast.GroupSlot() as group) | ast.BindSlot(ast.GroupSlot() as group, _):
                sizes = " * ".join(name.id for name in group.indices)
                hint = f"make it one axis: dim f = {sizes}, and {declared.name}[f = position]"
                fault = "an axis of a scatter is one index, not a group"
                scope.report(ScatterTarget(group.span, declared.name, fault, None, hint))
                fine = False
            case _:
                text = " ".join(slot.span.text.split())
                hint = f"name the axis: {declared.name}[axis = {text}]"
                fault = "an axis of a scatter is an index, or index = position"
                scope.report(ScatterTarget(slot.span, declared.name, fault, None, hint))
                fine = False
    return out if fine else None


def _axis(scope: LayerScope, name: ast.Name, out: _Left) -> Index | None:
    index = declared_index(scope, name)
    if index is None:
        return None
    if index in out.written:
        scope.report(LeftRepeated(name.span, index.name, out.written[index]))
        return None
    out.written[index] = name.span
    out.slots.append(Axis((index,)))
    return index


def _landing(scope: LayerScope, slot: ast.ExprSlot, axis: Index, target: Target) -> Position | None:
    outside = slot.otherwise
    if outside is not None and not (isinstance(outside, ast.Name) and outside.id == "drop"):
        scope.report(ElseValue(outside.span, "must be drop: what lands outside is left out"))
        return None
    return position(scope, slot, axis.dim.size, axis.name, Env(), target)


def _agrees(
    scope: LayerScope,
    declared: ast.Declared,
    op: ScatterOp,
    left: _Left,
    known: Gathered | None,
) -> bool:
    """Whether a further contribution has the kind and the axes of the first."""
    if known is None:
        return True
    if known.op is not op:
        fault = "its contributions mix +=, max= and min="
        scope.report(ScatterTarget(declared.span, declared.name, fault, known.span))
        return False
    if not known.bad and known.slots != tuple(left.slots):
        fault = "its contributions have different axes"
        scope.report(ScatterTarget(declared.span, declared.name, fault, known.span))
        return False
    return True


def _complete(scope: LayerScope, declared: ast.Declared, left: _Left, term: t.Term) -> bool:
    """Whether axes taken as they are occur on the right, and none is inside its own position."""
    fine = True
    computed = {index for index, _, _ in left.computed}
    inside = t.union(found.free for _, found, _ in left.computed)
    for index, found, span in left.computed:
        for inner in found.free:
            if inner in computed:
                fault = (
                    f"{inner.name} names an axis, it cannot stand in the position of {index.name}"
                )
                hint = f"use another index over the same dim, {inner.name}'"
                scope.report(ScatterTarget(span, declared.name, fault, None, hint))
                fine = False
    for index, span in left.written.items():
        if index in computed:
            if index in term.free and fine:
                fault = f"{index.name} on the right is no index that lands: its place is computed"
                hint = f"use another index over the same dim, {index.name}'"
                scope.report(ScatterTarget(span, declared.name, fault, None, hint))
                fine = False
            continue
        if index not in term.free and index not in inside:
            binder = bound_at(term, index)
            if binder is not None:
                scope.report(ReducedIndexOnLeft(span, index.name, binder))
            else:
                scope.report(LeftOnly(span, index.name, declared.name))
            fine = False
    return fine


# --- contributions -------------------------------------------------------------------------------
def _contribute(
    scope: LayerScope,
    statement: ast.Equation,
    declared: ast.Declared,
    left: _Left,
    term: t.Term,
    known: Gathered,
) -> None:
    own = list(left.written)
    inside = t.union(found.free for _, found, _ in left.computed)
    landing = tuple(index for index in inside if index not in left.written)
    renaming = known.renaming
    bound, before = renaming.bind(landing)
    assert statement.scatter is not None, statement
    text = f"{declared.span.text} {statement.scatter.value}"
    printer = Printer(scope, renaming, text, statement.body.span)
    kept = {*own, *landing}
    body = printer.print(term, tuple(index for index in term.free if index not in kept))
    subscripts = tuple(_subscript(renaming, found) for found in left.positions)
    renaming.unbind(landing, before)
    known.dtype = max(known.dtype, dtype_of(body))
    known.contributions.append(Contribution(subscripts, bound, body, statement.span))


def _subscript(renaming: Renaming, found: Position) -> Subscript:
    subscript = renaming.subscript(found.subscript)
    assert isinstance(subscript, At | AffineAt | ComputedAt), subscript
    return subscript


def _gather(
    scope: LayerScope,
    declared: ast.Declared,
    known: Gathered,
    orders: dict[str, tuple[int, ...]],
) -> list[Statement]:
    """The Scatter of all contributions, its tensor in scope from here on."""
    expanded: list[Axis] = []
    for slot in known.slots:
        expanded += [Axis((index,)) for index in scope.ellipsis] if slot is None else [slot]
    order = orders.get(declared.name, tuple(range(len(expanded))))
    dtype = known.dtype
    if len(order) != len(expanded):
        order = tuple(range(len(expanded)))
    axes = tuple(expanded[k] for k in order)
    scope.tensors[declared.name] = Tensor(
        declared.name, Kind.EQUATION, known.slots, axes, order, dtype, known.span, known.bad
    )
    scope.pending_scatters.pop(declared.name, None)
    if known.bad:
        return []
    contributions = tuple(
        replace(
            part,
            subscripts=tuple(part.subscripts[k] for k in order),
            body=cast(part.body, dtype),
        )
        for part in known.contributions
    )
    span = contributions[-1].span
    return [Scatter(declared.name, axes, dtype, known.op, contributions, span)]
