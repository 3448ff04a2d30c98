"""An explanation as text for a pipe; the other forms are made of the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tensorlang.explanation.costs import Count
from tensorlang.explanation.places import lines_of
from tensorlang.explanation.words import count_text
from tensorlang.source import Span

if TYPE_CHECKING:
    from tensorlang.explanation.facts import Explanation, Part, Row
    from tensorlang.explanation.regimes import Choice

REGIMES = "regimes: when it is taken, flops, bytes, peak bytes, saved for backward, predicted time"
KEPT = "in eval() without grad, where what is made of params alone is kept:"
_LONGEST_LINE = 88
_ALIGNED = 26  # names longer than this push their line's columns out
_WIDEST = 80  # … and so do longer descriptions


def to_text(explanation: Explanation) -> str:
    """Print an explanation for a pipe: aligned, nothing cut but lines of the source."""
    return "\n\n".join(_one(e, before) for e, before in with_sub_layers(explanation))


def own_text(explanation: Explanation) -> str:
    """The same without the sub-layers."""
    return _one(explanation, None)


def with_sub_layers(e: Explanation) -> Iterator[tuple[Explanation, Explanation | None]]:
    """It and its sub-layers, with an earlier one of the same class whose steps read the same."""
    shown: dict[str, Explanation] = {}
    for one in (e, *(() if e.calls else e.sub_layers)):
        before = shown.setdefault(one.scope.class_name, one)
        alike = before is not one and [r.name for r in before.rows] == [r.name for r in one.rows]
        yield one, before if alike else None


def _one(e: Explanation, before: Explanation | None) -> str:
    out = [title(e), *(f"  {name:<12} {value}" for name, value in facts(e))]
    if before is not None:
        out += ["", f"  {as_before(before)}"]
        return "\n".join(line.rstrip() for line in out)
    which = " (where no other regime below holds)" if _undecided(e) else ""
    out += ["", f"  steps{which}: what is computed, how, flops, bytes"]
    for number, part in enumerate(e.parts, 1):
        out += _part_lines(e, number, part)
    for heading, lines in sections(e):
        out += ["", f"  {heading}", *(f"    {line}" for line in lines)]
    return "\n".join(line.rstrip() for line in out)


def as_before(e: Explanation) -> str:
    """Where the same steps are shown."""
    return f"steps as above, where it is called as {e.calls}"


def _part_lines(e: Explanation, number: int, part: Part) -> Iterator[str]:
    """A region's heading where there are several, then its steps under the lines they compute."""
    if headed(e):
        yield f"    {number}. {part.backend}: {because(part)}"
        yield f"       {count_text(part.flops)} flops, {count_text(part.bytes)} bytes"
    cells = [(row.name, told(row), compact(row.flops), bytes_text(row.bytes)) for row in part.rows]
    name = min(max((len(c[0]) for c in cells), default=0), _ALIGNED)
    how = min(max((len(c[1]) for c in cells), default=0), _WIDEST)
    flops = max((len(c[2]) for c in cells), default=0)
    before: tuple[str, ...] = ()
    for row, cell in zip(part.rows, cells, strict=True):
        lines = source_lines(e, row.spans)
        if lines != before:
            yield from (f"      {line}" for line in lines)
            before = lines
        yield f"        {cell[0]:<{name}}  {cell[1]:<{how}}  {cell[2]:>{flops}}  {cell[3]}"


def title(e: Explanation) -> str:
    """The layer, its hyperparameters, the axes it is called on and by whom."""
    hypers = ", ".join(f"{name} = {_value(value)}" for name, value in e.program.hypers)
    axes = f" on axes [{e.scope.signature.replace('_', ', ')}]" if e.scope.signature else ""
    calls = f", called as {e.calls}" if e.calls else ""
    return f"{e.layer}({hypers}){axes}{calls}, target {e.target}"


def facts(e: Explanation) -> Iterator[tuple[str, str]]:
    open_ = [name for name, size in e.sizes.items() if str(size) == name]
    known = [
        f"{_dim(name)} = {count_text(size)}" for name, size in e.sizes.items() if name not in open_
    ]
    if known:
        yield "sizes", ", ".join(known)
    if open_:
        yield "any size", ", ".join(map(_dim, open_))
    yield "parameters", f"{e.parameters:,}"
    yield "flops", _total(e.totals.flops)
    yield "bytes", _total(e.totals.bytes, "B")
    yield "peak bytes", _total(e.totals.peak_bytes, "B")
    yield "saved bytes", f"{_total(e.totals.saved_bytes, 'B')} for backward"
    if e.memory is not None:
        yield "memory", e.memory


def sections(e: Explanation) -> Iterator[tuple[str, list[str]]]:
    """Headings and lines of what is there: orders, regimes, rewrites, parameters."""
    orders = [c for c in e.contractions if c.factors > 2]
    if orders:
        lines = []
        for c in orders:
            lines.append(f"{c.name} = {c.tree}")
            lines.append(
                f"  {compact(c.flops)} flops; as one loop nest {compact(c.naive_flops)}"
                f"{_saving(c.flops, c.naive_flops)}"
            )
        yield "order of contraction", lines
    for part in e.parts:
        if part.regimes:
            yield REGIMES, list(_regimes(part))
    if e.stages.applied:
        yield "rewrites", [rewrite_text(e, k) for k in range(len(e.stages.applied))]
    if e.parameter_table:
        rows = [(p.name, p.shape, f"{p.count:,}", p.initial) for p in e.parameter_table]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        yield (
            "parameters",
            [
                f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}  {initial}"
                for name, shape, count, initial in rows
            ],
        )


def _regimes(part: Part) -> Iterator[str]:
    """The plans of a region: costs in columns, the orders of products below."""
    cells = [regime_cells(choice) for choice in part.regimes]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    for kept in (False, True):
        shown = [pair for pair in zip(part.regimes, cells, strict=True) if pair[0].kept is kept]
        if kept and shown:
            yield KEPT
        for choice, row in shown:
            first = f"{row[0]:<{widths[0]}}"
            rest = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            chosen = "  <- these sizes" if choice.chosen else ""
            yield f"{first}  {'  '.join(rest)}{chosen}"
            yield from (f"  {order}" for order in order_texts(choice))
        flips = part.kept_flips if kept else part.flips
        if flips and shown:
            yield f"flips at {'; '.join(flips)}"


def regime_cells(choice: Choice) -> tuple[str, ...]:
    """When it is taken, FLOPs, bytes, peak, what is saved for backward, predicted time."""
    counts = (choice.bytes, choice.peak_bytes, choice.saved_bytes)
    time = "" if choice.seconds is None else seconds_text(choice.seconds)
    return (choice.when, compact(choice.flops), *map(bytes_text, counts), time)


def order_texts(choice: Choice) -> list[str]:
    """The orders of its products, each with the lines that it computes."""
    return [
        f"{o.name} = {o.tree}, line {', '.join(str(n) for n in lines_of(o.spans))}"
        for o in choice.orders
    ]


def seconds_text(seconds: float) -> str:
    """Three digits with a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def rewrite_text(e: Explanation, number: int) -> str:
    rule = e.stages.applied[number]
    lines = ", ".join(map(str, sorted({span.line for span in rule.spans})))
    saved = f" ({rule.saved})" if rule.saved else ""
    return f"{rule.rule}{f', line {lines}' if lines else ''}: {rule.what}{saved}"


# --- pieces ---------------------------------------------------------------------------------------
def _undecided(e: Explanation) -> bool:
    """Whether the sizes leave open which regime's steps are taken."""
    plans = ([c for c in part.regimes if not c.kept] for part in e.parts)
    return any(len(some) > 1 and not any(c.chosen for c in some) for some in plans)


def source_lines(e: Explanation, spans: Sequence[Span]) -> tuple[str, ...]:
    """The lines of the source that spans start in, numbered, shortened, each once."""
    found = sorted({(span.source.path, span.line): span for span in spans}.items())
    own = e.program.span.source.path
    out = []
    for (path, number), span in found:
        text = span.source.statement(number)
        short = text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"
        out.append(f"{'' if path == own else path + ':'}{number} | {short}")
    return tuple(out)


def headed(e: Explanation) -> bool:
    """Whether regions are worth a line: not where all is one region of plain torch."""
    return len(e.parts) > 1 or e.target != "torch"


def because(part: Part) -> str:
    return "each step for its own reason" if any(row.why for row in part.rows) else part.reason


def told(row: Row) -> str:
    return f"{row.how}; {row.why}" if row.why else row.how


def compact(count: Count) -> str:
    """A number to three digits with K, M, G, T; polynomials as they are."""
    if not isinstance(count, int):
        return count_text(count)
    value, unit = float(count), ""
    for unit in ("", " K", " M", " G", " T", " P"):
        if value < 999.5 or unit == " P":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if unit else str(count)


def _total(count: Count, unit: str = "") -> str:
    short = f"{compact(count)}{unit}"
    exact = count_text(count)
    return exact if not isinstance(count, int) or count < 1000 else f"{exact} ({short})"


def bytes_text(count: Count | None) -> str:
    if count is None:
        return "in the kernel"
    joined = isinstance(count, int) and count >= 1000  # 1.2 KB, but 12 B
    return f"{compact(count)}B" if joined else f"{compact(count)} B"


def _saving(planned: Count, naive: Count) -> str:
    if not isinstance(planned, int) or not isinstance(naive, int) or planned >= naive:
        return ""
    return f", {naive / max(planned, 1):.3g} times as many"


def _dim(name: str) -> str:
    return "batch (all axes of `...` together)" if name == "..." else name


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value) if isinstance(value, str) else str(value)
