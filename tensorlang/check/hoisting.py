"""Prints right sides, and makes tensors of what has to stand in statements of its own."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check import terms as t
from tensorlang.check.calls import PendingCall
from tensorlang.check.forms import place_call
from tensorlang.check.indices import Printer
from tensorlang.check.program import (
    Axis,
    Equation,
    Expr,
    Index,
    Statement,
    SubCall,
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

    scope.finalise, scope.body, scope.hoist, scope.call = finalise, body, hoist, call


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
