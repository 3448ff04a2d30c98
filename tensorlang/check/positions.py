"""One subscript: affine, gathered or fixed, proved inside or with its boundary."""

from __future__ import annotations

from dataclasses import dataclass, field

from tensorlang.check import terms as t
from tensorlang.check.bounds import affine, inside
from tensorlang.check.errors.bounds import (
    BoundaryMisused,
    ElseValue,
    MayBeOutside,
    NegativePosition,
    SubscriptType,
    UnprovedRead,
)
from tensorlang.check.errors.dims import AxisSize
from tensorlang.check.errors.types import Arity
from tensorlang.check.names import BOUNDARIES
from tensorlang.check.program import (
    AffineAt,
    Along,
    Apply,
    At,
    Boundary,
    ComputedAt,
    Expr,
    Index,
    IndexValue,
    Literal,
    Read,
    Reduce,
    SizeValue,
    Subscript,
    Transform,
)
from tensorlang.check.scope import Env, LayerScope, Tensor
from tensorlang.check.types import ARTICLE, INT, dtype_of_value
from tensorlang.size import Size, same
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


def _placed(
    scope: LayerScope, expr: ast.Expr, size: Size, boundary: Boundary, env: Env, target: Target
) -> Position | None:
    """The subscript for a position, proved inside or with its boundary."""
    term = scope.expression(expr, env)
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
    if _unbound(value, size):
        scope.report(UnprovedRead(expr.span, text, target.name, target.axis, size))
        return Boundary.CHECKED, False
    scope.report(
        MayBeOutside(
            expr.span, text, target.name, target.axis, size, target.declared, target.scatter
        )
    )
    return Boundary.CHECKED, False  # go on as if it were gathered


def _unbound(value: Expr, size: Size) -> bool:
    """Whether a hyperparameter without a value is in a position or a size."""
    sizes = [size]
    todo = [value]
    while todo:
        match todo.pop():
            case SizeValue(found):
                sizes.append(found)
            case IndexValue(index):
                sizes.append(index.dim.size)
            case Apply(args=args):
                todo += args
            case _:
                pass
    return any(s.is_positive for part in sizes for s in getattr(part, "free_symbols", ()))


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
