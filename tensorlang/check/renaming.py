"""Bound indices of one statement: each is bound once, and is free nowhere in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from tensorlang.check.program import (
    Affine,
    AffineAt,
    Along,
    Apply,
    At,
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


@dataclass(slots=True)
class Renaming:
    """Which indices the statement has used, and what those bound at this place are called now."""

    used: set[Index] = field(default_factory=set)
    now: dict[Index, Index] = field(default_factory=dict)
    next: dict[Index, int] = field(default_factory=dict)  # where to look for a free name

    def index(self, index: Index) -> Index:
        return self.now.get(index, index)

    def bind(self, indices: tuple[Index, ...]) -> tuple[tuple[Index, ...], list[Index | None]]:
        """Give bound indices names of their own; `unbind` takes the second value."""
        fresh, before = [], []
        for index in indices:
            new = index
            if new in self.used:
                new = replace(new, fresh=self.next.get(index, new.fresh + 1))
                while new in self.used:
                    new = replace(new, fresh=new.fresh + 1)
                self.next[index] = new.fresh + 1
            self.used.add(new)
            fresh.append(new)
            before.append(self.now.get(index))
            if new != index:
                self.now[index] = new
        return tuple(fresh), before

    def unbind(self, indices: tuple[Index, ...], before: list[Index | None]) -> None:
        for index, old in zip(indices, before, strict=True):
            if old is not None:
                self.now[index] = old
            else:
                self.now.pop(index, None)

    # --- finished expressions --------------------------------------------------------------------
    def expression(self, expr: Expr) -> Expr:
        """Rename the free indices of a finished expression, and bind its bound ones anew."""
        match expr:
            case Literal() | SizeValue():
                return expr
            case IndexValue(index):
                return IndexValue(self.index(index))
            case Apply():
                return replace(expr, args=tuple(self.expression(arg) for arg in expr.args))
            case Read():
                return replace(expr, subscripts=tuple(map(self.subscript, expr.subscripts)))
            case Reduce():
                indices, before = self.bind(expr.indices)
                where = None if expr.where is None else self.expression(expr.where)
                body = self.expression(expr.body)
                self.unbind(expr.indices, before)
                return replace(expr, indices=indices, where=where, body=body)
            case Along():
                where = None if expr.where is None else self.expression(expr.where)
                indices = tuple(map(self.index, expr.indices))
                return replace(expr, indices=indices, where=where, body=self.expression(expr.body))
            case Transform():
                target = tuple(map(self.index, expr.target))
                source, before = self.bind(expr.source)
                args = tuple(self.expression(arg) for arg in expr.args)
                self.unbind(expr.source, before)
                return replace(expr, source=source, target=target, args=args)
        assert_never(expr)

    def subscript(self, subscript: Subscript) -> Subscript:
        match subscript:
            case At(index):
                return At(self.index(index))
            case Group(indices):
                return Group(tuple(map(self.index, indices)))
            case AffineAt(affine, boundary):
                terms = tuple((self.index(index), k) for index, k in affine.terms)
                return AffineAt(Affine(terms, affine.offset), boundary)
            case ComputedAt(value, boundary):
                return ComputedAt(self.expression(value), boundary)
        assert_never(subscript)
