"""Mistakes about kinds of number and about what a function or operator takes."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic


@dataclass(frozen=True)
class WrongTypes(Diagnostic):
    code = "E0601"
    function: str
    why: str

    def message(self) -> str:
        return f"{self.function}: {self.why}"


@dataclass(frozen=True)
class Arity(Diagnostic):
    code = "E0602"
    function: str
    expected: str
    found: int

    def message(self) -> str:
        return f"{self.function} takes {self.expected}, {self.found} given"


@dataclass(frozen=True)
class UnknownKeyword(Diagnostic):
    code = "E0603"
    function: str
    keyword: str
    known: tuple[str, ...] = ()

    def message(self) -> str:
        return f"{self.function} has no argument called {self.keyword}"

    def help(self) -> str | None:
        return f"known: {', '.join(self.known)}" if self.known else None


@dataclass(frozen=True)
class NotACondition(Diagnostic):
    code = "E0604"
    found: str

    def message(self) -> str:
        return f"a condition is a bool, this is {self.found}"

    def help(self) -> str:
        return "compare it, for example  ... != 0"


@dataclass(frozen=True)
class NotANumber(Diagnostic):
    code = "E0605"
    found: str

    def message(self) -> str:
        return f"{self.found} cannot stand in an equation"


@dataclass(frozen=True)
class UnknownDtype(Diagnostic):
    code = "E0606"
    name: str

    def message(self) -> str:
        return f"{self.name} is no kind of number"

    def help(self) -> str:
        return "there are real (the default), complex, int and bool; precision is chosen in Python"


@dataclass(frozen=True)
class ParamType(Diagnostic):
    code = "E0607"
    name: str
    found: str

    def message(self) -> str:
        return f"param {self.name} cannot be {self.found}: a param is real or complex"


@dataclass(frozen=True)
class ConstReads(Diagnostic):
    code = "E0608"
    name: str
    what: str

    def message(self) -> str:
        return f"a const is known at compile time, {self.name} ({self.what}) is not"


@dataclass(frozen=True)
class ConditionMisplaced(Diagnostic):
    code = "E0610"
    name: str

    def message(self) -> str:
        return f"{self.name} takes no condition"

    def label(self) -> str:
        return "where belongs to reductions, softmax, log_softmax, cumsum and cumprod"


@dataclass(frozen=True)
class ArgumentValue(Diagnostic):
    code = "E0611"
    function: str
    rule: str

    def message(self) -> str:
        return f"{self.function}: {self.rule}"
