"""Prints right sides, and makes tensors of what has to stand in statements of its own."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check import terms as t
from tensorlang.check.calls import PendingCall
from tensorlang.check.forms import place_call
from tensorlang.check.indices import Printer
from tensorlang.check.program import (
    At,
    Axis,
    Equation,
    Expr,
    Gradient,
    Group,
    Index,
    Read,
    ReduceOp,
    Statement,
    SubCall,
    subscript_indices,
)
from tensorlang.check.renaming import Renaming
from tensorlang.check.scope import InHand, LayerScope, Tensor
from tensorlang.check.types import cast, dtype_of
from tensorlang.dtype import Dtype
from tensorlang.source import Span


def prepare(scope: LayerScope) -> None:
    """Give the scope its ways to print and hoist terms."""

    def finalise(term: t.Term) -> Expr:
        return Printer(scope, Renaming()).print(term)

    def body(term: t.Term, left: tuple[Index, ...], text: str, span: Span) -> Expr:
        return printed(scope, term, left, text, span)

    def hoist(
        term: t.Term,
        sums: tuple[Index, ...],
        wish: str,
        axes: tuple[Axis, ...] | None = None,
        dtype: Dtype | None = None,
    ) -> str:
        return _hoist(scope, term, sums, wish, axes, dtype)

    def call(
        term: t.SubLayer,
        sums: tuple[tuple[Index, ...], ...],
        targets: Sequence[Tensor] | None,
    ) -> str:
        return place_call(scope, term, sums, targets)

    def gradient(term: t.Gradient) -> str:
        return _gradient(scope, term)

    scope.finalise, scope.body, scope.hoist, scope.call = finalise, body, hoist, call
    scope.gradient = gradient


def printed(
    scope: LayerScope, term: t.Term, left: tuple[Index, ...], text: str, span: Span
) -> Expr:
    """Place the sums of a right side over all its indices that the left lacks."""
    printer = Printer(scope, Renaming(set(left)), text, span)
    kept = set(left)
    return printer.print(term, tuple(index for index in term.free if index not in kept))


def _hoist(
    scope: LayerScope,
    term: t.Term,
    sums: tuple[Index, ...],
    wish: str,
    axes: tuple[Axis, ...] | None,
    dtype: Dtype | None,
) -> str:
    if axes is None:
        axes = tuple(Axis((index,)) for index in t.without(term.free, sums))
    left = [index for axis in axes for index in axis.indices]
    printer = Printer(scope, Renaming(set(left)))
    body = printer.print(term, sums)
    dtype = dtype_of(body) if dtype is None else dtype
    name = scope.define_temporary(wish, axes, dtype, term.span)
    scope.statement.hoisted.append(
        Equation(name, axes, dtype, cast(body, dtype), term.span, temporary=True)
    )
    return name


def _gradient(scope: LayerScope, term: t.Gradient) -> str:
    """Define the derivative of a term's sum; several readers share it."""
    hand = scope.statement
    key = (id(term), ())
    if (known := hand.temporaries.get(key)) is not None:
        return known
    read = term.by.expr
    assert isinstance(read, Read), term
    by = scope.tensors[read.tensor]
    value = _whole(term.body)
    if value is None:
        value = _hoist(scope, _total(term.body), (), "grad_of", (), Dtype.REAL)
    name = scope.define_temporary(f"grad_{by.name}", by.axes, by.dtype, term.span)
    hand.hoisted.append(Gradient(name, by.axes, by.dtype, value, by.name, term.span))
    hand.temporaries[key] = name
    hand.kept.append(term)
    return name


def _whole(term: t.Term) -> str | None:
    """The tensor of which a term is all cells, each once."""
    if not isinstance(term, t.Leaf) or not isinstance(term.expr, Read):
        return None
    subscripts = term.expr.subscripts
    indices = [index for s in subscripts for index in subscript_indices(s)]
    plain = all(isinstance(s, At | Group) for s in subscripts) and term.expr.otherwise is None
    return term.expr.tensor if plain and len(set(indices)) == len(indices) else None


def _total(term: t.Term) -> t.Term:
    """The sum over all free indices."""
    if not term.free:
        return term
    return t.Reduction(
        span=term.span,
        dtype=term.dtype,
        op=ReduceOp.SUM,
        indices=tuple(term.free),
        where=None,
        body=term,
    )


def finish(scope: LayerScope) -> list[Statement]:
    """The statements that the one at hand hoisted, their calls resolved."""
    out: list[Statement] = []
    for statement in scope.statement.hoisted:
        if not isinstance(statement, PendingCall):
            out.append(statement)
            continue
        sub = statement.sub
        assert sub.source is not None, sub
        interface = scope.session.layer(sub.source, sub.bind, statement.form, sub.span)
        if interface is not None:
            out.append(
                SubCall(
                    sub.name, interface.program, statement.inputs, statement.outputs, statement.span
                )
            )
    scope.statement = InHand()
    return out
