"""Derivatives as the rows of the library write them: over the arguments x, y, z and the value f."""

from __future__ import annotations

import functools

from tensorlang.source import Source
from tensorlang.syntax import ast
from tensorlang.syntax.parse import parse


@functools.cache
def parse_derivative(text: str) -> ast.Expr:
    """The syntax tree of a derivative."""
    (definition,) = parse(Source("derivative", f"def slope(x, y, z, f) = {text}\n")).items
    assert isinstance(definition, ast.Def), text
    return definition.body
