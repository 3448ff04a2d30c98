"""Print a file in its one canonical form; comments stay, and so does the order of everything.

Blocks are indented by four spaces, groups stay apart by one blank line, and signs (`=`, `~`) that
stood in one column on neighbouring lines still do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tensorlang.source import Source
from tensorlang.syntax.build import docstring
from tensorlang.syntax.parse import parse
from tensorlang.syntax.spacing import INDENT, WIDTH, Piece, joined, parenthesised, pieces, wrapped
from tensorlang.syntax.tokens import TOP_LEVEL, Line, Token, scan


def format_source(source: Source) -> str:
    """Format a file. Raises SpecError if it does not parse."""
    parse(source)
    out: list[str] = []
    rows = _rows(source)
    _align(rows)
    for i, row in enumerate(rows):
        if i and (row.after_blank or _begins_group(rows, i)) and not _is_header(rows[i - 1]):
            out.append("")
        out.extend(_print(row))
    return "\n".join(out) + "\n"


@dataclass(slots=True)
class _Row:
    """A logical line, or a comment on a line of its own (no tokens, one entry in `comments`)."""

    start: int
    end: int
    tokens: list[Token] = field(default_factory=list)
    comments: list[tuple[int, str, bool]] = field(default_factory=list)
    """Comments by the number of tokens before them; True if on a line of their own."""
    indent: int = 0
    after_blank: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def type(self) -> str:
        return self.tokens[0].type if self.tokens else "COMMENT"


def _rows(source: Source) -> list[_Row]:
    """Read the file's rows; a comment inside or behind a logical line belongs to it."""
    text = source.text
    comments: list[tuple[int, int]] = []
    lines: list[Line] = list(scan(source, _no_mistakes, lambda a, b: comments.append((a, b))))
    rows: list[_Row] = []
    waiting = iter(comments)
    comment = next(waiting, None)
    for line in lines:
        start, end = line.tokens[0].span.start, line.tokens[-1].span.end
        while comment is not None and comment[0] < start:
            rows.append(_comment_row(text, *comment))
            comment = next(waiting, None)
        row = _Row(start, end, line.tokens)
        while comment is not None and (comment[0] < end or "\n" not in text[end : comment[0]]):
            before = sum(token.span.start < comment[0] for token in line.tokens)
            is_alone = not text[text.rfind("\n", 0, comment[0]) + 1 : comment[0]].strip()
            row.comments.append((before, _comment_text(text, *comment), is_alone))
            row.end = max(row.end, comment[1])
            comment = next(waiting, None)
        rows.append(row)
    while comment is not None:
        rows.append(_comment_row(text, *comment))
        comment = next(waiting, None)
    for before_row, row in pairwise(rows):
        row.after_blank = text.count("\n", before_row.end, row.start) > 1
    _indent(source, lines, rows)
    for row in rows:
        _make_pieces(row)
    return rows


def _make_pieces(row: _Row) -> None:
    row.pieces = pieces(row.tokens)
    at = _sign_index(row)
    has_inner_comment = any(before < len(row.tokens) for before, _, _ in row.comments)
    if at is None or row.type in ("DIM", "PARAM", "FROZEN", "SUB") or has_inner_comment:
        return
    if len(joined(row.pieces)) > WIDTH - row.indent:
        row.tokens = list(parenthesised(row.tokens, at))
        row.pieces = pieces(row.tokens)


def _no_mistakes(diagnostic: object) -> None:
    raise AssertionError(diagnostic)  # the source parsed


def _comment_row(text: str, start: int, end: int) -> _Row:
    return _Row(start, end, comments=[(0, _comment_text(text, start, end), True)])


def _comment_text(text: str, start: int, end: int) -> str:
    return text[start:end].rstrip()


def _indent(source: Source, lines: Sequence[Line], rows: Sequence[_Row]) -> None:
    """Indent what stands in a layer. A comment goes with the next line or stays in the layer."""
    inner = {line.tokens[0].span.start for line in lines if line.indent}
    following = 0
    for row in reversed(rows):
        if row.tokens:
            following = INDENT if row.start in inner else 0
            row.indent = following
        else:
            row.indent = following
    in_layer = False
    for row in rows:
        if row.tokens:
            in_layer = row.type == "LAYER" or row.indent > 0
        elif row.indent == 0 and in_layer and source.position(row.start)[1] > 1:
            row.indent = INDENT
        else:
            in_layer = in_layer and row.indent > 0


def _is_header(row: _Row) -> bool:
    return row.type == "LAYER"


def _begins_group(rows: Sequence[_Row], i: int) -> bool:
    """Say whether a blank line stands before row i in any case: around each layer."""
    row, before = rows[i], rows[i - 1]
    if row.indent or (not before.tokens and before.indent == 0):
        return False  # a comment directly above belongs to what follows
    if before.indent:
        return True
    following = next((later for later in rows[i:] if later.tokens), None)
    return following is not None and _is_header(following) and _is_attached(rows, i)


def _is_attached(rows: Sequence[_Row], i: int) -> bool:
    """Say whether no blank line parts row i from the next row with tokens."""
    while not rows[i].tokens:
        i += 1
        if rows[i].after_blank:
            return False
    return True


# --- alignment -----------------------------------------------------------------------------------
_SIGNS = frozenset(("EQUALS", "TILDE", "ADD_TO", "MAX_TO", "MIN_TO"))


def _align(rows: Sequence[_Row]) -> None:
    """Keep signs in one column that stood in one column on neighbouring lines."""
    i = 0
    while i < len(rows):
        column = _sign_column(rows[i])
        end = i + 1
        while end < len(rows) and column is not None and not rows[end].after_blank:
            if _sign_column(rows[end]) != column:
                break
            end += 1
        if end - i > 1:
            _pad(rows[i:end])
        i = end


def _sign_index(row: _Row) -> int | None:
    """The place of the first sign outside brackets."""
    depth = 0
    for i, token in enumerate(row.tokens):
        if token.type in ("LPAR", "LSQB"):
            depth += 1
        elif token.type in ("RPAR", "RSQB"):
            depth -= 1
        elif token.type in _SIGNS and depth == 0:
            return i
    return None


def _sign_column(row: _Row) -> int | None:
    i = _sign_index(row)
    if i is None or row.indent == 0 or "\n" in row.tokens[0].span.join(row.tokens[i].span).text:
        return None
    return row.tokens[i].span.column


def _pad(rows: Sequence[_Row]) -> None:
    places = [_piece_of_sign(row) for row in rows]
    widths = [len(joined(row.pieces[:at])) for row, at in zip(rows, places, strict=True)]
    padded = []
    for row, at, width in zip(rows, places, widths, strict=True):
        sign = row.pieces[at]
        spaces = " " * (max(widths) - width) + sign.space
        line = [*row.pieces[:at], replace(sign, space=spaces), *row.pieces[at + 1 :]]
        if len(joined(row.pieces)) <= WIDTH - INDENT < len(joined(line)):
            return
        padded.append(line)
    for row, line in zip(rows, padded, strict=True):
        row.pieces = line


def _piece_of_sign(row: _Row) -> int:
    """The sign's place among the pieces: commas may have been dropped from the tokens before it."""
    i = _sign_index(row)
    assert i is not None, row
    return len(pieces(row.tokens[: i + 1])) - 1


# --- printing ------------------------------------------------------------------------------------
def _print(row: _Row) -> list[str]:
    blank = " " * row.indent
    if not row.tokens:
        return [blank + row.comments[0][1]]
    if row.type == "DOCSTRING":
        lines = [blank + line if line else "" for line in _docstring(row.tokens[0])]
    else:
        lines = _code(row)
    behind = "".join(f"  {text}" for before, text, _ in row.comments if before == len(row.tokens))
    return [*lines[:-1], lines[-1] + behind]


def _code(row: _Row) -> list[str]:
    """Print a line's tokens; where a comment stands inside brackets the line breaks."""
    further = row.indent + (2 * INDENT if row.type in TOP_LEVEL else INDENT)
    inner = [comment for comment in row.comments if comment[0] < len(row.tokens)]
    lines: list[str] = []
    start = 0
    for before, text, is_alone in inner:
        end = len(pieces(row.tokens[:before]))
        if row.tokens[before - 1].type == "COMMA" and row.tokens[before].type in ("RPAR", "RSQB"):
            end -= 1
        if end > start:
            lines.extend(_chunk(row, start, end, further))
        if is_alone:
            lines.append(" " * further + text)
        else:
            lines[-1] += f"  {text}"
        start = end
    lines.extend(_chunk(row, start, len(row.pieces), further))
    return lines


def _chunk(row: _Row, start: int, end: int, further: int) -> list[str]:
    return wrapped(row.pieces[start:end], further if start else row.indent, further)


def _docstring(token: Token) -> list[str]:
    """Print a docstring so that its text stays what it is once indentation is taken off."""
    first, *rest = docstring(token.text).split("\n")
    depths = [len(line) - len(line.lstrip()) for line in rest if line]
    is_beside = not first.startswith(" ") and min(depths, default=0) == 0
    head = [f'"""{first}'] if is_beside else ['"""', first]
    lines = [*head, *rest]
    if len(lines) > 1 or first.endswith('"'):
        return [*lines, '"""']
    return [f'{lines[0]}"""']
