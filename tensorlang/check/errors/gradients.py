"""Mistakes about `grad`: what it is taken by, what it is taken of, and what it sums."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.source import Span


@dataclass(frozen=True)
class GradBy(Diagnostic):
    code = "E0430"
    rule: str
    hint: str | None = "name a tensor and an index for each of its axes: grad[X[i, j]](...)"

    def message(self) -> str:
        return f"grad {self.rule}"

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class GradReadings(Diagnostic):
    code = "E0431"
    index: str

    def message(self) -> str:
        return f"index {self.index} could be summed within this, or around all that grad is of"

    def label(self) -> str:
        return f"grad differentiates the sum over {self.index} of the whole"

    def help(self) -> str:
        where = f"sum[{self.index}](...) where it is meant"
        return f"name it in an equation of its own, or write {where}"


@dataclass(frozen=True)
class GradType(Diagnostic):
    code = "E0612"
    what: str
    found: str
    hint: str | None = None

    def message(self) -> str:
        return f"grad needs {self.what}, this is {self.found}"

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class GradSums(Diagnostic):
    code = "W0432"
    severity = "warning"
    index: str
    body: Span

    def message(self) -> str:
        return f"index {self.index} is on the left, but grad differentiates a sum over it"

    def label(self) -> str:
        return f"one value for all {self.index}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.body, f"summed over {self.index}"),)

    def help(self) -> str:
        return f"if that is meant, write the sum: sum[{self.index}](...)"


@dataclass(frozen=True)
class GradZero(Diagnostic):
    code = "W0433"
    severity = "warning"
    tensor: str

    def message(self) -> str:
        return f"what grad is of does not depend on {self.tensor}: the derivative is 0"
