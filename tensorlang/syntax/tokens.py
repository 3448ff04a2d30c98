"""The scanner: text to logical lines of tokens, with every mistake that needs no grammar.

A logical line ends where no bracket is open. Names are NFKC-normalised here. What a line means is
left to the grammar (parse.py); comments are kept for `format`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tensorlang.diagnostics import Diagnostic
from tensorlang.source import Source, Span
from tensorlang.syntax import errors

MOST_NESTED = 100
LARGEST_INT = 2**63 - 1

KEYWORDS: dict[str, str] = {
    word: word.upper()
    for word in (
        *("use", "layer", "def", "input", "param", "frozen", "const", "dim", "index", "sub"),
        *("output", "check", "as", "where", "when", "if", "else", "and", "or", "not", "in"),
    )
}
STATEMENTS = frozenset(
    ("INPUT", "PARAM", "FROZEN", "CONST", "DIM", "INDEX", "SUB", "OUTPUT", "CHECK")
)
TOP_LEVEL = frozenset(("USE", "LAYER", "DEF"))
PUNCTUATION: dict[str, str] = {
    "...": "ELLIPSIS",
    "->": "ARROW",
    "+=": "ADD_TO",
    "max=": "MAX_TO",
    "min=": "MIN_TO",
    "=": "EQUALS",
    "==": "EQ",
    "!=": "NE",
    "<=": "LE",
    "<": "LT",
    ">=": "GE",
    ">": "GT",
    "//": "FLOOR_DIVIDE",
    "/": "DIVIDE",
    "%": "MODULO",
    "*": "TIMES",
    "+": "PLUS",
    "-": "MINUS",
    "^": "CARET",
    "~": "TILDE",
    ",": "COMMA",
    ":": "COLON",
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
}
_CLOSES = {"RPAR": "LPAR", "RSQB": "LSQB"}
_NESTING = frozenset(("MINUS", "NOT", "CARET", "IF", "FLOOR_DIVIDE", "MODULO"))
_INNER_LEVELS = 6  # disjunction, conjunction, comparison, sum, product, call: once per bracket

# Operators of other languages, taken for ours once they are reported.
FOREIGN: dict[str, str] = {
    "**": "^",
    "&&": "and",
    "||": "or",
    "&": "and",
    "===": "==",
    "!==": "!=",
    "<>": "!=",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "→": "->",
    "=>": "->",
    "−": "-",
    "–": "-",
    "×": "*",
    "·": "*",
    "⋅": "*",
    "÷": "/",
    "…": "...",
    "!": "not",
    "∧": "and",
    "∨": "or",
    "¬": "not",
    "∞": "inf",
}

_name = r"[^\W\d]\w*'*"
_PATTERN = re.compile(
    rf"""
      (?P<SPACE>[ \t\f]+)
    | (?P<NAME>{_name})
    | (?P<NUMBER>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?P<tail>[\w']*))
    | (?P<NEWLINE>\r?\n)
    | (?P<COMMENT>\#[^\n]*)
    | (?P<TEXT>"{{3}}|")
    | (?P<SIZE>\|[ \t]*{_name}[ \t]*\|)
    | (?P<FOREIGN>\*\*|&&?|\|\||===|!==|<>|=>|!(?!=)|[≤≥≠→−–×·⋅÷…∧∨¬∞])
    | (?P<OPERATOR>\.\.\.|->|\+=|==|!=|<=|>=|//|[=<>/%*+\-^~,:()\[\]])
    """,
    re.VERBOSE,
)
_PLAIN_NAME = re.compile(r"[A-Za-z_\u0370-\u03ff][A-Za-z0-9_\u0370-\u03ff]*'*")
_BEGINS_EQUATION = re.compile(
    rf"{_name}[ \t]*\[[^\[\]\n]*(?:\[[^\[\]\n]*\][^\[\]\n]*)*\][ \t]*(?:=(?!=)|\+=|max=|min=)"
)
_MOST_LOOKED_AHEAD = 10  # brackets whose end is sought in all that follows
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(slots=True, eq=False)
class Token:
    """A terminal of the grammar: its name there, the text (normalised if a name), its place."""

    type: str
    text: str
    span: Span


@dataclass(slots=True, eq=False)
class Line:
    """A logical line. `broken` lines have a reported mistake that makes parsing them pointless."""

    indent: int
    start: int
    tokens: list[Token] = field(default_factory=list)
    broken: bool = False
    has_tab: bool = False  # in its indentation
    nesting: int = 0  # no expression of the line is nested deeper than this

    @property
    def type(self) -> str:
        return self.tokens[0].type if self.tokens else ""


def scan(
    source: Source,
    report: Callable[[Diagnostic], None],
    comment: Callable[[int, int], None] = lambda start, end: None,
) -> Iterator[Line]:
    """Yield the logical lines that hold anything; `comment` is told where comments stand."""
    return _Scanner(source, report, comment).lines()


class _Scanner:
    def __init__(
        self,
        source: Source,
        report: Callable[[Diagnostic], None],
        comment: Callable[[int, int], None],
    ) -> None:
        self.source = source
        self.text = source.text
        self.report = report
        self.comment = comment
        self.position = 1 if source.text.startswith("\ufeff") else 0
        self.tabs_reported = False
        self.unclosed = 0
        self.is_too_nested = False
        self.opened: list[Token] = []
        self.line = Line(0, 0)

    def lines(self) -> Iterator[Line]:
        while self.position < len(self.text):
            line = self._line()
            if line.tokens or line.broken:
                yield line

    def _line(self) -> Line:
        """Scan one logical line."""
        text, match, end = self.text, _PATTERN.match, len(self.text)
        self.opened.clear()
        self.is_too_nested = False
        line = self.line = Line(0, self.position)
        self._indentation(line)
        tokens, nesting, deepest = line.tokens, 0, 0
        while self.position < end:
            start = self.position
            found = match(text, start)
            if found is None:
                self._unknown(start)
                continue
            self.position = found.end()
            kind = found.lastgroup
            if kind == "SPACE":
                continue
            if kind == "NEWLINE":
                if not self.opened:
                    break
                if self._is_unclosed():
                    return line
                continue
            if kind == "COMMENT":
                self.comment(start, self.position)
                continue
            lexeme = found.group()
            if kind == "NAME":
                type_ = KEYWORDS.get(lexeme, "NAME")
                if not lexeme.isascii():
                    lexeme = self._normalised(lexeme, start)
                elif lexeme in ("max", "min") and not self.opened and self._assigns():
                    self.position += 1
                    lexeme += "="
                    type_ = PUNCTUATION[lexeme]
            elif kind == "OPERATOR":
                type_ = PUNCTUATION[lexeme]
            elif kind == "NUMBER":
                type_ = self._number(lexeme, found.group("tail"), start)
            elif kind == "SIZE":
                type_ = "SIZE"
                lexeme = self._normalised(lexeme[1:-1].strip(), start)
            elif kind == "FOREIGN":
                self.report(errors.ForeignOperator(self._span(start), lexeme, FOREIGN[lexeme]))
                lexeme = FOREIGN[lexeme]
                type_ = PUNCTUATION.get(lexeme) or KEYWORDS.get(lexeme, "NAME")
            else:
                type_, lexeme = self._string(lexeme, start)
            if type_ in _NESTING:
                nesting += 1
            token = Token(type_, lexeme, Span(self.source, start, self.position))
            tokens.append(token)
            if type_ == "LPAR" or type_ == "LSQB":
                self._open(token)
                deepest = max(deepest, len(self.opened))
            elif type_ == "RPAR" or type_ == "RSQB":
                self._close(token)
        if self.opened:
            self._unclosed(None)
        line.nesting = nesting + _INNER_LEVELS * (deepest + 1)
        return line

    def _indentation(self, line: Line) -> None:
        start = self.position
        while self.position < len(self.text) and self.text[self.position] in " \t":
            self.position += 1
        blank = self.text[start : self.position]
        line.start = self.position
        line.indent = len(blank.expandtabs(4))
        line.has_tab = "\t" in blank
        if line.has_tab and not self.tabs_reported and self._holds_anything():
            self.tabs_reported = True
            tab = start + blank.index("\t")
            self.report(errors.TabIndentation(Span(self.source, tab, tab + 1)))

    def _holds_anything(self) -> bool:
        return self.text[self.position : self.position + 1] not in ("", "\n", "\r", "#")

    def _assigns(self) -> bool:
        following = self.text[self.position : self.position + 2]
        return following.startswith("=") and following != "=="

    def _span(self, start: int) -> Span:
        return Span(self.source, start, self.position)

    def _refuse(self, diagnostic: Diagnostic) -> None:
        """Report a mistake after which the line is not parsed; one of a line is enough."""
        if not self.line.broken:
            self.report(diagnostic)
        self.line.broken = True

    # --- brackets --------------------------------------------------------------------------------
    def _open(self, token: Token) -> None:
        self.opened.append(token)
        if len(self.opened) == MOST_NESTED + 1:
            self._refuse(errors.TooNested(token.span, MOST_NESTED))
            self.is_too_nested = True

    def _close(self, token: Token) -> None:
        if not self.opened:
            self._refuse(errors.UnmatchedBracket(token.span, token.text, None))
            return
        opener = self.opened.pop()
        if opener.type != _CLOSES[token.type]:
            self._refuse(errors.UnmatchedBracket(token.span, token.text, opener.span))

    def _is_unclosed(self) -> bool:
        """Say whether the next line begins a statement although a bracket is open."""
        at = self.position
        while at < len(self.text) and self.text[at] in " \t":
            at += 1
        found = _PATTERN.match(self.text, at)
        if found is None or found.lastgroup != "NAME":
            return False
        type_ = KEYWORDS.get(found.group())
        begins = type_ in STATEMENTS or type_ in TOP_LEVEL or _BEGINS_EQUATION.match(self.text, at)
        indent = len(self.text[self.position : at].expandtabs(4))
        if begins or (self.unclosed >= _MOST_LOOKED_AHEAD and indent <= self.line.indent):
            self._unclosed(Span(self.source, at, found.end()))
            return True
        return False

    def _unclosed(self, met: Span | None) -> None:
        """Report the innermost open bracket and go back to where its line may have ended."""
        opener = self.opened[-1].span
        if not self.is_too_nested:
            self.line.broken = True
            self.unclosed += 1
            self.report(errors.UnclosedBracket(opener, opener.text, met))
            latest = self.position if met else len(self.text)
            self.position = min(self._resume(opener.end), latest)

    def _resume(self, at: int) -> int:
        """The next physical line that is indented no deeper than the broken one."""
        while (at := self.text.find("\n", at) + 1) > 0:
            first = at
            while first < len(self.text) and self.text[first] in " \t":
                first += 1
            is_blank = self.text[first : first + 1] in ("", "\n", "\r", "#")
            if not is_blank and len(self.text[at:first].expandtabs(4)) <= self.line.indent:
                return at
        return len(self.text)

    # --- names, numbers, strings -----------------------------------------------------------------
    def _normalised(self, name: str, start: int) -> str:
        if name.isascii():
            return name
        normal = unicodedata.normalize("NFKC", name)
        if not (name.rstrip("'").isidentifier() and _PLAIN_NAME.fullmatch(normal)):
            strange = next((char for char in name if not _is_letter(char)), name[0])
            at = self.text.index(strange, start)
            self._refuse(errors.UnknownCharacter(Span(self.source, at, at + 1), strange))
        return normal

    def _number(self, lexeme: str, tail: str, start: int) -> str:
        span = self._span(start)
        if tail:
            self._refuse(errors.BadNumber(span, lexeme, *_why_no_number(lexeme, tail)))
            return "INT"
        if lexeme.isdigit():
            if len(lexeme) > 19 or int(lexeme) > LARGEST_INT:
                self._refuse(errors.BadNumber(span, lexeme, "is larger than 2^63 - 1", None))
            return "INT"
        value = float(lexeme)
        if value == float("inf"):
            hint = "infinity is written  inf"
            self._refuse(errors.BadNumber(span, lexeme, "is larger than any float64", hint))
        elif value == 0.0 and any(c in "123456789" for c in re.split("[eE]", lexeme)[0]):
            self._refuse(errors.BadNumber(span, lexeme, "is smaller than any float64", None))
        return "FLOAT"

    def _string(self, quotes: str, start: int) -> tuple[str, str]:
        """Scan a string or docstring whose quotes begin at start; the text is without quotes."""
        type_ = "STRING" if quotes == '"' else "DOCSTRING"
        end = self.text.find(quotes, self.position)
        if end < 0 or (type_ == "STRING" and "\n" in self.text[self.position : end]):
            line_end = self.text.find("\n", self.position)
            self.position = len(self.text) if line_end < 0 else line_end
            first = Span(self.source, start, start + len(quotes))
            self._refuse(errors.UnterminatedString(first, type_ == "DOCSTRING"))
            return type_, ""
        content = self.text[self.position : end]
        inner = self.position
        self.position = end + len(quotes)
        for i, char in enumerate(content) if not content.isprintable() or "\\" in content else ():
            place = Span(self.source, inner + i, inner + i + 1)
            if char == "\\":
                self._refuse(errors.EscapeInString(place))
            elif not char.isprintable() and char not in "\n\r\t ":
                self._refuse(errors.UnknownCharacter(place, char))
        return type_, content

    def _unknown(self, start: int) -> None:
        self.position = start + 1
        if self.text[start] == "'" and (quoted := re.compile(r"'[^'\n]*'").match(self.text, start)):
            self.position = quoted.end()
            self._refuse(errors.SingleQuotes(self._span(start), quoted.group()[1:-1]))
            return
        self._refuse(errors.UnknownCharacter(self._span(start), self.text[start]))


def _is_letter(char: str) -> bool:
    name = f"x{char}"
    return char == "'" or (
        name.isidentifier()
        and _PLAIN_NAME.fullmatch(unicodedata.normalize("NFKC", name)) is not None
    )


def _why_no_number(lexeme: str, tail: str) -> tuple[str, str | None]:
    number = lexeme[: -len(tail)]
    if tail in ("j", "i", "J"):
        return "is no number", f"an imaginary number is written  complex(0, {number})"
    if tail.startswith("_"):
        return "is no number", f"write it without underscores: {lexeme.replace('_', '')}"
    if _LETTERS.match(tail) and number != "0":
        return "is no number", f"a product needs its sign:  {number} * {tail}"
    return "is no number", None
