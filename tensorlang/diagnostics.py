"""What a user is told: diagnostics as dataclasses with spans, and the errors that carry them.

A stage's `errors.py` subclasses `Diagnostic`; rendering (excerpt, underline, help, JSON) is here
and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from tensorlang.source import Span


@dataclass(frozen=True, slots=True)
class Label:
    """A place to underline and what to say there."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One mistake. Subclasses are frozen dataclasses that add the facts as fields.

    `message()` is the headline, `label()` what stands under the underline, `also()` the other
    places of a conflict, `help()` how to mend it (the corrected text where one exists).
    """

    code: ClassVar[str]
    severity: ClassVar[str] = "error"

    span: Span

    def message(self) -> str:
        raise NotImplementedError

    def label(self) -> str:
        return ""

    def also(self) -> tuple[Label, ...]:
        return ()

    def help(self) -> str | None:
        return None


def render(diagnostic: Diagnostic) -> str:
    """Print a diagnostic as text: headline, excerpts with underlines, help."""
    line, column = diagnostic.span.source.position(diagnostic.span.start)
    head = f"{diagnostic.span.source.path}:{line}:{column}: {diagnostic.severity}"
    out = [f"{head}[{diagnostic.code}]: {diagnostic.message()}"]
    labels = (Label(diagnostic.span, diagnostic.label()), *diagnostic.also())
    width = max(len(str(label.span.line)) for label in labels)
    gutter = " " * (width + 1) + "|"
    out.append(gutter)
    for i, label in enumerate(labels):
        if label.span.source is not diagnostic.span.source:
            out.append(f"{gutter} {label.span.source.path}:")
        out.extend(_excerpt(label, width, "^" if i == 0 else "-"))
    if (hint := diagnostic.help()) is not None:
        first, *rest = hint.splitlines()
        out.append(f"{' ' * (width + 1)}= help: {first}")
        out.extend(f"{' ' * (width + 1)}        {text}" for text in rest)
    return "\n".join(out)


def _excerpt(label: Label, width: int, mark: str) -> list[str]:
    source = label.span.source
    line, column = source.position(label.span.start)
    text = source.line(line)
    shown, column, cut = _window(text, column)
    room = max(1, len(shown) - column + 1)
    length = max(1, min(label.span.end - label.span.start, room - cut if room > cut else room))
    under = " " * (column - 1) + mark * length
    return [
        f"{line:>{width}} | {shown}",
        f"{' ' * width} | {under} {label.text}".rstrip(),
    ]


def _window(text: str, column: int, limit: int = 160) -> tuple[str, int, int]:
    """Cut a long line to the part around column; the last value is the length of the ellipsis."""
    start = max(0, column - limit // 2) if len(text) > limit else 0
    head = "…" if start else ""
    tail = "…" if start + limit < len(text) else ""
    shown = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for char in text[start : start + limit]
    )
    return head + shown + tail, column - start + len(head), len(tail)


def to_dict(diagnostic: Diagnostic) -> dict[str, Any]:
    """The same facts for `--format json`: lines and columns from 1, ends excluded."""
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message(),
        **_place(diagnostic.span),
        "label": diagnostic.label(),
        "also": [{**_place(label.span), "label": label.text} for label in diagnostic.also()],
        "help": diagnostic.help(),
    }


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "path": span.source.path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def to_json(diagnostics: Iterable[Diagnostic]) -> str:
    return json.dumps([to_dict(d) for d in diagnostics], indent=2, ensure_ascii=False)


class SpecError(ValueError):
    """A spec is wrong. `.diagnostics` holds every mistake found, in source order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(in_order(diagnostics))
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n\n".join(render(d) for d in self.diagnostics)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Source order (file by file as first met, then by offset), duplicates dropped."""
    unique = list(dict.fromkeys(diagnostics))
    files = {d.span.source.path: i for i, d in reversed(list(enumerate(unique)))}
    return sorted(unique, key=lambda d: (files[d.span.source.path], d.span.start, d.code))
