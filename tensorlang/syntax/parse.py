"""Text to syntax tree with Lark's LALR tables. The only file that imports lark.

The scanner's lines are fed one by one; where one does not fit, the parser goes back to its start
and on with the next, so that a run reports every line's mistake.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedToken

from tensorlang.diagnostics import Diagnostic, SpecError
from tensorlang.source import Source, Span
from tensorlang.syntax import ast, errors
from tensorlang.syntax.build import Builder, Refused
from tensorlang.syntax.hints import unexpected
from tensorlang.syntax.nesting import too_nested
from tensorlang.syntax.tokens import MOST_NESTED, STATEMENTS, TOP_LEVEL, Line, Token, scan

MOST_ERRORS = 200


def parse(source: Source) -> ast.File:
    """Parse a file. Raises SpecError with every syntax error found (at most a few hundred)."""
    diagnostics: list[Diagnostic] = []

    def report(diagnostic: Diagnostic) -> None:
        diagnostics.append(diagnostic)
        if len(diagnostics) >= MOST_ERRORS:
            raise SpecError(diagnostics)

    parser = _Parser(source, report)
    for line in scan(source, report):
        parser.line(line)
    items = parser.end()
    if not diagnostics and all(isinstance(item, ast.Use) for item in items):
        report(errors.EmptyFile(Span(source, 0, 0)))
    for node in too_nested(items, MOST_NESTED) if parser.is_deep and not diagnostics else ():
        report(errors.TooNested(node, MOST_NESTED))
    if diagnostics:
        raise SpecError(diagnostics)
    return ast.File(items, Span(source, 0, len(source.text)))


@functools.cache
def grammar() -> Lark:
    """Build the parser: 0.1 s, once a process."""
    return Lark(
        files("tensorlang.grammar").joinpath("tensorlang.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        start="file",
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=Builder(),
    )


class _Parser:
    """The layout of a file and the state of Lark's automaton.

    `stacks` are the automaton's at the start of the file's current item or statement: an error goes
    back there. Once a mistake is reported the values on them no longer matter.
    """

    def __init__(self, source: Source, report: Callable[[Diagnostic], None]) -> None:
        self.source = source
        self.report = report
        self.is_deep = False
        self._interactive: Any = grammar().parse_interactive("")
        self._state: Any = self._interactive.parser_state
        self._is_sound = True
        self._before_layer = self._stacks()
        self._header: Line | None = None  # of the layer that lines now belong to
        self._body: Line | None = None  # its first line
        self._statements = 0
        self._stray: str | None = None  # what lines that follow are, no news if they are it again

    def line(self, line: Line) -> None:
        self._is_sound = self._is_sound and not line.broken
        self.is_deep = self.is_deep or line.nesting > MOST_NESTED
        if line.indent == 0 or (self._header is None and line.type in TOP_LEVEL):
            self._end_layer()
            self._top_level(line)
        else:
            self._indented(line)

    def end(self) -> tuple[ast.Use | ast.Layer | ast.Def, ...]:
        """Close the last layer; the items, of use only if nothing was reported."""
        self._end_layer()
        if not self._is_sound:
            return ()
        end: Any = Token(
            "$END", "", Span(self.source, len(self.source.text), len(self.source.text))
        )
        items: tuple[ast.Use | ast.Layer | ast.Def, ...] = self._state.feed_token(end, True)
        return items

    # --- layout ----------------------------------------------------------------------------------
    def _top_level(self, line: Line) -> None:
        if line.indent:
            self._error(errors.BadIndentation(_first(line, self.source), line.indent, 0, None))
        if line.type in STATEMENTS or (line.type == "NAME" and _is_equation(line)):
            if self._stray != "outside":
                self._error(errors.OutsideLayer(_first(line, self.source), _what(line)))
            self._stray = "outside"
            return
        self._before_layer = self._stacks()
        is_fed = self._feed(line)
        self._stray = None if is_fed else "failed"
        if line.type == "LAYER":
            self._header, self._body, self._statements = line, None, 0
            if not is_fed:
                self._restore(self._before_layer)
                for type_ in ("LAYER", "NAME", "LPAR", "RPAR", "COLON", "NEWLINE"):
                    self._state.feed_token(Token(type_, "_", _first(line, self.source)))

    def _indented(self, line: Line) -> None:
        if self._header is None:
            if self._stray is None:
                self._error(errors.BadIndentation(_first(line, self.source), line.indent, 0, None))
            self._stray = self._stray or "indented"
            return
        if self._body is None:
            self._body = line
            self._state.feed_token(Token("INDENT", "", _first(line, self.source)))
        if line.indent == self._body.indent or line.has_tab:
            self._stray = None
        elif self._stray == "failed" and line.indent > self._body.indent:
            return
        elif self._stray is None:
            expected = self._body.indent
            first = _first(self._body, self.source)
            self._error(
                errors.BadIndentation(_first(line, self.source), line.indent, expected, first)
            )
            self._stray = "indented"
        if line.type in TOP_LEVEL:
            self._error(errors.NestedLayer(_first(line, self.source), line.tokens[0].text))
            self._stray = "indented"
            self._statements += 1
            return
        if line.type == "DOCSTRING" and line is not self._body:
            self._error(errors.DocstringMisplaced(_first(line, self.source)))
            return
        self._statements += line.type != "DOCSTRING"
        if not self._feed(line):
            self._stray = "failed"

    def _end_layer(self) -> None:
        if self._header is None:
            return
        header, self._header = self._header, None
        if not self._statements:
            name = header.tokens[min(1, len(header.tokens) - 1)]
            if not header.broken:
                self._error(errors.LayerWithoutBody(name.span, name.text))
                self._stray = "outside"
        if self._is_sound:
            self._state.feed_token(Token("DEDENT", "", _first(header, self.source)))
        else:
            self._restore(self._before_layer)

    # --- the automaton ---------------------------------------------------------------------------
    def _feed(self, line: Line) -> bool:
        """Feed a line and its end; on a mistake report it and go back to the line's start."""
        if line.broken:
            return False
        stacks = self._stacks()
        feed = self._state.feed_token
        last = line.tokens[-1].span
        end = Token("NEWLINE", "", Span(self.source, last.end, last.end))
        try:
            for token in line.tokens:
                feed(token)
            feed(end)
        except Refused as refused:
            self._error(refused.diagnostic)
        except UnexpectedToken as error:
            self._restore(stacks)
            self._error(self._unexpected(error.token, [*line.tokens, end]))
        else:
            return True
        self._restore(stacks)
        return False

    def _unexpected(self, bad: Any, tokens: list[Token]) -> Diagnostic:
        """Feed the tokens before the bad one again, to ask what could follow them."""
        at = next(i for i, token in enumerate(tokens) if token is bad)
        for token in tokens[:at]:
            self._state.feed_token(token)
        return unexpected(tokens, at, self._interactive.accepts())

    def _error(self, diagnostic: Diagnostic) -> None:
        self._is_sound = False
        self.report(diagnostic)

    def _stacks(self) -> tuple[list[Any], list[Any]]:
        return list(self._state.state_stack), list(self._state.value_stack)

    def _restore(self, stacks: tuple[list[Any], list[Any]]) -> None:
        self._state.state_stack[:], self._state.value_stack[:] = stacks


def _first(line: Line, source: Source) -> Span:
    """The place where a line begins, of a broken line perhaps without a token."""
    return line.tokens[0].span if line.tokens else Span(source, line.start, line.start)


def _is_equation(line: Line) -> bool:
    following = line.tokens[1].type if len(line.tokens) > 1 else ""
    return following in ("LSQB", "EQUALS", "ADD_TO", "MAX_TO", "MIN_TO", "COMMA")


def _what(line: Line) -> str:
    return "an equation" if line.type == "NAME" else f"{line.tokens[0].text}"
