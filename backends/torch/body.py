"""The body of one printed function: its lines, its local names, and what each slot holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from tensorlang.backends.torch.layout import WIDTH, statement
from tensorlang.backends.torch.names import Names
from tensorlang.backends.torch.operand import Operand, Value
from tensorlang.backends.torch.sizes import UNARY, Text, bound, size_text
from tensorlang.dtype import Dtype
from tensorlang.plan.plan import Slot
from tensorlang.size import Size


class Module(Protocol):
    """What a body asks of its file: functions of the library, by name, and functions of its own."""

    def require(self, function: str) -> str: ...
    def require_import(self, line: str) -> None: ...
    def require_text(self, text: str) -> None: ...
    def fresh(self, name: str) -> str: ...
    def taken(self) -> frozenset[str]: ...
    def define(self, text: str) -> None: ...
    def define_operator(self, operator: str, mask: str) -> None: ...


@dataclass
class Body:
    """Statements at an indentation. `device` and `dtype` are expressions for the module's own.

    `training` says whether the module is in training mode; `symbols` names the variables that
    hold dynamic sizes. `results` fixes the names of values that several branches define. Values
    that are read `once` may be kept `unsplit`, as a matrix product leaves them.
    """

    file: Module
    names: Names
    device: str = "None"
    dtype: str = "torch.get_default_dtype()"
    training: str = "self.training"
    indent: int = 8
    index_checks: bool = True
    lines: list[str] = field(default_factory=list)
    values: dict[Slot, Value] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, str] = field(default_factory=dict)
    source_names: dict[Slot, str] = field(default_factory=dict)
    axis_names: dict[Slot, tuple[str, ...]] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    results: dict[Slot, str] = field(default_factory=dict)
    once: frozenset[Slot] = frozenset()
    unsplit: set[str] = field(default_factory=set)

    def line(self, text: str) -> None:
        self.lines.extend(statement(text, self.indent))

    def comment(self, text: str) -> None:
        self.lines.append(f"{' ' * self.indent}# {text}")

    def assign(self, name: str, text: str) -> str:
        """Bind a fresh local name; returns it."""
        fresh = self.names.fresh(name)
        self.line(f"{fresh} = {text[1:-1] if _enclosed(text) else text}")
        return fresh

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Statements under `head`; what is cached inside is forgotten after it."""
        self.line(head)
        self.indent += 4
        kept = dict(self.ranges), dict(self.values), set(self.checked), self.names.copy()
        yield
        self.ranges, self.values, self.checked, self.names = kept
        self.indent -= 4

    def nested(self) -> Body:
        """The body of a module-level function of `rows`, `sizes` and `tensors`."""
        names = Names((*self.file.taken(), "rows", "sizes", "tensors"))
        return Body(self.file, names, "rows.device", self.dtype, "False", 4, index_checks=False)

    # --- sizes ---
    def symbol(self, name: str) -> str:
        assert name in self.symbols, (name, self.symbols)
        return self.symbols[name]

    def size_text(self, size: Size) -> Text:
        return size_text(size, self.symbol)

    def size(self, size: Size, least: int = UNARY) -> str:
        return bound(self.size_text(size), least)

    def sizes(self, sizes: Sequence[Size]) -> str:
        return ", ".join(self.size_text(size)[0] for size in sizes)

    def arange(self, size: Size) -> str:
        """A variable that holds 0 … size-1."""
        text = self.size_text(size)[0]
        if text not in self.ranges:
            hint = f"{text}_range" if text.isidentifier() else f"range_{text}"
            if not hint.isidentifier():
                hint = "positions"
            self.ranges[text] = self.assign(hint, f"torch.arange({text}, device={self.device})")
        return self.ranges[text]

    # --- dtypes ---
    @contextmanager
    def at_least_float32(self) -> Iterator[None]:
        """Compute in a dtype that holds positions: 257 has no neighbours in bfloat16."""
        kept, key = self.dtype, "at least float32"
        if key not in self.ranges:
            text = f"torch.promote_types({kept}, torch.float32)"
            self.ranges[key] = self.assign("wide", text)
        self.dtype = self.ranges[key]
        yield
        self.dtype = kept

    def dtype_text(self, dtype: Dtype) -> str:
        """An expression for torch's dtype."""
        match dtype:
            case Dtype.BOOL:
                return "torch.bool"
            case Dtype.INT:
                return "torch.int64"
            case Dtype.REAL:
                return self.dtype
            case Dtype.COMPLEX:
                return f"{self.file.require('_complex_dtype')}({self.dtype})"

    def cast(self, operand: Operand, dtype: Dtype) -> Operand:
        if operand.dtype == dtype:
            return operand
        text = f"{operand.text}.to({self.dtype_text(dtype)})"
        return Operand(text, operand.labels, operand.memory, dtype)

    # --- values ---
    def whole(self, slot: Slot, labels: Sequence[int]) -> Operand:
        """A slot read as it is, axis k under labels[k]."""
        value = self.values[slot]
        memory = tuple(labels[axis] for axis in value.memory)
        joined = value.joined
        if joined is not None:
            joined = joined[0], tuple(tuple(labels[a] for a in part) for part in joined[1])
        return Operand(value.text, tuple(labels), memory, value.dtype, joined)

    def store(
        self, slot: Slot, name: str, operand: Operand, axes: Sequence[int], shape: Sequence[Size]
    ) -> None:
        """Bind a slot to an operand whose labels are `axes` in this order."""
        assert operand.labels == tuple(axes), (operand, axes)
        fresh = self.results.get(slot) or self.names.fresh(name)
        joined = operand.joined if slot in self.once else None
        text = operand.text if joined is None else joined[0]
        if _enclosed(text):
            text = text[1:-1]
        renamed = text in self.unsplit and self._renamed(text, fresh)
        if fresh != text and not renamed:
            self.line(f"{fresh} = {text}")
        places = {label: axis for axis, label in enumerate(axes)}
        memory = tuple(places[label] for label in operand.memory)
        value = Value(fresh, tuple(shape), memory, operand.dtype)
        if joined is not None:
            parts = tuple(tuple(places[label] for label in part) for part in joined[1])
            value = replace(value, text=self._split(fresh, parts, shape), joined=(fresh, parts))
            self.unsplit.add(fresh)
        self.values[slot] = value

    def _split(self, name: str, parts: Sequence[tuple[int, ...]], shape: Sequence[Size]) -> str:
        """The split that was left out where a value was made, for its one reader."""
        text, place = name, 0
        for number, part in enumerate(parts):
            if len(part) > 1:
                at = -1 if number == len(parts) - 1 else place
                text += f".unflatten({at}, ({self.sizes([shape[axis] for axis in part])}))"
            place += len(part)
        return text

    def _renamed(self, name: str, other: str) -> bool:
        """Give a value that its one reader takes as it is that reader's name."""
        start = f"{' ' * self.indent}{name} = "
        number = max(k for k, line in enumerate(self.lines) if line.startswith(start))
        line = self.lines[number].replace(f"{name} = ", f"{other} = ", 1)
        if len(line) > WIDTH:
            return False
        self.lines[number] = line
        return True

    def axis_text(self, slot: Slot, axis: int) -> str:
        """Which axis of what, for messages: "axis n of X"."""
        names = self.axis_names.get(slot)
        shown = names[axis] if names is not None and axis < len(names) else str(axis)
        return f"axis {shown} of {self.source_names.get(slot, 'a tensor')}"

    def hold(self, operand: Operand, name: str) -> Operand:
        """Give a compound expression a name of its own."""
        if operand.text.isidentifier():
            return operand
        return Operand(
            self.assign(name, operand.text), operand.labels, operand.memory, operand.dtype
        )


def _enclosed(text: str) -> bool:
    """Whether one pair of parentheses holds all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and place < len(text) - 1:
            return False
    return "," not in text or _inner_commas(text)


def _inner_commas(text: str) -> bool:
    depth = 0
    for char in text[1:-1]:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            return False
    return True
