"""Explanations as one page of HTML that needs nothing else: no script, no network.

Text of a spec is untrusted: all of it is escaped, identifiers in links are numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from tensorlang.explanation.costs import Count
from tensorlang.explanation.page_graph import graphs
from tensorlang.explanation.page_style import STYLE
from tensorlang.explanation.places import lines_of
from tensorlang.explanation.text import (
    because,
    bytes_text,
    compact,
    facts,
    headed,
    regime_cells,
    rewrite_text,
    title,
    told,
)
from tensorlang.source import Span

if TYPE_CHECKING:
    from tensorlang.explanation.facts import Explanation, Part

PLANS = (
    "when", "order", "FLOPs*", "bytes*", "peak*", "saved for backward*", "predicted*", "line",
)  # fmt: skip
Row = tuple[str, Sequence[str]]
"""Attributes of a table's row, and its cells, both as markup."""


def to_page(explanations: Sequence[Explanation]) -> str:
    """The page of these layers and of those that they call."""
    every = [one for e in explanations for one in (e, *e.sub_layers)]
    names = [(f"l{number}", one) for number, one in enumerate(every)]
    (path,) = {one.scope.compiled.spec.path for one in explanations}
    heading = escape(PurePath(path).name)
    links = "".join(f'<a href="#{key}">{escape(_called(one))}</a>' for key, one in names)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{heading}</title><style>{STYLE}</style></head><body>",
        f"<h1>{heading}</h1><nav>{links}</nav>",
        *(text for key, one in names for text in _layer(one, key)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _called(e: Explanation) -> str:
    return f"{e.layer} ({e.calls})" if e.calls else e.layer


def _layer(e: Explanation, key: str) -> Iterator[str]:
    yield f'<section id="{key}"><h2>{escape(title(e))}</h2>'
    known = "".join(f"<dt>{escape(n)}</dt><dd>{escape(text)}</dd>" for n, text in facts(e))
    yield f"<dl>{known}</dl>"
    yield "<h3>Source</h3><p>The bar is a line's share of the FLOPs.</p>" + _source(e, key)
    for part in e.parts:
        if part.regimes:
            yield "<h3>Plans, by size</h3>" + _regimes(e, key, part)
    yield "<h3>Steps</h3>" + _steps(e, key)
    orders = [c for c in e.contractions if c.factors > 2]
    if orders:
        rows: list[Row] = [
            ("", (_code(f"{c.name} = {c.tree}"), _flops(c.flops), _flops(c.naive_flops),
                  _links(e, key, c.spans)))
            for c in orders
        ]  # fmt: skip
        yield "<h3>Orders of contraction</h3>" + _table(
            ("product", "FLOPs*", "as one loop nest*", "line"), rows
        )
    if e.stages.applied:
        done: list[Row] = [
            ("", (_code(rule.rule), escape(rewrite_text(e, k)), _links(e, key, rule.spans)))
            for k, rule in enumerate(e.stages.applied)
        ]
        yield "<h3>Rewrites</h3>" + _table(("rule", "what it did", "line"), done)
    yield from graphs(e, key, lambda spans: _links(e, key, spans))
    if e.parameter_table:
        held: list[Row] = [
            ("", (_code(p.name), _code(p.shape), f"{p.count:,}", escape(p.initial)))
            for p in e.parameter_table
        ]
        yield "<h3>Parameters</h3>" + _table(("name", "shape", "count*", "initial"), held)
    yield "</section>"


# --- source ---------------------------------------------------------------------------------------
def _source(e: Explanation, key: str) -> str:
    """The lines of the layer, and what part of the work each is."""
    source = e.program.span.source
    lines = _lines(e)
    shares = _shares(e)
    rows = []
    for number in lines:
        share = shares.get(number, 0.0)
        meter = ""
        if share > 0:
            label = f"{100 * share:.0f} % of the FLOPs"
            meter = f'<span class="meter" title="{label}"><i style="width:{100 * share:.1f}%">'
            meter += "</i></span>"
        cells = (str(number), escape(source.line(number)), meter)
        classes = ("n", "", "")
        inner = "".join(
            f'<td class="{name}">{cell}</td>' for name, cell in zip(classes, cells, strict=True)
        )
        rows.append(f'<tr id="{key}-{number}">{inner}</tr>')
    return f'<div class="scroll"><table class="source">{"".join(rows)}</table></div>'


def _lines(e: Explanation) -> range:
    """The lines of a layer: to the next one that is not indented and not empty."""
    source, first = e.program.span.source, e.program.span.line
    last = first
    for number in range(first + 1, len(source.line_starts) + 1):
        text = source.line(number)
        if text.strip() and not text[0].isspace():
            break
        if text.strip():
            last = number
    return range(first, last + 1)


def _shares(e: Explanation) -> dict[int, float]:
    """Of every line the share of the FLOPs; a step of several lines is split among them."""
    own = e.program.span.source.path
    out: dict[int, float] = {}
    for row in e.rows:
        here = lines_of([span for span in row.spans if span.source.path == own])
        for number in here:
            out[number] = out.get(number, 0.0) + e.scope.middling(row.flops) / len(here)
    total = sum(out.values())
    return {number: flops / total for number, flops in out.items()} if total > 0 else {}


def _links(e: Explanation, key: str, spans: Iterable[Span]) -> str:
    """Line numbers that lead to the source; lines of other files by their names."""
    own, lines = e.program.span.source.path, _lines(e)
    out: dict[str, None] = {}
    for span in sorted(spans, key=lambda span: (span.source.path != own, span.line)):
        if span.source.path != own:
            out[escape(f"{PurePath(span.source.path).name}:{span.line}")] = None
        elif span.line in lines:
            out[f'<a href="#{key}-{span.line}">{span.line}</a>'] = None
        else:
            out[str(span.line)] = None
    return ", ".join(out)


# --- tables ---------------------------------------------------------------------------------------
def _steps(e: Explanation, key: str) -> str:
    rows: list[Row] = []
    for number, part in enumerate(e.parts, 1):
        if headed(e):
            said = f"{number}. {part.backend}: {because(part)}"
            cells = (escape(said), "", _flops(part.flops), _bytes(part.bytes), "")
            rows.append((' class="group"', cells))
        rows += [
            ("", (_code(row.name), escape(told(row)), _flops(row.flops), _bytes(row.bytes),
                  _links(e, key, row.spans)))
            for row in part.rows
        ]  # fmt: skip
    return _table(("value", "computed as", "FLOPs*", "bytes*", "line"), rows)


def _regimes(e: Explanation, key: str, part: Part) -> str:
    rows: list[Row] = []
    for kept in (False, True):
        shown = [choice for choice in part.regimes if choice.kept is kept]
        if kept and shown:
            said = "in eval() without grad, where what is made of params alone is kept"
            rows.append((' class="group"', (said,)))
        for choice in shown:
            when, *numbers = regime_cells(choice)
            orders = "<br>".join(_code(tree) for tree in choice.trees)
            spans = [span for order in choice.orders for span in order.spans]
            mark = " ← these sizes" if choice.chosen else ""
            cells = (_code(when) + mark, orders, *map(escape, numbers), _links(e, key, spans))
            rows.append((' class="chosen"' if choice.chosen else "", cells))
        flips = part.kept_flips if kept else part.flips
        if shown and flips:
            rows.append(("", (f"flips at {_code('; '.join(flips))}",)))
    head = (
        "when",
        "order",
        "FLOPs*",
        "bytes*",
        "peak*",
        "saved for backward*",
        "predicted*",
        "line",
    )
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Row]) -> str:
    """A table; columns whose heading ends in * hold numbers."""
    kinds = [' class="number"' if name.endswith("*") else "" for name in head]
    top = "".join(
        f"<th{kind}>{escape(name.rstrip('*'))}</th>" for name, kind in zip(head, kinds, strict=True)
    )
    body = []
    for attributes, cells in rows:
        wide = f' colspan="{len(head) - len(cells) + 1}"' if len(cells) < len(head) else ""
        inner = "".join(f"<td{k}>{c}</td>" for c, k in zip(cells[1:], kinds[1:], strict=False))
        body.append(f"<tr{attributes}><td{wide}>{cells[0]}</td>{inner}</tr>")
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _flops(count: Count) -> str:
    return escape(compact(count))


def _bytes(count: Count | None) -> str:
    return escape(bytes_text(count))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
