"""Source text and spans: how every later stage points back into the `.tl` text."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Source:
    """One file's text and the name that diagnostics show for it."""

    path: str
    text: str

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        starts = [0]
        starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        return tuple(starts)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1, columns in characters."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Text of a line (from 1) without its line break."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end]

    def statement(self, number: int, most: int = 8) -> str:
        """The line, and those after it while a bracket is open, as one; `most` lines at most."""
        parts: list[str] = []
        depth = 0
        for line in range(number, min(number + most, len(self.line_starts) + 1)):
            part = self.line(line).split("#", 1)[0] if parts else self.line(line)
            parts.extend(part.split())
            code = part.split("#", 1)[0]
            depth += sum(map(code.count, "([")) - sum(map(code.count, ")]"))
            if depth <= 0:
                break
        return " ".join(parts).replace("( ", "(").replace("[ ", "[")


@dataclass(frozen=True, slots=True)
class Span:
    """The characters start..end (end excluded) of a source."""

    source: Source = field(repr=False)
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    def join(self, other: Span) -> Span:
        """Smallest span that covers both."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))
