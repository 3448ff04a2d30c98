"""Mistakes about params, sub-layers and their calls, outputs, and hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.source import Span


@dataclass(frozen=True)
class UnknownLayer(Diagnostic):
    code = "E0701"
    name: str
    close: str | None = None

    def message(self) -> str:
        return f"no layer is called {self.name}"

    def help(self) -> str | None:
        return f"did you mean {self.close}?" if self.close else None


@dataclass(frozen=True)
class LayerCycle(Diagnostic):
    code = "E0702"
    cycle: tuple[str, ...]

    def message(self) -> str:
        return f"a layer cannot contain itself: {' -> '.join(self.cycle)}"


@dataclass(frozen=True)
class BadCall(Diagnostic):
    code = "E0703"
    sub: str
    fault: str
    declared: Span
    hint: str | None = None

    def message(self) -> str:
        return f"{self.sub}: {self.fault}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, "the sub-layer"),)

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class CallSize(Diagnostic):
    code = "E0704"
    sub: str
    dim: str
    expected: str
    found: str
    declared: Span

    def message(self) -> str:
        dim = f"its dim {self.dim} has size {self.expected}"
        return f"{self.sub}: {dim}, here it meets {self.found}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, "the sub-layer"),)


@dataclass(frozen=True)
class StackCount(Diagnostic):
    code = "E0705"
    fault: str

    def message(self) -> str:
        return f"the number of stages {self.fault}"


@dataclass(frozen=True)
class StackShape(Diagnostic):
    code = "E0706"
    sub: str

    def message(self) -> str:
        return f"a stack threads its first input: a stage of {self.sub} must return what it takes"


@dataclass(frozen=True)
class SeveralTargets(Diagnostic):
    code = "E0707"
    fault: str

    def message(self) -> str:
        return self.fault


@dataclass(frozen=True)
class NoOutput(Diagnostic):
    code = "E0708"
    layer: str

    def message(self) -> str:
        return f"layer {self.layer} has no output"

    def help(self) -> str:
        return "write output before the equation that it returns"


@dataclass(frozen=True)
class TooDeep(Diagnostic):
    code = "E0709"

    def message(self) -> str:
        return "layers are nested too deep"


@dataclass(frozen=True)
class NoInitialiser(Diagnostic):
    code = "E0720"
    name: str
    text: str

    def message(self) -> str:
        return f"param {self.name} has no initialiser"

    def help(self) -> str:
        return f"write  {self.text} ~ kaiming, or ~ given if the caller supplies it"


@dataclass(frozen=True)
class BadInitialiser(Diagnostic):
    code = "E0721"
    fault: str
    hint: str | None = None

    def message(self) -> str:
        return self.fault

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class UnknownHyper(Diagnostic):
    code = "E0801"
    layer: str
    name: str
    known: tuple[str, ...]

    def message(self) -> str:
        return f"layer {self.layer} has no hyperparameter {self.name}"

    def help(self) -> str:
        return f"it has {', '.join(self.known)}" if self.known else "it has none"


@dataclass(frozen=True)
class MissingHyper(Diagnostic):
    code = "E0802"
    layer: str
    name: str

    def message(self) -> str:
        return f"hyperparameter {self.name} of layer {self.layer} has no value"

    def help(self) -> str:
        return f"give it one: {self.name} = ..."


@dataclass(frozen=True)
class HyperType(Diagnostic):
    code = "E0803"
    name: str
    expected: str
    found: str

    def message(self) -> str:
        return f"hyperparameter {self.name} is {self.expected}, found {self.found}"


@dataclass(frozen=True)
class UnknownHyperType(Diagnostic):
    code = "E0804"
    name: str

    def message(self) -> str:
        return f"{self.name} is no type of a hyperparameter"

    def help(self) -> str:
        return "there are int, float, bool, str, list"


@dataclass(frozen=True)
class HyperArguments(Diagnostic):
    code = "E0805"
    fault: str

    def message(self) -> str:
        return self.fault


@dataclass(frozen=True)
class NotYet(Diagnostic):
    code = "E0901"
    what: str

    def message(self) -> str:
        return f"{self.what} not yet supported by this version"

    def label(self) -> str:
        return "parsed, but nothing acts on it yet"


@dataclass(frozen=True)
class UnprovedDivision(Diagnostic):
    code = "W0314"
    severity = "warning"
    numerator: str
    divisor: str

    def message(self) -> str:
        return f"not proved for all values: {self.divisor} divides {self.numerator}"
