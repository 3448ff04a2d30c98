"""A tree of dataclasses as indented text, spans left out: --emit ast and --emit program."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from tensorlang.source import Span

_WIDTH = 96


def tree_text(value: Any, indent: int = 0) -> str:
    """Print a value; what fits on a line stays on it."""
    short = _line(value, _WIDTH - indent)
    if short is not None:
        return short
    inner = " " * (indent + 2)
    if is_dataclass(value):
        parts = [f"{name} = {tree_text(item, indent + 2)}" for name, item in _shown(value)]
        return "\n".join([f"{type(value).__name__}:", *(inner + part for part in parts)])
    assert isinstance(value, (tuple, list)), value
    return "\n".join(
        ["[", *(f"{inner}{tree_text(item, indent + 2)}" for item in value), inner[2:] + "]"]
    )


def _line(value: Any, room: int) -> str | None:
    """The value on one line of at most `room` characters, or None."""
    if room < 8:
        room = 8
    if is_dataclass(value) and not isinstance(value, type):
        parts: list[str] = []
        left = room - len(type(value).__name__) - 2
        for name, item in _shown(value):
            text = _line(item, left - len(name) - 3)
            if text is None:
                return None
            parts.append(f"{name}={text}")
            left -= len(parts[-1]) + 2
        made = f"{type(value).__name__}({', '.join(parts)})"
    elif isinstance(value, (tuple, list)):
        items: list[str] = []
        left = room - 2
        for item in value:
            text = _line(item, left)
            if text is None:
                return None
            items.append(text)
            left -= len(text) + 2
        made = f"[{', '.join(items)}]"
    elif isinstance(value, Enum):
        return value.name
    else:
        return repr(value) if isinstance(value, str) else str(value)
    return made if len(made) <= room else None


def _shown(value: Any) -> list[tuple[str, Any]]:
    named = [(field.name, getattr(value, field.name)) for field in fields(value)]
    return [(name, item) for name, item in named if not isinstance(item, Span)]
