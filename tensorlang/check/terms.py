"""Terms: an expression with its names resolved and `def`s substituted, before its sums are placed.

`expressions` builds them bottom up with their free indices and dtypes; `indices` decides where
the implicit sums go and prints `program.Expr`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorlang.check.program import (
    AlongOp,
    Expr,
    Index,
    Literal,
    ReduceOp,
    Subscript,
    TransformOp,
)
from tensorlang.dtype import Dtype
from tensorlang.source import Span

if TYPE_CHECKING:
    from tensorlang.check.calls import Match

Free = dict[Index, None]
"""A set of indices in order of first mention."""


@dataclass(slots=True, eq=False, kw_only=True)
class Term:
    """`bad` says that a mistake inside was reported: whatever follows from it stays silent."""

    span: Span
    free: Free = field(default_factory=dict)
    dtype: Dtype = Dtype.REAL
    bad: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Bad(Term):
    """Something that was reported."""

    bad: bool = True


@dataclass(slots=True, eq=False, kw_only=True)
class Leaf(Term):
    """A literal, a size, an index value or a read. `places` says where each index is written.

    `binders` says that an index is bound within a subscript.
    """

    expr: Expr
    places: dict[Index, Span] = field(default_factory=dict)
    binders: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Sum(Term):
    terms: tuple[tuple[bool, Term], ...]  # (negative, term)


@dataclass(slots=True, eq=False, kw_only=True)
class Product(Term):
    """Factors of nested products are flattened, their signs collected in `negative`."""

    factors: tuple[tuple[bool, Term], ...]  # (divides, factor)
    negative: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Negation(Term):
    body: Term


@dataclass(slots=True, eq=False, kw_only=True)
class Function(Term):
    """A pointwise function of the library; `shown` is how the source writes it."""

    name: str
    shown: str
    args: tuple[Term, ...]
    site: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class Reduction(Term):
    op: ReduceOp
    indices: tuple[Index, ...]
    where: Term | None
    body: Term


@dataclass(slots=True, eq=False, kw_only=True)
class Along(Term):
    op: AlongOp
    indices: tuple[Index, ...]
    where: Term | None
    body: Term


@dataclass(slots=True, eq=False, kw_only=True)
class Transform(Term):
    op: TransformOp
    source: tuple[Index, ...]
    target: tuple[Index, ...]
    args: tuple[Term, ...]
    norm: str = "backward"


@dataclass(slots=True, eq=False, kw_only=True)
class At(Term):
    """`at[index = position](body)`."""

    index: Index
    position: Subscript
    outside: Literal | None
    position_free: Free
    body: Term


@dataclass(slots=True, eq=False, kw_only=True)
class SubLayer(Term):
    """A call of a sub-layer; `match` says how its dims meet the caller's indices."""

    match: Match
    args: tuple[Term, ...]


@dataclass(slots=True, eq=False, kw_only=True)
class Gradient(Term):
    """`grad[by](body)`: `by` reads a tensor at an index of its own for each axis."""

    by: Leaf
    body: Term


@dataclass(slots=True, eq=False, kw_only=True)
class Opaque(Term):
    """A substituted `def`: no outer sum enters it. `args` are those that its body reads."""

    name: str
    body: Term
    args: tuple[tuple[Span, Term], ...]


def union(frees: Iterable[Free]) -> Free:
    out: Free = {}
    for free in frees:
        out.update(free)
    return out


def without(free: Free, bound: Iterable[Index]) -> Free:
    gone = set(bound)
    return {index: None for index in free if index not in gone}
