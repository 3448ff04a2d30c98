"""The emitted file as it grows: imports, functions printed once, constants, operators."""

from __future__ import annotations

from dataclasses import dataclass, field

from tensorlang.backends.torch.layout import statement
from tensorlang.backends.torch.names import Names, one_underscore
from tensorlang.backends.torch.printed import FUNCTIONS, IMPORTS, NEEDS, definitions

DIGEST = "\0" * 12
"""Stands for the digest of the file's content, which names the namespace of its operators."""


@dataclass
class File:
    """Names, and what the classes asked for, each once."""

    class_names: tuple[str, ...]
    imports: dict[str, None] = field(default_factory=dict)
    functions: dict[str, None] = field(default_factory=dict)
    texts: dict[str, None] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        reserved = ("functools", "Callable", *FUNCTIONS)
        self._names = Names((*self.class_names, *reserved))
        self._given: list[str] = []

    def require(self, function: str) -> str:
        """Have a function of printed.py in the file."""
        assert function in FUNCTIONS, function
        if function not in self.functions:
            self.functions[function] = None
            for needed in NEEDS.get(function, ()):
                self.require(needed)
            for line in IMPORTS.get(function, ()):
                self.require_import(line)
        return function

    def require_import(self, line: str) -> None:
        self.imports[line] = None

    def require_text(self, text: str) -> None:
        """Have these definitions in the file."""
        self.texts.update(dict.fromkeys(definitions(text)))

    def fresh(self, name: str) -> str:
        """A module-level name that nothing else has."""
        given = self._names.fresh(one_underscore(name))
        self._given.append(given)
        return given

    def taken(self) -> frozenset[str]:
        """Names that local variables must leave alone."""
        return frozenset((*self.class_names, "functools", "Callable", *FUNCTIONS, *self._given))

    def constant(self, text: str) -> None:
        self.constants.append(text)

    def define(self, text: str) -> None:
        """Add a function of this file's own."""
        self.own.append(text)

    def define_operator(self, operator: str, mask: str) -> None:
        """Register attention in blocks under `mask` and bind it to a module-level name."""
        function = self.require("_attention_in_blocks")
        name = f"tensorlang_{DIGEST}::{operator.lstrip('_')}"
        self.own.append("\n".join(statement(f'{operator} = {function}("{name}", {mask})', 0)))
