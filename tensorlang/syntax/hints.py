"""What to say where a token does not fit: expected things in the user's words, a help line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tensorlang.diagnostics import Diagnostic
from tensorlang.syntax.errors import DocstringMisplaced, ReservedWord, UnexpectedToken
from tensorlang.syntax.tokens import KEYWORDS, PUNCTUATION, STATEMENTS, Token


def unexpected(tokens: Sequence[Token], at: int, accepted: Iterable[str]) -> Diagnostic:
    """The diagnostic for tokens[at] where the grammar accepts `accepted`."""
    bad, accepted = tokens[at], set(accepted)
    in_index = bad.type == "IN" and tokens[0].type == "INDEX"
    if bad.type in KEYWORDS.values() and "NAME" in accepted and at > 0 and not in_index:
        return ReservedWord(bad.span, bad.text)
    if bad.type == "DOCSTRING":
        return DocstringMisplaced(bad.span)
    return UnexpectedToken(bad.span, _found(bad), _expected(accepted), _hint(tokens, at, accepted))


def _found(token: Token) -> str:
    match token.type:
        case "NEWLINE":
            return "the end of the line"
        case "STRING":
            return "a string"
        case "SIZE":
            return f"|{token.text}|"
        case _ if token.type in KEYWORDS.values():
            return token.text
        case "NAME" | "INT" | "FLOAT":
            return token.text if len(token.text) <= 40 else f"{token.text[:40]}…"
        case _:
            return f"'{token.text}'"


_SIGNS = {type_: text for text, type_ in PUNCTUATION.items()}
_EXPRESSION = {"NAME", "INT", "FLOAT", "STRING", "SIZE", "LPAR", "LSQB", "MINUS", "NOT"}
_TERM = _EXPRESSION - {"NOT"}
_ARITHMETIC = {"PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR_DIVIDE", "MODULO"}
_COMPARISON = {"EQ", "NE", "LE", "LT", "GE", "GT"}
_LOGIC = {"AND", "OR", "IF"}
_ASSIGNS = {"EQUALS", "ADD_TO", "MAX_TO", "MIN_TO"}
_GROUPS: tuple[tuple[str, set[str], set[str]], ...] = (
    # what is said, the terminals that must all be accepted, those that it then covers
    ("a statement", {"INPUT", "OUTPUT", "NAME"}, {*STATEMENTS, "NAME", "DOCSTRING"}),
    ("use, layer or def", {"USE", "LAYER", "DEF"}, {"USE", "LAYER", "DEF", "$END"}),
    ("an expression", _EXPRESSION, _EXPRESSION),
    ("an expression", _TERM, _TERM),
    ("'='", _ASSIGNS, _ASSIGNS),
    ("an operator", _ARITHMETIC, _ARITHMETIC | _COMPARISON | _LOGIC | {"CARET"}),
)
_WORDS = {"NAME": "a name", "STRING": "a string", "NEWLINE": "the end of the line"}
_ORDER = (
    *("NAME", "STRING", "LSQB", "LPAR", "COMMA", "RPAR", "RSQB", "EQUALS", "COLON", "TILDE"),
    *("ARROW", "ELLIPSIS", "IN", "WHERE", "WHEN", "ELSE", "AS", "PARAM"),
    *("AND", "OR", "IF", *sorted(_COMPARISON), *sorted(_ARITHMETIC), "CARET", "NEWLINE"),
)


def _expected(accepted: set[str]) -> tuple[str, ...]:
    """At most five things, expressions and operators each as one."""
    words: list[str] = []
    rest = set(accepted)
    for word, needed, covered in _GROUPS:
        if needed <= rest:
            rest -= covered
            words.append(word)
    if "an operator" in words:
        rest -= {"LSQB", "LPAR"}
    for type_ in _ORDER:
        if type_ in rest:
            sign = f"'{_SIGNS[type_]}'" if type_ in _SIGNS else type_.lower()
            words.append(_WORDS.get(type_, sign))
    return tuple(words) if len(words) <= 5 else (*words[:4], "others")


_FIRST_WORDS = {
    "import": "other files are brought in by  use std: rmsnorm",
    "from": "other files are brought in by  use std: rmsnorm",
    "class": "a layer begins with  layer Name(d = 64):",
    "module": "a layer begins with  layer Name(d = 64):",
    "fn": "a function is written  def f(x) = exp(x)",
    "function": "a function is written  def f(x) = exp(x)",
    "return": "what a layer returns is written  output Y[n, d] = ...",
    "for": "there are no loops: an equation holds for all values of its indices",
    "while": "there are no loops: an equation holds for all values of its indices",
    "let": "an equation needs no word before it:  T[i, j] = ...",
    "var": "an equation needs no word before it:  T[i, j] = ...",
    "weight": "a trained tensor is declared by  param",
    "parameter": "a trained tensor is declared by  param",
    "inputs": "the word is  input",
    "outputs": "the word is  output",
    "params": "the word is  param",
    "dims": "the word is  dim",
    "indices": "the word is  index",
    "layers": "the word is  layer",
}


def _hint(tokens: Sequence[Token], at: int, accepted: set[str]) -> str | None:
    bad = tokens[at]
    before = tokens[at - 1] if at else None
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if tokens[0].type == "NAME" and at <= 1 and (word := _FIRST_WORDS.get(tokens[0].text)):
        return word
    if bad.type == "IF" and at == 0:
        return "a condition is an expression:  T[i] = a if c else b"
    if bad.type == "ELLIPSIS":
        return "... stands in brackets, for the batch dims"
    if before is None:
        return None
    inside = _innermost(tokens[:at])
    if bad.type == "EQUALS" and "EQ" in accepted:
        is_second = inside is None and any(token.type == "EQUALS" for token in tokens[:at])
        is_test = any(token.type in ("IF", "WHERE", "CHECK") for token in tokens[:at])
        if is_second and not is_test:
            return "an equation has one  ="
        return "equality is tested by  =="
    if before.type == bad.type == "EQUALS":
        return "equality is tested by  =="
    if bad.type == "EQ" and "EQUALS" in accepted:
        return "a definition has one  ="
    if bad.type == "LSQB" and before.type in ("RSQB", "RPAR"):
        return "all subscripts stand in one pair of brackets, after a name:  X[i, j]"
    if bad.type == "LPAR" and before.type == "RPAR":
        return "only a name can be called"
    if bad.type == "COLON" and tokens[0].type == "DEF":
        return "a def is one expression:  def f(x) = exp(x)"
    if bad.type == "COLON" and before.type in ("LSQB", "COMMA"):
        return "there are no slices: an index runs over all its values"
    if bad.type in _ARITHMETIC and after is not None and after.type == "EQUALS":
        return "there are  +=,  max=  and  min="
    if bad.type in ("NAME", "INT", "FLOAT", "SIZE") and before.type in (
        *("NAME", "INT", "FLOAT", "SIZE", "RPAR", "RSQB"),
    ):
        if "COMMA" in accepted and (inside == "LSQB" or "TIMES" not in accepted):
            return f"separate them by a comma:  {_joined(before, ', ', bad)}"
        if "TIMES" in accepted:
            return f"a product needs its sign:  {_joined(before, ' * ', bad)}"
    if bad.type == "NEWLINE":
        return _at_line_end(tokens, accepted)
    if bad.type == "PLUS" and "MINUS" in accepted and after is not None:
        return "there is no unary plus"
    return None


def _joined(before: Token, sign: str, bad: Token) -> str:
    head = "..." if before.type in ("RPAR", "RSQB") else before.span.text
    return f"{head}{sign}{bad.span.text}"


def _innermost(tokens: Sequence[Token]) -> str | None:
    """The type of the innermost bracket that is open after these tokens."""
    opened = [""]
    for token in tokens:
        if token.type in ("LPAR", "LSQB"):
            opened.append(token.type)
        elif token.type in ("RPAR", "RSQB"):
            opened.pop()
    return opened[-1] or None


def _at_line_end(tokens: Sequence[Token], accepted: set[str]) -> str | None:
    first = tokens[0].type
    if first == "LAYER" and "COLON" in accepted:
        return "the line of a layer ends with  :"
    if first == "LAYER" and "LPAR" in accepted:
        return f"write  layer {tokens[1].text}():"
    if first == "SUB" and "LPAR" in accepted:
        return f"write  {tokens[-2].text}()"
    if "ELSE" in accepted and any(token.type == "IF" for token in tokens):
        return "a condition has two branches:  a if c else b"
    if accepted >= _TERM:
        return "a line goes on where a bracket is open: put parentheses around the expression"
    return None
