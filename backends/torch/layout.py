"""Lays statements out in 100 columns, as a formatter does: splits at the outermost brackets."""

from __future__ import annotations

from itertools import pairwise

WIDTH = 100
_OPEN, _CLOSE = "([{", ")]}"


def statement(text: str, indent: int) -> list[str]:
    """Lines of one statement. A text that fits is one line."""
    margin = " " * indent
    if indent + len(text) <= WIDTH:
        return [margin + text]
    name, rest = _assigned(text)
    if name is not None and (chain := _operators(name, rest, indent)) is not None:
        return chain
    if (fluent := _fluent(name or "", rest, indent)) is not None:
        return fluent
    split = _bracket(text, indent)
    if split is None:
        return [margin + text]
    start, end = split
    head, body, tail = text[: start + 1], text[start + 1 : end], text[end:]
    if not body.strip():
        return [margin + text]
    exploded = text[start] == "{"
    return [margin + head, *_body(body, indent + 4, exploded), margin + tail]


def _fluent(first: str, text: str, indent: int) -> list[str] | None:
    """A chain of two or more calls of methods on a call, one to a line."""
    cuts, depth = [0], 0
    for place, char in _code(text):
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        elif char == "." and depth == 0 and place and text[place - 1] == ")":
            cuts.append(place)
        elif depth == 0 and not (char.isalnum() or char in "._"):
            return None
    if len(cuts) < 3:
        return None
    parts = [text[a:b] for a, b in pairwise([*cuts, len(text)])]
    lines = [line for part in parts for line in statement(part, indent + 4)]
    margin = " " * indent
    return [f"{margin}{first}(", *lines, f"{margin})"]


def _body(body: str, indent: int, exploded: bool = False) -> list[str]:
    margin = " " * indent
    parts = _commas(body)
    if len(parts) == 1:
        whole = parts[0]
        if indent + len(whole) <= WIDTH:
            return [margin + whole]
        return _operators("", whole, indent, bracketed=True) or statement(whole, indent)
    one_line = ", ".join(parts)
    fits = indent + len(one_line) <= WIDTH and not exploded
    if fits and not body.rstrip().endswith(","):
        return [margin + one_line]
    out: list[str] = []
    for part in parts:
        lines = statement(part, indent) if not part.startswith("*") else [margin + part]
        lines[-1] += ","
        out += lines
    return out


def _bracket(text: str, indent: int) -> tuple[int, int] | None:
    """The bracket pair to open: the last whose surroundings fit and that holds something."""
    pairs = [(start, end) for start, end in _outer(text) if end > start + 1]
    for start, end in reversed(pairs):
        if indent + max(start + 1, len(text) - end) <= WIDTH:
            return start, end
    return pairs[-1] if pairs else None


def _outer(text: str) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    depth = start = 0
    for place, char in _code(text):
        if char in _OPEN:
            if depth == 0:
                start = place
            depth += 1
        elif char in _CLOSE:
            depth -= 1
            if depth == 0:
                pairs.append((start, place))
    return pairs


def _code(text: str) -> list[tuple[int, str]]:
    """Characters outside string literals, with their places."""
    out: list[tuple[int, str]] = []
    quote = ""
    skip = False
    for place, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            if char == "\\":
                skip = True
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        else:
            out.append((place, char))
    return out


def _commas(body: str) -> list[str]:
    cuts, depth = [-1], 0
    for place, char in _code(body):
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        elif char == "," and depth == 0:
            cuts.append(place)
    cuts.append(len(body))
    parts = [body[a + 1 : b].strip() for a, b in pairwise(cuts)]
    return [part for part in parts if part]


def _assigned(text: str) -> tuple[str | None, str]:
    """("name = ", the rest), also for "return "."""
    if text.startswith("return "):
        return "return ", text[7:]
    name, equals, rest = text.partition(" = ")
    plain = equals and all(part.isidentifier() for part in name.split(", "))
    return (name + equals, rest) if plain else (None, text)


def _operators(first: str, text: str, indent: int, bracketed: bool = False) -> list[str] | None:
    """Split a chain of operators at depth 0, one operand a line, in parentheses."""
    for group in ((" if ", " else "), (" + ", " - "), (" | ", " & "), (" * ", " / ")):
        cuts = [0]
        depth = 0
        for place, char in _code(text):
            if char in _OPEN:
                depth += 1
            elif char in _CLOSE:
                depth -= 1
            elif depth == 0 and text.startswith(group, place):
                cuts.append(place + 1)
        if len(cuts) > 1:
            cuts.append(len(text))
            parts = [text[a:b].strip() for a, b in pairwise(cuts)]
            inner = indent if bracketed else indent + 4
            lines = [line for part in parts for line in statement(part, inner)]
            if bracketed:
                return lines
            margin = " " * indent
            return [f"{margin}{first}(", *lines, f"{margin})"]
    return None
