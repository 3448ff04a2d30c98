"""Mistakes about sizes: of dims, axes and groups."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.size import Size
from tensorlang.source import Span


@dataclass(frozen=True)
class SizeNotInteger(Diagnostic):
    code = "E0301"
    name: str
    found: str

    def message(self) -> str:
        return f"the size of {self.name} must be a positive integer, found {self.found}"


@dataclass(frozen=True)
class SizeBelowOne(Diagnostic):
    code = "E0302"
    name: str
    size: int

    def message(self) -> str:
        return f"dim {self.name} would have size {self.size}"

    def label(self) -> str:
        return "a size is at least 1"


@dataclass(frozen=True)
class DoesNotDivide(Diagnostic):
    code = "E0303"
    numerator: Size
    divisor: Size

    def message(self) -> str:
        return f"{self.divisor} does not divide {self.numerator}"

    def label(self) -> str:
        return "a size must be an integer"

    def help(self) -> str:
        return "write // to round down"


@dataclass(frozen=True)
class DimCycle(Diagnostic):
    code = "E0304"
    name: str

    def message(self) -> str:
        return f"the size of {self.name} depends on itself"


@dataclass(frozen=True)
class UnknownDim(Diagnostic):
    code = "E0305"
    name: str
    close: str | None = None

    def message(self) -> str:
        return f"the size of {self.name} is not known"

    def label(self) -> str:
        return f"no hyperparameter, dim or input gives {self.name} a size"

    def help(self) -> str:
        hint = f"did you mean {self.close}? or " if self.close else ""
        return f"{hint}declare it: dim {self.name} = ..., or a hyperparameter {self.name}"


@dataclass(frozen=True)
class GroupSize(Diagnostic):
    code = "E0306"
    group: str
    size: Size
    axis: Size

    def message(self) -> str:
        return f"the group {self.group} has size {self.size}, its axis has size {self.axis}"


@dataclass(frozen=True)
class GroupUnknown(Diagnostic):
    code = "E0307"
    group: str
    names: tuple[str, ...]

    def message(self) -> str:
        return f"the sizes of {' and '.join(self.names)} in {self.group} are not known"

    def label(self) -> str:
        return "one unknown factor can be found by division, two cannot"


@dataclass(frozen=True)
class AxisSize(Diagnostic):
    code = "E0308"
    tensor: str
    axis: str
    axis_size: Size
    index: str
    index_size: Size
    declared: Span

    def message(self) -> str:
        return (
            f"axis {self.axis} of {self.tensor} has size {self.axis_size}, "
            f"but {self.index} runs over size {self.index_size}"
        )

    def label(self) -> str:
        return "an axis is read by an index of its own dim, or of a dim of equal size"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, f"{self.tensor} is declared here"),)


@dataclass(frozen=True)
class SizeOfCall(Diagnostic):
    code = "E0309"
    tensor: str
    what: str
    name: str

    def message(self) -> str:
        return f"{self.what} {self.tensor} has axis {self.name}, whose size only a call knows"

    def help(self) -> str:
        return f"make {self.name} a hyperparameter of the layer"


@dataclass(frozen=True)
class NotInSizes(Diagnostic):
    code = "E0310"
    found: str

    def message(self) -> str:
        return f"{self.found} cannot stand in a constant expression"

    def label(self) -> str:
        return "allowed: + - * / // % ^, len, min, max over numbers, dims and hyperparameters"


@dataclass(frozen=True)
class TableShape(Diagnostic):
    code = "E0311"
    name: str
    fault: str

    def message(self) -> str:
        return f"const {self.name}: {self.fault}"


@dataclass(frozen=True)
class DividedByZero(Diagnostic):
    code = "E0312"

    def message(self) -> str:
        return "division by zero"


@dataclass(frozen=True)
class TooLarge(Diagnostic):
    code = "E0313"

    def message(self) -> str:
        return "this number is too large for a size or a constant"


@dataclass(frozen=True)
class TooManyCells(Diagnostic):
    code = "E0317"
    what: str
    cells: int

    def message(self) -> str:
        return f"{self.what} has {float(self.cells):.3g} cells, no memory holds as many"

    def help(self) -> str:
        factors = ", or store it as factors, as in  param W[n, m] ~ kaiming as tt"
        return f"make its axes shorter{factors if self.what.startswith('param') else ''}"
