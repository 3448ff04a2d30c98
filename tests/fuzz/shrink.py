"""Make a failing program shorter: drop lines, then terms, while it still fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator


def shrink(text: str, fails: Callable[[str], bool], budget: int = 400) -> str:
    """The shortest program found; `fails` is asked at most `budget` times."""
    asked: set[str] = set()

    def still(candidate: str) -> bool:
        if candidate in asked or len(asked) >= budget:
            return False
        asked.add(candidate)
        return fails(candidate)

    changed = True
    while changed:
        changed = False
        for candidates in (_without_layers, _without_lines, _simpler):
            found = next((c for c in candidates(text) if still(c)), None)
            while found is not None:
                text, changed = found, True
                found = next((c for c in candidates(text) if still(c)), None)
    return text


def _without_layers(text: str) -> Iterator[str]:
    blocks = text.strip().split("\n\n")
    for k in range(len(blocks) - 1):
        yield "\n\n".join([*blocks[:k], *blocks[k + 1 :]]) + "\n"


def _without_lines(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for k in reversed(range(len(lines))):
        if lines[k].strip():
            yield "\n".join([*lines[:k], *lines[k + 1 :]]) + "\n"


def _simpler(text: str) -> Iterator[str]:
    """The text without one item of a list, one term, one call, one bracketed part."""
    out = set()
    for found in re.finditer(r"( [+*/-] | where |, | else | if )", text):
        for end in _ends(text, found.end()):
            out.add(text[: found.start()] + text[end:])
    for found in re.finditer(r"([\w.]+(\[[^\[\]]*\])?|\)) [+*/-] ", text):
        out.add(text[: found.start()] + text[found.end() :])
    opened: list[int] = []
    for at, char in enumerate(text):
        if char in "([":
            opened.append(at)
        elif char in ")]" and opened:
            start = opened.pop()
            word = re.search(r"\w*(\[[^\[\]]*\])?$", text[:start])
            assert word is not None
            out.add(text[: word.start()] + text[start : at + 1] + text[at + 1 :])
            out.add(text[: word.start()] + text[start + 1 : at] + text[at + 1 :])
            out.add(text[: word.start()] + "0.5" + text[at + 1 :])
            out.add(text[: word.start()] + "1" + text[at + 1 :])
    yield from sorted((c for c in out if len(c) < len(text)), key=lambda c: (len(c), c))


def _ends(text: str, start: int) -> Iterator[int]:
    """Where a part that starts here may end: at a sign, a bracket, the end of the line."""
    depth = 0
    for at in range(start, len(text)):
        char = text[at]
        if char == "\n" or (char in ")]" and depth == 0):
            yield at
            return
        if char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char in " ," and depth == 0 and at > start:
            yield at
