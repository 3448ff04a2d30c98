"""References: a tensor at its own indices, and at subscripts, one for each axis."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check import terms as t
from tensorlang.check.errors.bounds import (
    ElseDiffers,
    ElseValue,
)
from tensorlang.check.errors.dims import GroupSize, GroupUnknown
from tensorlang.check.errors.indices import EllipsisMisplaced, Rank
from tensorlang.check.errors.names import WronglyUsed
from tensorlang.check.errors.types import ConstReads
from tensorlang.check.mentions import base
from tensorlang.check.positions import Position, Target, position
from tensorlang.check.program import (
    At,
    Axis,
    Group,
    Index,
    Literal,
    Read,
)
from tensorlang.check.scope import Env, Kind, LayerScope, Tensor, own, shown_axis
from tensorlang.check.types import ARTICLE, convert
from tensorlang.size import product, same
from tensorlang.source import Span
from tensorlang.syntax import ast


# --- tensors -------------------------------------------------------------------------------------
def bare_read(scope: LayerScope, name: ast.Name, env: Env) -> t.Term:
    """A tensor at its own declared indices."""
    tensor = scope.tensors[name.id]
    if not _readable(scope, tensor, name.span, env):
        return t.Bad(span=name.span)
    subscripts = tuple(map(own, tensor.axes))
    free: t.Free = dict.fromkeys(tensor.indices)
    expr = Read(tensor.name, subscripts, tensor.dtype)
    places = dict.fromkeys(free, name.span)
    return t.Leaf(span=name.span, free=free, dtype=tensor.dtype, expr=expr, places=places)


def _readable(scope: LayerScope, tensor: Tensor, span: Span, env: Env) -> bool:
    if env.const is not None and tensor.kind is not Kind.CONST:
        scope.report(ConstReads(span, tensor.name, tensor.kind.value))
        return False
    return not tensor.bad


def read(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """`X[e1, ..., ek]`."""
    tensor = scope.tensors[call.name]
    slots = call.slots or ()
    if not _readable(scope, tensor, call.name_span, env):
        return t.Bad(span=call.span)
    if not _aligned(scope, tensor, slots, call):
        _report_slots(scope, slots, env)
        return t.Bad(span=call.span)
    positions: list[Position | None] = []
    for slot, axis in zip(slots, tensor.slots, strict=True):
        if axis is None:
            positions += [Position(At(index), {index: None}) for index in scope.ellipsis]
            for index in scope.ellipsis:
                positions[-1].places[index] = slot.span  # type: ignore[union-attr]
        else:
            positions.append(_subscript(scope, tensor, axis, slot, env))
    if any(part is None for part in positions):
        return t.Bad(span=call.span)
    found = [part for part in positions if part is not None]
    otherwise, fine = _otherwise(scope, tensor, found)
    if not fine:
        return t.Bad(span=call.span)
    ordered = tuple(found[k].subscript for k in tensor.order)
    places: dict[Index, Span] = {}
    for part in found:
        for index, span in part.places.items():
            places.setdefault(index, span)
    return t.Leaf(
        span=call.span,
        free=t.union(part.free for part in found),
        dtype=tensor.dtype,
        expr=Read(tensor.name, ordered, tensor.dtype, otherwise),
        places=places,
        binders=any(part.binders for part in found),
    )


def _aligned(
    scope: LayerScope, tensor: Tensor, slots: tuple[ast.Slot, ...], call: ast.Call
) -> bool:
    """Whether there is a subscript for each axis, and `...` exactly where the tensor has it."""
    dots = [k for k, slot in enumerate(slots) if isinstance(slot, ast.EllipsisSlot)]
    if dots and None not in tensor.slots:
        scope.report(
            EllipsisMisplaced(slots[dots[0]].span, f"stands where {tensor.name} has no batch axes")
        )
        return False
    if len(dots) > 1:
        scope.report(EllipsisMisplaced(slots[dots[1]].span, "stands twice in one reference"))
        return False
    if len(slots) != len(tensor.slots) or (dots and tensor.slots[dots[0]] is not None):
        scope.report(
            Rank(
                call.span,
                tensor.name,
                f"{tensor.name}{tensor.shown()}",
                len(tensor.slots),
                len(slots),
                tensor.span,
            )
        )
        return False
    if not dots and None in tensor.slots:
        where = slots[tensor.slots.index(None)].span
        scope.report(EllipsisMisplaced(where, f"is missing: {tensor.name} is {tensor.shown()}"))
        return False
    return True


def _report_slots(scope: LayerScope, slots: tuple[ast.Slot, ...], env: Env) -> None:
    """Report unknown names in subscripts that have no axis."""
    for slot in slots:
        if isinstance(slot, ast.ExprSlot) and not isinstance(slot.expr, ast.Name):
            scope.expression(slot.expr, env)


def _otherwise(
    scope: LayerScope, tensor: Tensor, positions: Sequence[Position]
) -> tuple[Literal | None, bool]:
    """The one value outside, as the tensor's kind of number."""
    first: Position | None = None
    fine = True
    for part in positions:
        if part.otherwise is None:
            continue
        span = part.otherwise_span
        assert span is not None, part
        if part.otherwise.dtype > tensor.dtype:
            kinds = (ARTICLE[part.otherwise.dtype], ARTICLE[tensor.dtype])
            scope.report(ElseValue(span, f"is {kinds[0]}, {tensor.name} is {kinds[1]}"))
            fine = False
        elif first is None:
            first = part
        elif first.otherwise is not None and first.otherwise.value != part.otherwise.value:
            assert first.otherwise_span is not None, first
            scope.report(ElseDiffers(span, first.otherwise_span))
            fine = False
    if not fine:
        return None, False
    if first is not None and first.otherwise is not None:
        return Literal(convert(first.otherwise.value, tensor.dtype), tensor.dtype), True
    if any(part.assumed for part in positions):
        return Literal(convert(0, tensor.dtype), tensor.dtype), True
    return None, True


# --- one subscript -------------------------------------------------------------------------------
def _subscript(
    scope: LayerScope, tensor: Tensor, axis: Axis, slot: ast.Slot, env: Env
) -> Position | None:
    shown = shown_axis(axis)
    match slot:
        case ast.GroupSlot():
            return _group(scope, axis, slot, env)
        case ast.ExprSlot():
            target = Target(tensor.name, shown, tensor.span, tensor)
            return position(scope, slot, axis.size, shown, env, target)
        case ast.EllipsisSlot():
            scope.report(EllipsisMisplaced(slot.span, "stands where there is one axis"))
        case _:
            rule = "its subscripts stand in order, without names"
            scope.report(WronglyUsed(slot.span, tensor.name, tensor.kind.value, rule))
    return None


def _group(scope: LayerScope, axis: Axis, slot: ast.GroupSlot, env: Env) -> Position | None:
    unknown = [base(n.id) for n in slot.indices if _is_unknown(scope, n, env)]
    if len(unknown) > 1:
        scope.report(GroupUnknown(slot.span, slot.span.text, tuple(unknown)))
        scope.reported.update(unknown)
        return None
    found = [scope.index(name, env) for name in slot.indices]
    indices = tuple(index for index in found if index is not None)
    if len(indices) < len(found):
        return None
    size = product(index.dim.size for index in indices)
    shown = f"({' '.join(name.id for name in slot.indices)})"
    if not same(size, axis.size):
        scope.report(GroupSize(slot.span, shown, size, axis.size))
        return None
    places = {index: name.span for index, name in zip(indices, slot.indices, strict=True)}
    return Position(Group(indices), dict.fromkeys(indices), places=places)


def _is_unknown(scope: LayerScope, name: ast.Name, env: Env) -> bool:
    """Whether nothing is called so, and nothing was said about it."""
    root = base(name.id)
    return (
        env.frame is None
        and scope.known_index(name.id) is None
        and root not in scope.names
        and root not in scope.reported
        and not scope.dims.broken(root)
    )
