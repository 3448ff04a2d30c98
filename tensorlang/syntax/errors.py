"""Mistakes of syntax, E01xx: characters, layout, tokens that the grammar does not expect."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.source import Span


@dataclass(frozen=True)
class UnexpectedToken(Diagnostic):
    """`expected` lists in the user's words what could stand here."""

    code = "E0101"
    found: str
    expected: tuple[str, ...]
    hint: str | None = None

    def message(self) -> str:
        if not self.expected:
            return f"unexpected {self.found}"
        return f"found {self.found}, expected {_either(self.expected)}"

    def label(self) -> str:
        return "not expected here"

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class UnknownCharacter(Diagnostic):
    code = "E0102"
    char: str

    def message(self) -> str:
        return f"{_name(self.char)} has no meaning here"

    def label(self) -> str:
        return "unknown character"

    def help(self) -> str | None:
        return _CHARACTERS.get(self.char)


@dataclass(frozen=True)
class TabIndentation(Diagnostic):
    code = "E0103"

    def message(self) -> str:
        return "a tab in the indentation"

    def label(self) -> str:
        return "blocks are indented by spaces"

    def help(self) -> str:
        return "replace each tab by four spaces"


@dataclass(frozen=True)
class BadIndentation(Diagnostic):
    """`first` is the line whose indentation this one should share, if there is one."""

    code = "E0104"
    found: int
    expected: int
    first: Span | None

    def message(self) -> str:
        return f"this line is indented by {self.found}, expected {self.expected}"

    def label(self) -> str:
        return "" if self.first else "it belongs to no layer"

    def also(self) -> tuple[Label, ...]:
        if self.first is None:
            return ()
        return (Label(self.first, f"the layer's statements are indented by {self.expected}"),)


@dataclass(frozen=True)
class UnclosedBracket(Diagnostic):
    code = "E0105"
    bracket: str
    met: Span | None

    def message(self) -> str:
        return f"'{self.bracket}' is never closed"

    def label(self) -> str:
        return "opened here"

    def also(self) -> tuple[Label, ...]:
        return () if self.met is None else (Label(self.met, "still open here"),)

    def help(self) -> str:
        return f"add '{_CLOSING[self.bracket]}'"


@dataclass(frozen=True)
class UnmatchedBracket(Diagnostic):
    code = "E0106"
    bracket: str
    opener: Span | None

    def message(self) -> str:
        if self.opener is None:
            return f"'{self.bracket}' closes nothing"
        return f"'{self.bracket}' cannot close '{self.opener.text}'"

    def also(self) -> tuple[Label, ...]:
        return () if self.opener is None else (Label(self.opener, "opened here"),)

    def help(self) -> str | None:
        if self.opener is None:
            return None
        return f"close it with '{_CLOSING[self.opener.text]}'"


@dataclass(frozen=True)
class UnterminatedString(Diagnostic):
    code = "E0107"
    is_docstring: bool

    def message(self) -> str:
        return "this docstring never ends" if self.is_docstring else "this string never ends"

    def label(self) -> str:
        return "begins here"

    def help(self) -> str:
        if self.is_docstring:
            return 'end it with  """'
        return 'end it with  "  on the same line'


@dataclass(frozen=True)
class EscapeInString(Diagnostic):
    code = "E0108"

    def message(self) -> str:
        return "a backslash in a string: strings and docstrings have no escapes"

    def label(self) -> str:
        return "remove it"


@dataclass(frozen=True)
class BadNumber(Diagnostic):
    code = "E0109"
    text: str
    why: str
    hint: str | None

    def message(self) -> str:
        shown = self.text if len(self.text) <= 24 else f"{self.text[:20]}…"
        return f"{shown} {self.why}"

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class TooNested(Diagnostic):
    code = "E0110"
    most: int

    def message(self) -> str:
        return f"expressions are nested deeper than {self.most}"

    def label(self) -> str:
        return "this level is one too many"

    def help(self) -> str:
        return "give the inner parts names, as equations of their own"


@dataclass(frozen=True)
class NotText(Diagnostic):
    code = "E0111"
    byte: int

    def message(self) -> str:
        return f"the file is not UTF-8 text: byte 0x{self.byte:02x}"

    def label(self) -> str:
        return "the first byte that is no text"


@dataclass(frozen=True)
class EmptyFile(Diagnostic):
    code = "E0112"

    def message(self) -> str:
        return "the file holds no layer and no def"

    def help(self) -> str:
        return "a layer begins with  layer Name(d = 64):"


@dataclass(frozen=True)
class LayerWithoutBody(Diagnostic):
    code = "E0113"
    layer: str

    def message(self) -> str:
        return f"layer {self.layer} has no statements"

    def label(self) -> str:
        return "its statements follow on lines of their own, indented by four spaces"


@dataclass(frozen=True)
class ForeignOperator(Diagnostic):
    code = "E0114"
    found: str
    ours: str

    def message(self) -> str:
        return f"{self.found} is not an operator of the language"

    def label(self) -> str:
        return f"write {self.ours}"

    def help(self) -> str | None:
        if self.found == "**":
            return "a power is written  x^2"
        if self.found == "||":
            return "or is written  or,  the size of dim c  |c|"
        return None


@dataclass(frozen=True)
class OutsideLayer(Diagnostic):
    code = "E0115"
    found: str

    def message(self) -> str:
        return f"{self.found} stands outside a layer"

    def label(self) -> str:
        return "at the left margin stand use, layer and def"

    def help(self) -> str:
        return "the statements of a layer are indented, by four spaces"


@dataclass(frozen=True)
class ReservedWord(Diagnostic):
    code = "E0116"
    word: str

    def message(self) -> str:
        return f"{self.word} is a word of the language, it cannot be a name"

    def label(self) -> str:
        return "choose another name"


@dataclass(frozen=True)
class PrimedName(Diagnostic):
    code = "E0117"
    name: str
    what: str

    def message(self) -> str:
        return f"{self.name} cannot be the name of {self.what}: only indices have primes"

    def help(self) -> str:
        return f"write {self.name.rstrip(chr(39))}"


@dataclass(frozen=True)
class SingleQuotes(Diagnostic):
    code = "E0118"
    content: str

    def message(self) -> str:
        return "strings stand in double quotes"

    def help(self) -> str:
        return f'write  "{self.content}"'


@dataclass(frozen=True)
class SlotMisplaced(Diagnostic):
    """A form of subscript where it has no meaning, or a part of it that has none."""

    code = "E0119"
    what: str
    rule: str

    def message(self) -> str:
        return f"{self.what}; {self.rule}"


@dataclass(frozen=True)
class NestedLayer(Diagnostic):
    code = "E0120"
    word: str

    def message(self) -> str:
        return f"{self.word} cannot stand inside a layer"

    def label(self) -> str:
        return "begin it at the left margin"


@dataclass(frozen=True)
class DocstringMisplaced(Diagnostic):
    code = "E0121"

    def message(self) -> str:
        return "a docstring is the first line of a layer, nothing else"

    def help(self) -> str:
        return "elsewhere write comments, from # to the end of the line"


@dataclass(frozen=True)
class ArgumentOrder(Diagnostic):
    code = "E0122"
    named: Span

    def message(self) -> str:
        return "an argument without a name follows one with a name"

    def label(self) -> str:
        return "give it by name, or before those with names"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.named, "given by name"),)


_CLOSING = {"(": ")", "[": "]"}

_CHARACTERS = {
    "@": "a matrix product names its indices:  A[i, j] * B[j, k]",
    "|": "the size of dim c is |c|, an absolute value abs(x), a norm norm[i](x)",
    "{": "lists stand in [ ]; blocks are indented",
    "}": "lists stand in [ ]; blocks are indented",
    ";": "each statement has a line of its own",
    ".": "names have no attributes; ... stands for the batch dims",
    "\\": "lines break freely inside brackets",
    "?": "a condition is written  a if c else b",
    "∑": "a sum is written  sum[j](...)",
    "∏": "a product is written  prod[j](...)",
    "√": "a square root is written  sqrt(x)",
    "∈": "conditions are built from comparisons",
    "′": "primes are apostrophes:  n'",
    "″": "primes are apostrophes:  n''",
    "’": "primes are apostrophes:  n'",
    "“": 'strings stand in straight quotes: "text"',
    "”": 'strings stand in straight quotes: "text"',
    "²": "a power is written  x^2",
    "³": "a power is written  x^3",
    "'": "a prime follows the name of an index without a space:  n'",
}


def _name(char: str) -> str:
    if char.isprintable() and not char.isspace():
        return char
    name = unicodedata.name(char, "")
    return f"the character U+{ord(char):04X}" + (f" ({name.lower()})" if name else "")


def _either(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
