"""Tensors whose cells can be infinite, or have infinite slopes, read under conditions.

`A[j] = 1 / X[j]` and `Y[j] = A[j] if X[j] != 0 else 0`: a gradient of 0 into A becomes 0 * inf on
its way to X. Under a condition such a tensor stands for its expression, which the condition guards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tensorlang.check.program import (
    Along,
    Apply,
    At,
    Equation,
    Expr,
    Index,
    Read,
    Reduce,
    Transform,
)
from tensorlang.check.renaming import Renaming
from tensorlang.check.subexpressions import children

_MOST = 48
"""Expressions of more terms are not written out again."""


@dataclass(slots=True)
class Partial:
    """Pointwise expressions of tensors that may fail to be finite."""

    bodies: dict[str, tuple[tuple[Index, ...], Expr]] = field(default_factory=dict)
    terms: dict[str, int] = field(default_factory=dict)

    def add(self, equation: Equation, body: Expr) -> None:
        """Remember a prepared body, if it is a small pointwise one."""
        if any(len(axis.indices) != 1 for axis in equation.axes):
            return
        terms = self._terms(body)
        if terms is not None and terms <= _MOST:
            self.bodies[equation.name] = tuple(axis.indices[0] for axis in equation.axes), body
            self.terms[equation.name] = terms

    def without(self, name: str) -> Partial:
        """All but one tensor, which is read as it is."""
        bodies = {key: body for key, body in self.bodies.items() if key != name}
        return Partial(bodies, dict(self.terms))

    def _terms(self, expr: Expr) -> int | None:
        """How many terms it has when written out; None if it is not pointwise."""
        if isinstance(expr, Reduce | Along | Transform):
            return None
        if isinstance(expr, Apply) and expr.function == "dropout":  # drawn once for all readers
            return None
        total = self.terms.get(expr.tensor, 1) if isinstance(expr, Read) else 1
        for child in children(expr):
            more = self._terms(child)
            if more is None:
                return None
            total += more
        return total

    def opened(self, expr: Expr, guards: Iterable[Expr]) -> Expr:
        """What a read stands for under these conditions; other expressions as they are.

        A condition that reads the tensor itself does not count.
        """
        if not isinstance(expr, Read) or expr.tensor not in self.bodies:
            return expr
        places = [s.index for s in expr.subscripts if isinstance(s, At)]
        if len(places) < len(expr.subscripts):
            return expr
        if all(_reads(guard, expr.tensor) for guard in guards):
            return expr
        return _renamed(*self.bodies[expr.tensor], places)


def _reads(expr: Expr, tensor: str) -> bool:
    own = isinstance(expr, Read) and expr.tensor == tensor
    return own or any(_reads(child, tensor) for child in children(expr))


def _renamed(indices: Sequence[Index], body: Expr, places: Sequence[Index]) -> Expr:
    return Renaming(now=dict(zip(indices, places, strict=True))).expression(body)
