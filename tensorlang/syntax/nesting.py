"""How deep expressions are nested, measured without recursion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from tensorlang.source import Span
from tensorlang.syntax import ast

_EXPRESSIONS: tuple[type, ...] = get_args(ast.Expr)


def too_nested(items: tuple[ast.Use | ast.Layer | ast.Def, ...], most: int) -> Iterator[Span]:
    """Yield for each statement or def the first expression that has `most` others around it."""
    for item in items:
        for part in item.body if isinstance(item, ast.Layer) else (item,):
            if (span := _deep(part, most)) is not None:
                yield span


def _deep(root: object, most: int) -> Span | None:
    waiting: list[tuple[Any, int]] = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend((child, depth) for child in reversed(node))
            continue
        if isinstance(node, _EXPRESSIONS):
            depth += 1
            if depth > most:
                place: Span = node.span  # type: ignore[attr-defined]
                return place
        if is_dataclass(node) and not isinstance(node, Span):
            values = [getattr(node, field.name) for field in fields(node)]
            waiting.extend((value, depth) for value in reversed(values))
    return None
