"""One walk over a layer's syntax before it is checked: which names are indices, what groups tell,
where tensors are defined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tensorlang.source import Span
from tensorlang.syntax import ast


@dataclass(frozen=True, slots=True)
class GroupMention:
    """`tensor[..., (h c), ...]`: the group stands at `position` of `count` slots."""

    tensor: str
    position: int
    count: int
    group: ast.GroupSlot


@dataclass(slots=True)
class Mentions:
    """`indices`: base names that stand where only an index can (declarations, operators' slots).

    `groups`: for a base name, the reads that have it in a group. `defined`: the targets of a
    tensor, in source order. `declared`: the first declaration of a tensor.
    """

    indices: set[str] = field(default_factory=set)
    groups: dict[str, list[GroupMention]] = field(default_factory=dict)
    defined: dict[str, list[Span]] = field(default_factory=dict)
    declared: dict[str, ast.Declared] = field(default_factory=dict)


def mentions(layer: ast.Layer) -> Mentions:
    """Collect what the layer's statements mention."""
    out = Mentions()
    for statement in layer.body:
        match statement:
            case ast.InputDecl(tensors) | ast.ParamDecl(tensors=tensors):
                for tensor in tensors:
                    _declared(tensor, out)
            case ast.ConstDecl(tensor, value):
                _declared(tensor, out)
                _expression(value, out)
            case ast.IndexDecl(names, dim):
                out.indices.update(base(name.id) for name in (*names, dim))
            case ast.DimDecl(dims):
                out.indices.update(binding.name for binding in dims)
            case ast.Equation(targets, _, body):
                for target in targets:
                    _declared(target, out)
                    out.defined.setdefault(target.name, []).append(target.span)
                _expression(body, out)
            case ast.SubDecl() | ast.CheckDecl():
                pass
    return out


def base(name: str) -> str:
    return name.rstrip("'")


def index_names(slots: tuple[ast.Slot, ...]) -> Iterator[ast.Name]:
    """Names that stand directly in slots: `n`, `(h c)`, `n = ...`, `a, b -> c`."""
    for slot in slots:
        match slot:
            case ast.ExprSlot(ast.Name() as name):
                yield name
            case ast.GroupSlot(indices):
                yield from indices
            case ast.BindSlot(left, _) | ast.TypedSlot(left):
                yield from index_names((left,))
            case ast.ArrowSlot(left, right):
                yield from index_names((left, right))
            case ast.ExprSlot() | ast.EllipsisSlot():
                pass


def _declared(tensor: ast.Declared, out: Mentions) -> None:
    out.declared.setdefault(tensor.name, tensor)
    out.indices.update(base(name.id) for name in index_names(tensor.slots or ()))


def _expression(root: ast.Expr, out: Mentions) -> None:
    for call in calls(root):
        slots = call.slots or ()
        if call.name == "grad":
            continue
        if call.args is not None:
            out.indices.update(base(name.id) for name in index_names(slots))
            for slot in slots:
                if isinstance(slot, ast.BindSlot) and call.name != "at":
                    out.indices.update(base(name.id) for name in index_names((slot.right,)))
            continue
        for position, slot in enumerate(slots):
            if isinstance(slot, ast.GroupSlot):
                mention = GroupMention(call.name, position, len(slots), slot)
                for name in slot.indices:
                    out.groups.setdefault(base(name.id), []).append(mention)


def calls(root: ast.Expr) -> Iterator[ast.Call]:
    """Every call and reference within an expression."""
    return (node for node in nodes(root) if isinstance(node, ast.Call))


def nodes(root: ast.Expr) -> Iterator[ast.Expr]:
    """Every expression within an expression, itself first; no recursion."""
    todo: list[ast.Expr] = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(children(node)))


def children(expr: ast.Expr) -> list[ast.Expr]:
    match expr:
        case ast.Sum(terms):
            return [term.expr for term in terms]
        case ast.Product(factors):
            return [factor.expr for factor in factors]
        case ast.IntDivide(left, right) | ast.Power(left, right):
            return [left, right]
        case ast.Negate(body) | ast.Not(body):
            return [body]
        case ast.Compare(operands) | ast.And(operands) | ast.Or(operands):
            return list(operands)
        case ast.IfElse(then, condition, otherwise):
            return [then, condition, otherwise]
        case ast.ListExpr(items):
            return list(items)
        case ast.Call():
            out = [part for slot in expr.slots or () for part in _slot_expressions(slot)]
            out += [expr.where] if expr.where is not None else []
            return out + [argument.expr for argument in expr.args or ()]
        case ast.Number() | ast.String() | ast.Name() | ast.SizeOf():
            return []


def _slot_expressions(slot: ast.Slot) -> list[ast.Expr]:
    match slot:
        case ast.ExprSlot(expr, otherwise):
            return [expr] if otherwise is None else [expr, otherwise]
        case ast.BindSlot(left, right) | ast.ArrowSlot(left, right):
            return _slot_expressions(left) + _slot_expressions(right)
        case ast.TypedSlot(inner, type_):
            return [*_slot_expressions(inner), type_]
        case ast.GroupSlot(indices):
            return list(indices)
        case ast.EllipsisSlot():
            return []
