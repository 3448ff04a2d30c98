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

    def message(self) -> str:
        return f"{self.subscript} may lie outside axis {self.axis} of {self.tensor}"

    def label(self) -> str:
        return f"not provably in 0 ... {self.size} - 1"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, f"{self.tensor} is declared here"),)

    def help(self) -> str:
        if self.target:
            return f"write  {self.subscript} else drop  to leave out what lands outside"
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
        return f"in 0 ... {self.size} - 1"


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
