"""Mistakes about reads: subscripts that may leave their axis, and their boundaries."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.size import Size
from tensorlang.source import Span


@dataclass(frozen=True)
class MayBeOutside(Diagnostic):
    code = "E0501"
    subscript: str
    tensor: str
    axis: str
    size: Size
    declared: Span
    target: bool = False

    @property
    def is_fixed(self) -> bool:
        """Whether a literal position is past the end at every call."""
        return self.subscript.isdecimal() and isinstance(self.size, int)

    def message(self) -> str:
        may = "lies" if self.is_fixed else "may lie"
        return f"{self.subscript} {may} outside axis {self.axis} of {self.tensor}"

    def label(self) -> str:
        if self.is_fixed:
            return f"positions run over {_positions(self.axis, self.size)}"
        if self.subscript.isdecimal():
            size = _size(self.axis, self.size)
            return f"not at every call: nothing says that {size} > {self.subscript}"
        return f"not provably in {_positions(self.axis, self.size)}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, f"{self.tensor} is declared here"),)

    def help(self) -> str:
        if self.is_fixed:
            return f"the last position is  {_size(self.axis, self.size)} - 1"
        if self.target:
            return f"write  {self.subscript} else drop  to leave out what lands outside"
        if self.subscript.isdecimal():
            return f"write  {self.subscript} else 0  for calls where there is no such position"
        return (
            f"write  {self.subscript} else 0, or wrap({self.subscript}), clamp({self.subscript}), "
            f"reflect({self.subscript})"
        )


@dataclass(frozen=True)
class UnprovedRead(Diagnostic):
    """What a bound hyperparameter may still prove."""

    code = "W0507"
    severity = "warning"
    subscript: str
    tensor: str
    axis: str
    size: Size

    def message(self) -> str:
        return (
            f"not proved for all values: {self.subscript} lies inside axis {self.axis} "
            f"of {self.tensor}"
        )

    def label(self) -> str:
        return f"in {_positions(self.axis, self.size)}"


@dataclass(frozen=True)
class NegativePosition(Diagnostic):
    code = "E0502"
    axis: str
    position: int

    def message(self) -> str:
        return f"position {self.position} lies before the axis"

    def label(self) -> str:
        return "positions count from 0"

    def help(self) -> str:
        return f"from the end, write  |{self.axis}| - {-self.position}"


@dataclass(frozen=True)
class ElseDiffers(Diagnostic):
    code = "E0503"
    first: Span

    def message(self) -> str:
        return "the else values of one reference differ"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.first, "the first one"),)


@dataclass(frozen=True)
class ElseValue(Diagnostic):
    code = "E0504"
    fault: str

    def message(self) -> str:
        return f"the value after else {self.fault}"


@dataclass(frozen=True)
class BoundaryMisused(Diagnostic):
    code = "E0505"
    name: str
    rule: str

    def message(self) -> str:
        return f"{self.name} {self.rule}"


@dataclass(frozen=True)
class SubscriptType(Diagnostic):
    code = "E0506"
    found: str

    def message(self) -> str:
        return f"a subscript is an integer, this is {self.found}"

    def help(self) -> str | None:
        return "floor(...) or // give an integer" if self.found == "real" else None


def _positions(axis: str, size: Size) -> str:
    return f"0 ... {size - 1}" if isinstance(size, int) else f"0 ... {_size(axis, size)} - 1"


def _size(axis: str, size: Size) -> str:
    """The size of an axis as the language writes it, of a group as a number."""
    return f"|{name}|" if (name := axis.rstrip("'")).isidentifier() else str(size)
