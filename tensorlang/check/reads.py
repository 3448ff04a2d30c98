"""References: a tensor at its own indices, at affine, gathered, fixed positions; boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tensorlang.check import terms as t
from tensorlang.check.bounds import affine, inside
from tensorlang.check.errors.bounds import (
    BoundaryMisused,
    ElseDiffers,
    ElseValue,
    MayBeOutside,
    NegativePosition,
    SubscriptType,
)
from tensorlang.check.errors.dims import AxisSize, GroupSize, GroupUnknown
from tensorlang.check.errors.indices import EllipsisMisplaced, Rank
from tensorlang.check.errors.names import WronglyUsed
from tensorlang.check.errors.types import Arity, ConstReads
from tensorlang.check.mentions import base
from tensorlang.check.names import BOUNDARIES
from tensorlang.check.program import (
    AffineAt,
    Along,
    Apply,
    At,
    Axis,
    Boundary,
    ComputedAt,
    Expr,
    Group,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    SizeValue,
    Subscript,
    Transform,
)
from tensorlang.check.scope import Env, Kind, LayerScope, Tensor, own, shown_axis
from tensorlang.check.types import ARTICLE, INT, convert, dtype_of_value
from tensorlang.size import Size, product, same
from tensorlang.source import Span
from tensorlang.syntax import ast


@dataclass(slots=True)
class Position:
    """A subscript, its free indices, what stands outside, and where its indices are written."""

    subscript: Subscript
    free: t.Free
    otherwise: Literal | None = None
    otherwise_span: Span | None = None
    places: dict[Index, Span] = field(default_factory=dict)
    binders: bool = False
    assumed: bool = False  # inside where the conditions around it hold, else it reads as anything


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
    if any(found is None for found in positions):
        return t.Bad(span=call.span)
    found = [position for position in positions if position is not None]
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
            _expression(scope, slot.expr, env)


def _otherwise(
    scope: LayerScope, tensor: Tensor, positions: Sequence[Position]
) -> tuple[Literal | None, bool]:
    """The one value outside, as the tensor's kind of number."""
    first: Position | None = None
    fine = True
    for position in positions:
        if position.otherwise is None:
            continue
        span = position.otherwise_span
        assert span is not None, position
        if position.otherwise.dtype > tensor.dtype:
            kinds = (ARTICLE[position.otherwise.dtype], ARTICLE[tensor.dtype])
            scope.report(ElseValue(span, f"is {kinds[0]}, {tensor.name} is {kinds[1]}"))
            fine = False
        elif first is None:
            first = position
        elif first.otherwise is not None and first.otherwise.value != position.otherwise.value:
            assert first.otherwise_span is not None, first
            scope.report(ElseDiffers(span, first.otherwise_span))
            fine = False
    if not fine:
        return None, False
    if first is not None and first.otherwise is not None:
        return Literal(convert(first.otherwise.value, tensor.dtype), tensor.dtype), True
    if any(position.assumed for position in positions):
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


@dataclass(frozen=True, slots=True)
class Target:
    """What a subscript reads, for messages. `tensor` is None for `at` and scatter targets."""

    name: str
    axis: str
    declared: Span
    tensor: Tensor | None = None
    scatter: bool = False


def position(
    scope: LayerScope,
    slot: ast.ExprSlot,
    size: Size,
    axis: str,
    env: Env,
    target: Target | None = None,
) -> Position | None:
    """A subscript on an axis of this size; None if a mistake was reported."""
    target = target or Target("the expression", axis, slot.span)
    boundary, expr = Boundary.INSIDE, slot.expr
    if isinstance(expr, ast.Call) and expr.name in BOUNDARIES and expr.slots is None:
        if len(expr.args or ()) != 1 or (expr.args or ())[0].name is not None:
            scope.report(Arity(expr.span, expr.name, "1 argument", len(expr.args or ())))
            return None
        if slot.otherwise is not None:
            rule = "brings every position inside: it takes no else"
            scope.report(BoundaryMisused(slot.span, expr.name, rule))
            return None
        boundary, expr = Boundary(expr.name), (expr.args or ())[0].expr
    otherwise = None
    if slot.otherwise is not None:
        boundary = Boundary.ELSE
        if not target.scatter:
            otherwise = _else_value(scope, slot.otherwise, env)
            if otherwise is None:
                return None
    found = _placed(scope, expr, size, boundary, env, target)
    if found is not None and otherwise is not None:
        found.otherwise = otherwise
        found.otherwise_span = slot.otherwise.span if slot.otherwise is not None else None
    return found


def _else_value(scope: LayerScope, expr: ast.Expr, env: Env) -> Literal | None:
    if isinstance(expr, ast.Name) and expr.id == "drop":
        scope.report(
            BoundaryMisused(expr.span, "else drop", "belongs to the left of +=, max= and min=")
        )
        return None
    term = scope.expression(expr, env)
    if term.bad:
        return None
    value = scope.finalise(term)
    if isinstance(value, Literal):
        return value
    if isinstance(value, SizeValue) and not isinstance(value.size, int):
        return Literal(0, INT)  # a hyperparameter that is not bound yet
    constant = scope.dims.constant(expr, "value") if not term.free and env.frame is None else None
    if isinstance(constant, bool | int | float):
        return Literal(constant, dtype_of_value(constant))
    if constant is not None:
        return Literal(0, INT)  # likewise
    scope.report(ElseValue(expr.span, "must be a constant"))
    return None


def _expression(scope: LayerScope, expr: ast.Expr, env: Env) -> t.Term:
    return scope.expression(expr, env)


def _placed(
    scope: LayerScope, expr: ast.Expr, size: Size, boundary: Boundary, env: Env, target: Target
) -> Position | None:
    """The subscript for a position, proved inside or with its boundary."""
    term = _expression(scope, expr, env)
    if term.bad:
        return None
    if term.dtype is not INT:
        scope.report(SubscriptType(expr.span, ARTICLE[term.dtype]))
        return None
    value = scope.finalise(term)
    places = dict(term.places) if isinstance(term, t.Leaf) else dict.fromkeys(term.free, expr.span)
    if isinstance(value, IndexValue) and boundary is Boundary.INSIDE and not target.scatter:
        return _whole(scope, value.index, size, expr, env, target, places)
    if boundary is Boundary.INSIDE:
        found, assumed = _bounded(scope, value, size, expr, env, target)
        if found is None:
            return None
        boundary = found
    else:
        assumed = False
    binders = False
    subscript: Subscript
    if (form := affine(value)) is not None:
        subscript = AffineAt(form, boundary)
        free = dict.fromkeys(index for index, _ in form.terms)
    else:
        subscript = ComputedAt(value, boundary)
        free = dict(term.free)
        binders = _binds(value)
    return Position(subscript, free, places=places, binders=binders, assumed=assumed)


def _whole(
    scope: LayerScope,
    index: Index,
    size: Size,
    expr: ast.Expr,
    env: Env,
    target: Target,
    places: dict[Index, Span],
) -> Position | None:
    """A subscript that is just an index: of its own dim or one of equal size, or proved."""
    if same(index.dim.size, size):
        return Position(At(index), {index: None}, places=places)
    value = IndexValue(index)
    facts = [fact for fact in env.facts if index in fact.free]
    computed = scope.dims.at_least_one()
    if facts and inside(value, size, [*computed, *_facts(scope, env)], scope.tables):
        form = affine(value)
        assert form is not None, value
        return Position(AffineAt(form, Boundary.ELSE), {index: None}, places=places, assumed=True)
    scope.report(
        AxisSize(
            expr.span, target.name, target.axis, size, index.name, index.dim.size, target.declared
        )
    )
    return None


def _facts(scope: LayerScope, env: Env) -> list[Expr]:
    return [scope.finalise(fact) for fact in env.facts]


def _bounded(
    scope: LayerScope, value: Expr, size: Size, expr: ast.Expr, env: Env, target: Target
) -> tuple[Boundary | None, bool]:
    """INSIDE if proved for all cells, ELSE if only under conditions, CHECKED if gathered."""
    if isinstance(value, Literal) and isinstance(value.value, int) and value.value < 0:
        scope.report(NegativePosition(expr.span, target.axis, value.value))
        return None, False
    if inside(value, size, (), scope.tables):
        return Boundary.INSIDE, False
    computed = scope.dims.at_least_one()
    if computed and inside(value, size, computed, scope.tables):
        return Boundary.INSIDE, False
    if env.facts and inside(value, size, [*computed, *_facts(scope, env)], scope.tables):
        return Boundary.ELSE, True
    if any(name not in scope.tables for name in _reads(value)):
        return Boundary.CHECKED, False
    text = " ".join(expr.span.text.split())
    scope.report(
        MayBeOutside(
            expr.span, text, target.name, target.axis, size, target.declared, target.scatter
        )
    )
    return Boundary.CHECKED, False  # go on as if it were gathered


def _reads(expr: Expr) -> list[str]:
    """Tensors that an expression reads."""
    out: list[str] = []
    todo: list[Expr] = [expr]
    while todo:
        node = todo.pop()
        match node:
            case Read():
                out.append(node.tensor)
                todo += [s.value for s in node.subscripts if isinstance(s, ComputedAt)]
            case Apply(args=args) | Transform(args=args):
                todo += args
            case Reduce() | Along():
                todo.append(node.body)
                todo += [] if node.where is None else [node.where]
            case Literal() | SizeValue() | IndexValue():
                pass
    return out


def _binds(expr: Expr) -> bool:
    todo: list[Expr] = [expr]
    while todo:
        node = todo.pop()
        match node:
            case Reduce() | Transform():
                return True
            case Read():
                todo += [s.value for s in node.subscripts if isinstance(s, ComputedAt)]
            case Apply(args=args):
                todo += args
            case Along():
                todo.append(node.body)
                todo += [] if node.where is None else [node.where]
            case Literal() | SizeValue() | IndexValue():
                pass
    return False
