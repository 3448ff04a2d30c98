"""Compare syntax trees up to spans."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from tensorlang.source import Source, Span
from tensorlang.syntax.parse import parse


def bare(node: object) -> object:
    """A tree without its spans, as nested tuples."""
    if isinstance(node, tuple):
        return tuple(bare(child) for child in node)
    if is_dataclass(node):
        values = [(field.name, getattr(node, field.name)) for field in fields(node)]
        kept = [(name, bare(value)) for name, value in values if not isinstance(value, Span)]
        return (type(node).__name__, *kept)
    return node


def tree(text: str) -> object:
    return bare(parse(Source("test.tl", text)))
