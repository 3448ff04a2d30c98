"""One run of the checker over a spec: what was reported, and every layer checked once a form."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

import sympy

from tensorlang.check.calls import Form
from tensorlang.check.errors.layers import LayerCycle, TooDeep
from tensorlang.check.errors.names import DefFreeName
from tensorlang.check.program import Program, Value, exact_bind
from tensorlang.check.scope import Frame, Tensor
from tensorlang.check.spec import DefSource, LayerSource
from tensorlang.diagnostics import Diagnostic
from tensorlang.source import Span

_DEPTH = 32  # of layers within layers
_GUESSES = 60  # at what a misspelt name may have meant

Bind = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """What callers know of a layer. `names` are all its own, `dynamic` its call-time sizes."""

    program: Program
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    names: frozenset[str]
    has_ellipsis: bool
    dynamic: frozenset[sympy.Symbol]


Check = Callable[["Session", LayerSource, Bind, Form | None], Interface | None]

CheckDef = Callable[["Session", DefSource], None]


@dataclass(slots=True, eq=False)
class Session:
    """`check` reads one layer, `check_def` one def; the rest is memory."""

    check: Check
    check_def: CheckDef
    symbolic: bool = False  # values are not all there: a spec is checked, not compiled
    diagnostics: list[Diagnostic] = field(default_factory=list)
    errors: int = 0
    guesses: int = 0
    seen: set[tuple[str, int, int, int, str]] = field(default_factory=set)
    done: dict[tuple[int, Hashable, Form | None], Interface | None] = field(default_factory=dict)
    open: list[LayerSource] = field(default_factory=list)
    free_names: set[tuple[str, str]] = field(default_factory=set)
    explored: set[int] = field(default_factory=set)  # defs whose calls were followed
    defs: dict[int, bool] = field(default_factory=dict)

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic, once: other forms of a layer repeat what differs in sizes only."""
        if diagnostic.severity == "error":
            self.errors += 1
        span = diagnostic.span
        text = re.sub(r"\d+", "#", diagnostic.message())
        key = (diagnostic.code, id(span.source), span.start, span.end, text)
        if key not in self.seen:
            self.seen.add(key)
            self.diagnostics.append(diagnostic)

    def close(self, name: str, known: Iterable[str]) -> str | None:
        """A known name that looks like this one; after some dozens of mistakes nobody is asked."""
        self.guesses += 1
        if self.guesses > _GUESSES:
            return None
        return next(iter(get_close_matches(name, sorted(set(known)), 1)), None)

    def free_name_of_def(self, name: str, span: Span, frame: Frame) -> None:
        """Report a name in a def's body that is none of its own, once a def."""
        function = frame.source.ast.name
        if (name, function) not in self.free_names:
            self.free_names.add((name, function))
            self.report(DefFreeName(span, name, function))
        else:
            self.errors += 1

    def definition(self, source: DefSource) -> bool:
        """Check a def on its own, once; whether it is fit to be substituted."""
        if id(source) not in self.defs:
            before = self.errors
            self.defs[id(source)] = True
            self.check_def(self, source)
            self.defs[id(source)] = self.errors == before
        return self.defs[id(source)]

    def layer(
        self, source: LayerSource, bind: Bind, form: Form | None, span: Span
    ) -> Interface | None:
        """Check a layer in a form; None if a mistake was reported."""
        key = (id(source), exact_bind(bind), form)
        if key in self.done:
            if self.done[key] is None:
                self.errors += 1
            return self.done[key]
        if source in self.open:
            names = [other.ast.name for other in self.open[self.open.index(source) :]]
            self.report(LayerCycle(span, (*names, source.ast.name)))
            return None
        if len(self.open) >= _DEPTH:
            self.report(TooDeep(span))
            return None
        self.open.append(source)
        before = self.errors
        found = self.check(self, source, bind, form)
        self.open.pop()
        self.done[key] = found if self.errors == before else None
        return self.done[key]
