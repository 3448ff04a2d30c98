"""Where steps are in the source: files, lines, columns."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.plan.plan import AnyStep, ProjectionsStep
from tensorlang.source import Span


def place(span: Span) -> str:
    """As an editor takes it."""
    return f"{span.source.path}:{span.line}:{span.column}"


def lines_of(spans: Sequence[Span]) -> tuple[int, ...]:
    """Line numbers, in order, once each."""
    return tuple(sorted({span.line for span in spans}))


def spans_of(step: AnyStep) -> tuple[Span, ...]:
    """What a step computes, of all its values."""
    if isinstance(step, ProjectionsStep):
        return tuple(span for projection in step.projections for span in projection.spans)
    return step.spans
