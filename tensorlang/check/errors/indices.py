"""Mistakes about indices: ranks, left sides, operators' index lists, and where sums go."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.size import Size
from tensorlang.source import Span


@dataclass(frozen=True)
class LoneIndex(Diagnostic):
    code = "E0203"
    index: str
    dim: str
    size: Size
    reason: str
    suggestion: str | None

    def message(self) -> str:
        return f"index {self.index} is on the right only, and {self.reason}"

    def label(self) -> str:
        if self.index == "...":
            return "... stands for the batch axes of the caller; no other factor has them"
        known = f" (size {self.size})" if isinstance(self.size, int) else ""
        return f"{self.index} ranges over dim {self.dim}{known}; no other factor has it"

    def help(self) -> str | None:
        return f"to sum over it, write  {self.suggestion}" if self.suggestion else None


@dataclass(frozen=True)
class Rank(Diagnostic):
    code = "E0401"
    tensor: str
    axes: str
    expected: int
    found: int
    declared: Span

    def message(self) -> str:
        plural = "axis" if self.expected == 1 else "axes"
        return f"{self.tensor} has {self.expected} {plural}, {self.found} given"

    def label(self) -> str:
        return f"expected {self.axes}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, "declared here"),)


@dataclass(frozen=True)
class EllipsisMisplaced(Diagnostic):
    code = "E0402"
    rule: str

    def message(self) -> str:
        return f"... {self.rule}"


@dataclass(frozen=True)
class LeftOnly(Diagnostic):
    code = "E0404"
    index: str
    target: str

    def message(self) -> str:
        return f"index {self.index} is on the left only"

    def label(self) -> str:
        return f"no term on the right has {self.index}"


@dataclass(frozen=True)
class LeftRepeated(Diagnostic):
    code = "E0405"
    index: str
    first: Span

    def message(self) -> str:
        return f"index {self.index} stands twice on the left"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.first, "first here"),)

    def help(self) -> str:
        return f"use {self.index}' for the second axis, and say on the right where they agree"


@dataclass(frozen=True)
class LeftNotIndex(Diagnostic):
    code = "E0406"
    what: str

    def message(self) -> str:
        return f"{self.what} takes indices, (groups) of them, or ..."

    def label(self) -> str:
        return "not an index"


@dataclass(frozen=True)
class TwoReadings(Diagnostic):
    code = "E0407"
    index: str
    suggestion: str | None

    def message(self) -> str:
        return f"index {self.index} could be summed in this product or inside one of its factors"

    def label(self) -> str:
        return f"this factor has a place of its own where {self.index} could be summed"

    def help(self) -> str:
        where = f"sum[{self.index}](...) where it is meant"
        return f"name the factors in equations of their own, or write {where}"


@dataclass(frozen=True)
class TwoArguments(Diagnostic):
    code = "E0408"
    index: str
    function: str
    suggestion: str | None

    def message(self) -> str:
        return (
            f"index {self.index} is on the right only, and stands in several arguments "
            f"of {self.function}"
        )

    def label(self) -> str:
        return "no sum is placed here by itself"

    def help(self) -> str | None:
        return f"to sum over it, write  {self.suggestion}" if self.suggestion else None


@dataclass(frozen=True)
class OperatorIndices(Diagnostic):
    code = "E0409"
    operator: str
    rule: str

    def message(self) -> str:
        return f"{self.operator} {self.rule}"


@dataclass(frozen=True)
class IndexAbsent(Diagnostic):
    code = "E0410"
    operator: str
    index: str

    def message(self) -> str:
        index = self.index
        return f"{self.operator} acts on {index}, but what it is applied to has no {index}"


@dataclass(frozen=True)
class ReducedIndexOnLeft(Diagnostic):
    code = "E0411"
    index: str
    operator: Span

    def message(self) -> str:
        return f"index {self.index} is on the left, but on the right it is bound by an operator"

    def label(self) -> str:
        return f"no term on the right has {self.index} free"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.operator, "bound here"),)


@dataclass(frozen=True)
class SumOfAbsent(Diagnostic):
    code = "W0412"
    severity = "warning"
    index: str

    def message(self) -> str:
        return f"the summed expression has no {self.index}: the sum multiplies by |{self.index}|"


@dataclass(frozen=True)
class ScatterTarget(Diagnostic):
    code = "E0420"
    tensor: str
    fault: str
    first: Span | None = None
    hint: str | None = None

    def message(self) -> str:
        return f"{self.tensor}: {self.fault}"

    def also(self) -> tuple[Label, ...]:
        return () if self.first is None else (Label(self.first, "here"),)

    def help(self) -> str | None:
        return self.hint
