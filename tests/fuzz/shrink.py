"""Make a failing program shorter: drop lines, then terms, while it still fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable


def shrink(text: str, fails: Callable[[str], bool], budget: int = 400) -> str:
    """The shortest program found; `fails` is asked at most `budget` times."""
    asked = 0

    def still(candidate: str) -> bool:
        nonlocal asked
        asked += 1
        return asked <= budget and fails(candidate)

    changed = True
    while changed and asked < budget:
        changed = False
        lines = text.splitlines()
        for k in reversed(range(len(lines))):
            shorter = "\n".join([*lines[:k], *lines[k + 1 :]]) + "\n"
            if lines[k].strip() and still(shorter):
                lines, text, changed = shorter.splitlines(), shorter, True
        for candidate in _simpler(text):
            if still(candidate):
                text, changed = candidate, True
                break
    return re.sub(r"\n{3,}", "\n\n", text)


def _simpler(text: str) -> list[str]:
    """The text with one bracketed part, or one term, taken out."""
    out = []
    for found in re.finditer(r" [+*-] (?=\S)", text):
        line_end = text.find("\n", found.start())
        out.append(text[: found.start()] + text[line_end:])
    opened: list[int] = []
    for at, char in enumerate(text):
        if char == "(":
            opened.append(at)
        elif char == ")" and opened:
            start = opened.pop()
            inner = text[start + 1 : at]
            word = re.search(r"\w*$", text[:start])
            assert word is not None
            out.append(text[: word.start()] + f"({inner})" + text[at + 1 :] if word[0] else text)
            out.append(text[:start] + "(0.5)" + text[at + 1 :])
    return sorted({c for c in out if len(c) < len(text)}, key=len)
