"""What the checker knows of one layer: names, dims, tensors, and the statement at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from tensorlang.check.errors.names import NameTaken, ReservedName, UnknownName, WronglyUsed
from tensorlang.check.mentions import Mentions, base
from tensorlang.check.names import reserved
from tensorlang.check.program import (
    At,
    Axis,
    Const,
    Expr,
    Factored,
    Group,
    Index,
    Param,
    Statement,
    Subscript,
    Value,
)
from tensorlang.check.terms import Gradient, SubLayer, Term
from tensorlang.diagnostics import Diagnostic
from tensorlang.dtype import Dtype
from tensorlang.library.factorisation import Form
from tensorlang.size import Size
from tensorlang.source import Span
from tensorlang.syntax import ast

if TYPE_CHECKING:
    from tensorlang.check.calls import PendingCall, SubLayerInfo
    from tensorlang.check.dims import Dims
    from tensorlang.check.session import Session
    from tensorlang.check.spec import DefSource, LayerSource


class Kind(Enum):
    """What a name of a layer stands for."""

    HYPER = "a hyperparameter"
    DIM = "a dim"
    INDEX = "an index"
    INPUT = "an input"
    PARAM = "a param"
    CONST = "a const"
    EQUATION = "a tensor"
    SUB = "a sub-layer"


TENSORS = (Kind.INPUT, Kind.PARAM, Kind.CONST, Kind.EQUATION)


@dataclass(frozen=True, slots=True)
class Named:
    kind: Kind
    span: Span


@dataclass(frozen=True, slots=True)
class Tensor:
    """A declared tensor. `slots` are its axes as written, None for `...`.

    `axes` are those of the program: the slots with `...` replaced, then put in `order` (an axis of
    the program is expanded slot `order[k]`). A bad tensor poisons what reads it.
    """

    name: str
    kind: Kind
    slots: tuple[Axis | None, ...]
    axes: tuple[Axis, ...]
    order: tuple[int, ...]
    dtype: Dtype
    span: Span
    bad: bool = False

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(index for axis in self.axes for index in axis.indices)

    def shown(self) -> str:
        """The axes as the source writes them: "[..., n, (h c)]"."""
        return f"[{', '.join(shown_axis(slot) for slot in self.slots)}]"


def shown_axis(axis: Axis | None) -> str:
    if axis is None:
        return "..."
    names = " ".join(index.name for index in axis.indices)
    return names if len(axis.indices) == 1 else f"({names})"


def own(axis: Axis) -> Subscript:
    """The subscript that reads an axis at its own indices."""
    return At(axis.indices[0]) if len(axis.indices) == 1 else Group(axis.indices)


@dataclass(slots=True, eq=False)
class Thunk:
    """An argument of a `def`: read wherever it stands, under the conditions that hold there."""

    expr: ast.Expr
    env: Env
    read: dict[tuple[int, ...], tuple[Term, int]] = field(default_factory=dict)

    def terms(self) -> list[Term]:
        """What it was read as."""
        return [term for term, _ in self.read.values()]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The inside of a `def` that is being substituted."""

    source: DefSource
    arguments: Mapping[str, Thunk]
    indices: Mapping[str, Index]
    chain: tuple[DefSource, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Env:
    """Where an expression stands: the conditions that hold, the `def` it is the body of.

    `local` are the primed indices that an operator of the def's body binds. `const` names the const
    whose value is being read.
    """

    facts: tuple[Term, ...] = ()
    frame: Frame | None = None
    local: Mapping[str, Index] = field(default_factory=dict)
    const: str | None = None


@dataclass(slots=True)
class InHand:
    """The statement that is being checked: what it hoists, and how much its defs have expanded."""

    hoisted: list[Statement | PendingCall] = field(default_factory=list)
    temporaries: dict[tuple[int, tuple[Index, ...]], str] = field(default_factory=dict)
    kept: list[Term] = field(default_factory=list)  # so that ids stay unique
    locals: int = 0  # indices that defs bind for themselves
    expanded: int = 0
    exhausted: bool = False


Body = Callable[[Term, tuple[Index, ...], str, Span], Expr]
"""Places the sums of a right side, given the left's indices and its text."""


class Hoist(Protocol):
    """Defines a temporary tensor of a term's value; gives its name."""

    def __call__(
        self,
        term: Term,
        sums: tuple[Index, ...],
        wish: str,
        axes: tuple[Axis, ...] | None = None,
        dtype: Dtype | None = None,
    ) -> str: ...


Call = Callable[
    ["SubLayer", tuple[tuple[Index, ...], ...], Sequence["Tensor"] | None],
    str,
]
"""Hoists a call of a sub-layer; gives the name of its first output."""


Derive = Callable[["Gradient"], str]
"""Hoists what `grad` is of, and its derivative; gives the name of the latter."""


@dataclass(slots=True, eq=False)
class LayerScope:
    """Everything about the layer at hand. `ellipsis` are the indices that `...` stands for."""

    session: Session
    source: LayerSource
    mentions: Mentions
    hypers: dict[str, Value | None]
    hyper_spans: dict[str, Span]
    ellipsis: tuple[Index, ...]
    has_ellipsis: bool
    dims: Dims = field(init=False)
    names: dict[str, Named] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    subs: dict[str, SubLayerInfo] = field(default_factory=dict)
    params: list[Param] = field(default_factory=list)
    consts: list[Const] = field(default_factory=list)
    tables: dict[str, tuple[int, int]] = field(default_factory=dict)
    fan_in: dict[str, Size] = field(default_factory=dict)
    ranks: Mapping[str, Value] = field(default_factory=dict)  # bound for params by tol
    factored: list[Factored] = field(default_factory=list)
    forms: dict[str, Form] = field(default_factory=dict)  # of factored params
    index_dims: dict[str, ast.Name] = field(default_factory=dict)
    indices: dict[str, Index | None] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    poisoned: set[str] = field(default_factory=set)
    scatter_names: set[str] = field(default_factory=set)
    temporary_names: set[str] = field(default_factory=set)
    temporary_counts: dict[str, int] = field(default_factory=dict)
    statement: InHand = field(default_factory=InHand)
    pending_scatters: dict[str, Span] = field(default_factory=dict)
    def_calls: list[ast.Call] = field(default_factory=list)  # being substituted, outermost first
    sites: int = 0
    depth: int = 0
    expression: Callable[[ast.Expr, Env], Term] = field(init=False)
    finalise: Callable[[Term], Expr] = field(init=False)
    body: Body = field(init=False)
    hoist: Hoist = field(init=False)
    call: Call = field(init=False)
    gradient: Derive = field(init=False)

    @property
    def layer(self) -> ast.Layer:
        return self.source.ast

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic; what a def of the library cannot take is shown at its call."""
        span = diagnostic.span
        library = span.source.path.startswith("std/")
        if library and self.def_calls and span.source is not self.layer.span.source:
            diagnostic = replace(diagnostic, span=self.def_calls[0].span)
        self.session.report(diagnostic)

    # --- names -----------------------------------------------------------------------------------
    def declare(self, name: str, kind: Kind, span: Span) -> bool:
        """Enter a name; a reserved or taken one is reported and gives False."""
        if (why := reserved().get(name)) is not None:
            self.report(ReservedName(span, name, why))
            self.poisoned.add(name)
            return False
        if (first := self.names.get(name)) is not None:
            self.report(NameTaken(span, name, kind.value, first.span, first.kind.value))
            return False
        self.names[name] = Named(kind, span)
        return True

    def close(self, name: str, extra: Iterable[str] = ()) -> str | None:
        """A known name that looks like this one."""
        return self.session.close(name, (*self.names, *self.dims.names(), *extra))

    def unknown(self, name: str, span: Span) -> None:
        """Report a name that nothing has, once."""
        if name in self.poisoned or name in self.reported:
            return
        self.reported.add(name)
        self.report(UnknownName(span, name, self.close(name)))

    # --- indices ---------------------------------------------------------------------------------
    def known_index(self, name: str) -> Index | None:
        """The index of this name in the layer, None if there is none; reports nothing about it."""
        if name in self.indices:
            return self.indices[name]
        dim = self.dims.over(name)
        if dim is None:
            return None
        index = self.indices[name] = Index(name, dim)
        return index

    def index(self, name: ast.Name, env: Env) -> Index | None:
        """Resolve an index; a mistake is reported and gives None."""
        if env.frame is not None:
            return self._index_of_def(name, env, env.frame)
        index = self.known_index(name.id)
        if index is not None:
            return index
        root = base(name.id)
        named = self.names.get(root)
        if self.dims.broken(root) or root in self.poisoned or root in self.index_dims:
            return None
        if named is not None and named.kind is not Kind.HYPER:
            self.report(WronglyUsed(name.span, root, named.kind.value, "an index is needed here"))
            return None
        self.unknown(root, name.span)
        return None

    def _index_of_def(self, name: ast.Name, env: Env, frame: Frame) -> Index | None:
        if name.id in env.local:
            return env.local[name.id]
        root = base(name.id)
        if root not in frame.indices:
            self.session.free_name_of_def(name.id, name.span, frame)
            return None
        return primed(frame.indices[root], len(name.id) - len(root))

    def temporary(self, wish: str) -> str:
        """A name for a tensor that the checker makes."""
        name, k = wish, self.temporary_counts.get(wish, 0)
        name = wish if not k else f"{wish}_{k}"
        k += not k
        while name in self.names or name in self.temporary_names or name in reserved():
            name, k = f"{wish}_{k}", k + 1
        self.temporary_names.add(name)
        self.temporary_counts[wish] = k
        return name

    def define_temporary(
        self, wish: str, axes: tuple[Axis, ...], dtype: Dtype, span: Span, bad: bool = False
    ) -> str:
        """Enter a tensor that the checker makes."""
        name = self.temporary(wish)
        order = tuple(range(len(axes)))
        self.tensors[name] = Tensor(name, Kind.EQUATION, axes, axes, order, dtype, span, bad)
        return name


def primed(index: Index, primes: int) -> Index:
    if not primes:
        return index
    return Index(index.name + "'" * primes, index.dim, index.fresh)
