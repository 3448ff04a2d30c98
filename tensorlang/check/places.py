"""Where an index could be summed within a term, and what `grad` makes of it."""

from __future__ import annotations

from collections.abc import Sequence, Set

from tensorlang.check import terms as t
from tensorlang.check.errors.gradients import GradReadings, GradSums
from tensorlang.check.program import Index
from tensorlang.check.scope import LayerScope


def holds(term: t.Term, index: Index) -> bool:
    """Whether the term has a place of its own where the index could be summed."""
    match term:
        case t.Sum():
            return any(holds(part, index) for _, part in term.terms if index in part.free)
        case t.Product():
            having = [factor for _, factor in term.factors if index in factor.free]
            return len(having) > 1 or (len(having) == 1 and holds(having[0], index))
        case t.Negation(body=body):
            return holds(body, index)
        case t.Function(args=args) | t.SubLayer(args=args):
            return _one_holds(args, index)
        case t.Reduction():
            parts = [term.body] if term.where is None else [term.where, term.body]
            return _one_holds(parts, index)
        case t.Along():
            parts = [term.body] if term.where is None else [term.where, term.body]
            return index not in term.indices and _one_holds(parts, index)
        case t.Transform(args=args):
            return index not in term.target and _one_holds(args, index)
        case t.At(body=body):
            return index not in term.position_free and holds(body, index)
        case _:
            return False


def _one_holds(args: Sequence[t.Term], index: Index) -> bool:
    having = [arg for arg in args if index in arg.free]
    return len(having) == 1 and holds(having[0], index)


def report_sums(scope: LayerScope, term: t.Gradient, left: Set[Index]) -> None:
    """Report sums of what is differentiated that may be meant otherwise."""
    for index in term.body.free:
        if (part := _elsewhere(term.body, index)) is not None:
            scope.report(GradReadings(part.span, index.name))
        elif index in left and index not in term.free:
            scope.report(GradSums(term.span, index.name, term.body.span))


def _elsewhere(term: t.Term, index: Index) -> t.Term | None:
    """The part in which a sum would be placed that is not the sum of the whole."""
    match term:
        case t.Negation(body=body):
            return _elsewhere(body, index)
        case t.Function(name="real" | "imag" | "conj", args=(body,)):
            return _elsewhere(body, index)
        case t.Product():
            having = [(divides, f) for divides, f in term.factors if index in f.free]
            if len(having) > 1:
                return None
            ((divides, factor),) = having
            if divides:
                return factor if holds(factor, index) else None
            return _elsewhere(factor, index)
        case t.Sum():
            parts = [part for _, part in term.terms]
            if all(index in part.free for part in parts):
                found = (_elsewhere(part, index) for part in parts)
                return next((part for part in found if part is not None), None)
            return next((part for part in parts if index in part.free and holds(part, index)), None)
        case _:
            return term if holds(term, index) else None
