"""Left sides: their indices must be free on the right."""

from __future__ import annotations

from tensorlang.check import terms as t
from tensorlang.check.errors.indices import EllipsisMisplaced, LeftOnly, ReducedIndexOnLeft
from tensorlang.check.program import (
    Axis,
    Index,
)
from tensorlang.check.scope import LayerScope, Tensor
from tensorlang.source import Span
from tensorlang.syntax import ast


def ellipsis_known(
    scope: LayerScope, declared: ast.Declared, slots: tuple[Axis | None, ...] | None
) -> bool:
    if slots is None or None not in slots or scope.has_ellipsis:
        return True
    where = next(s for s in declared.slots or () if isinstance(s, ast.EllipsisSlot))
    scope.report(EllipsisMisplaced(where.span, "stands on the left, but no input has it"))
    return False


def left_is_fine(
    scope: LayerScope, declared: ast.Declared, target: Tensor, free: t.Free, term: t.Term
) -> bool:
    """Whether every index of the left is on the right."""
    spans = left_spans(scope, declared)
    fine = True
    for index in target.indices:
        if index in free:
            continue
        fine = False
        span = spans.get(index, declared.span)
        binder = bound_at(term, index)
        if binder is not None:
            scope.report(ReducedIndexOnLeft(span, index.name, binder))
        else:
            scope.report(LeftOnly(span, index.name, declared.name))
        if index.ellipsis:
            break
    return fine


def left_spans(scope: LayerScope, declared: ast.Declared) -> dict[Index, Span]:
    """Where the indices of a left side are written."""
    out: dict[Index, Span] = {}
    for slot in declared.slots or ():
        match slot:
            case ast.ExprSlot(ast.Name() as name):
                names: tuple[ast.Name, ...] = (name,)
            case ast.GroupSlot(indices):
                names = indices
            case ast.EllipsisSlot(span):
                out.update(dict.fromkeys(scope.ellipsis, span))
                continue
            case _:
                continue
        for name in names:
            index = scope.known_index(name.id)
            if index is not None:
                out[index] = name.span
    return out


def bound_at(root: t.Term, index: Index) -> Span | None:
    """Where an operator of the right side binds an index."""
    todo: list[t.Term] = [root]
    while todo:
        term = todo.pop()
        match term:
            case t.Sum(terms=parts):
                todo += [part for _, part in parts]
            case t.Product(factors=parts):
                todo += [part for _, part in parts]
            case t.Negation(body=body) | t.Opaque(body=body):
                todo.append(body)
            case t.Function(args=args) | t.SubLayer(args=args):
                todo += args
            case t.Reduction() | t.Along():
                if isinstance(term, t.Reduction) and index in term.indices:
                    return term.span
                todo += [term.body] if term.where is None else [term.where, term.body]
            case t.Transform():
                if index in term.source:
                    return term.span
                todo += term.args
            case t.At():
                if index == term.index:
                    return term.span
                todo.append(term.body)
            case t.Gradient():
                if index in term.body.free:
                    return term.span
            case _:
                pass
    return None
