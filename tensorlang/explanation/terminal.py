"""An explanation as rich tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tensorlang.explanation.text import (
    as_before,
    because,
    bytes_text,
    compact,
    facts,
    headed,
    sections,
    source_lines,
    title,
    told,
    with_sub_layers,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from tensorlang.explanation.facts import Explanation


def to_rich(explanation: Explanation) -> RenderableType:
    """Tables for a terminal."""
    from rich.console import Group  # rich only where a terminal asks for it

    parts: list[RenderableType] = []
    for e, before in with_sub_layers(explanation):
        parts += [*_rich(e, before), ""]
    return Group(*parts[:-1])


def _rich(e: Explanation, before: Explanation | None) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    yield Text(title(e), style="bold")
    known = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in facts(e):
        known.add_row(Text(name, style="dim"), Text(value))
    yield known
    if before is not None:
        yield Text(f"  {as_before(before)}")
        return
    yield _steps_table(e)
    for heading, lines in sections(e):
        yield Text(heading, style="bold")
        yield Text("\n".join(f"  {line}" for line in lines))


def _steps_table(e: Explanation) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("value", "computed as", show_edge=False, pad_edge=False)
    table.add_column("FLOPs", justify="right")
    table.add_column("bytes", justify="right")
    for number, part in enumerate(e.parts, 1):
        if headed(e):
            table.add_section()
            style = "bold cyan" if part.backend == "torch" else "bold magenta"
            table.add_row(
                Text(f"{number}. {part.backend}", style=style),
                Text(because(part), style=style),
                compact(part.flops),
                bytes_text(part.bytes),
            )
        before: tuple[str, ...] = ()
        for row in part.rows:
            lines = source_lines(e, row.spans)
            if lines != before:
                table.add_row("", Text("\n".join(lines), style="dim"))
                before = lines
            table.add_row(
                Text(row.name), Text(told(row)), compact(row.flops), bytes_text(row.bytes)
            )
    return table
