"""Python names for the spec's names: of a spec, only these and repr reach the output."""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from collections.abc import Iterable

TAKEN = frozenset(
    {
        *keyword.kwlist,
        *dir(builtins),
        *("torch", "nn", "F", "Tensor", "math", "base64", "annotations", "self", "triton", "tl"),
        *("match", "case", "type", "LAYERS"),
    }
)
"""Names that a local variable or a class must not shadow."""


def identifier(name: str) -> str:
    """The nearest Python identifier: primes become `_1`, `_2`, all that is no letter `_`."""
    bare = name.rstrip("'")
    primes = len(name) - len(bare)
    text = "".join(c if c.isidentifier() or c.isdecimal() else "_" for c in _normal(bare)) or "_"
    if not text.isidentifier():
        text = "_" + text
    return _normal(f"{text}_{primes}" if primes else text)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def one_underscore(name: str) -> str:
    """A module-level name that Python does not mangle inside a class: never `__x`."""
    return f"_{name.lstrip('_')}" if name.startswith("__") else name


class Names:
    """The names of one Python scope, each given out once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*TAKEN, *taken}

    def copy(self) -> Names:
        out = Names()
        out._taken = set(self._taken)
        return out

    def fresh(self, wanted: str) -> str:
        """`wanted` as an identifier, with a suffix if that is taken."""
        name = plain = identifier(wanted)
        if name in self._taken and f"{plain}_" not in self._taken and plain in TAKEN:
            name = f"{plain}_"
        count = 2
        while name in self._taken:
            name, count = f"{plain}_{count}", count + 1
        self._taken.add(name)
        return name


def is_attribute(name: str) -> bool:
    """Whether `self.name` can be written, unmangled, for this name."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and _normal(name) == name
    )


def attribute(name: str, owner: str = "self") -> str:
    """An expression for an attribute whatever its name; a dotted one is an attribute of another.

    A number with more behind it is a stage of a stack.
    """
    holder, _, last = name.rpartition(".")
    if holder:
        above, _, stage = holder.rpartition(".")
        if above and stage.isdigit():
            owner, name = f"{attribute(above, owner)}[{stage}]", last
        else:
            owner, name = attribute(holder, owner), last
    return f"{owner}.{name}" if is_attribute(name) else f"getattr({owner}, {quoted(name)})"


def quoted(text: str) -> str:
    """repr, in double quotes where that needs no escapes."""
    shown = repr(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in text else shown


def comment_text(text: str) -> str:
    """Text that is safe inside a comment: one line, unprintable characters escaped."""
    return repr(text)[1:-1]


def tuple_text(texts: Iterable[str]) -> str:
    """A tuple of expressions."""
    parts = list(texts)
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def dotted(text: str, room: int) -> str:
    """Text cut to `room` characters."""
    return text if len(text) <= room else text[: room - 1] + "…"
