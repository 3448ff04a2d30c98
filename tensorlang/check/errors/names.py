"""Mistakes about names: unknown, taken, reserved, used too early, brought by `use`, and defs."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic, Label
from tensorlang.source import Span

LONGEST_INDEX = 2  # a lowercase name as short as this may have been meant as an index


@dataclass(frozen=True)
class UnknownName(Diagnostic):
    code = "E0201"
    name: str
    close: str | None = None

    def message(self) -> str:
        return f"nothing is called {self.name}"

    def label(self) -> str:
        return "no tensor, index, dim or hyperparameter of this layer has this name"

    def help(self) -> str | None:
        if self.close is not None:
            return f"did you mean {self.close}?"
        if len(self.name) > LONGEST_INDEX or not self.name.islower():
            return None
        new = f"for a new dim write  dim {self.name} = …"
        return f"an index is named as its dim, a second one over dim n is n'; {new}"


@dataclass(frozen=True)
class NameTaken(Diagnostic):
    code = "E0202"
    name: str
    what: str
    first: Span
    first_what: str

    def message(self) -> str:
        return f"{self.name} is already {self.first_what}"

    def label(self) -> str:
        return f"here it would be {self.what}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.first, f"here it is {self.first_what}"),)

    def help(self) -> str:
        return "the names of a layer share one namespace: rename one of the two"


@dataclass(frozen=True)
class ReservedName(Diagnostic):
    code = "E0204"
    name: str
    why: str

    def message(self) -> str:
        return f"{self.name} is reserved: it is {self.why}"

    def label(self) -> str:
        return "choose another name"


@dataclass(frozen=True)
class ModuleAttribute(Diagnostic):
    code = "E0205"
    name: str
    user: str

    def message(self) -> str:
        return f"{self.name} cannot be stored under this name: {self.user} uses it"

    def label(self) -> str:
        return "choose another name"


@dataclass(frozen=True)
class ConstructorArgument(Diagnostic):
    code = "E0213"
    name: str

    def message(self) -> str:
        return f"the constructor's {self.name} is torch's: nothing else can be given by this name"

    def label(self) -> str:
        return "choose another name"


@dataclass(frozen=True)
class UsedTooEarly(Diagnostic):
    code = "E0206"
    name: str
    later: Span

    def message(self) -> str:
        return f"{self.name} is used before it is defined"

    def label(self) -> str:
        return "not defined yet"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.later, "defined here"),)

    def help(self) -> str:
        return "a tensor is defined once, before its first use: move the definition up"


@dataclass(frozen=True)
class UnknownFunction(Diagnostic):
    code = "E0207"
    name: str
    close: str | None = None

    def message(self) -> str:
        return f"no function, operator, def, tensor or sub-layer is called {self.name}"

    def label(self) -> str:
        return "unknown"

    def help(self) -> str | None:
        return f"did you mean {self.close}?" if self.close else None


@dataclass(frozen=True)
class WronglyUsed(Diagnostic):
    code = "E0208"
    name: str
    what: str
    rule: str

    def message(self) -> str:
        return f"{self.name} is {self.what}; {self.rule}"


@dataclass(frozen=True)
class PrimedDeclaration(Diagnostic):
    code = "E0209"
    name: str

    def message(self) -> str:
        rule = "a primed name is always a further index over its dim"
        return f"{self.name} cannot be declared: {rule}"

    def help(self) -> str:
        base = self.name.rstrip("'")
        return f"{self.name} is at hand wherever {base} is an index"


@dataclass(frozen=True)
class UseRefused(Diagnostic):
    code = "E0210"
    path: str
    why: str

    def message(self) -> str:
        return f"cannot use {self.path!r}: {self.why}"


@dataclass(frozen=True)
class UseUnknownName(Diagnostic):
    code = "E0211"
    name: str
    module: str
    close: str | None = None

    def message(self) -> str:
        return f"{self.module} has no layer and no def called {self.name}"

    def help(self) -> str | None:
        return f"did you mean {self.close}?" if self.close else None


@dataclass(frozen=True)
class UseCycle(Diagnostic):
    code = "E0212"
    path: str

    def message(self) -> str:
        return f"files use each other in a circle through {self.path!r}"


@dataclass(frozen=True)
class DefCall(Diagnostic):
    code = "E0220"
    name: str
    fault: str
    declared: Span

    def message(self) -> str:
        return f"{self.name}: {self.fault}"

    def also(self) -> tuple[Label, ...]:
        return (Label(self.declared, "declared here"),)


@dataclass(frozen=True)
class DefRecursive(Diagnostic):
    code = "E0221"
    name: str

    def message(self) -> str:
        return f"def {self.name} calls itself"

    def label(self) -> str:
        return "a def is substituted, so it cannot be recursive"


@dataclass(frozen=True)
class DefTooLarge(Diagnostic):
    code = "E0222"
    name: str

    def message(self) -> str:
        return f"the expansion of {self.name} is too large"

    def label(self) -> str:
        return "defs repeat their arguments here more than a hundred thousand times"

    def help(self) -> str:
        return "give parts of it names, as equations"


@dataclass(frozen=True)
class DefFreeName(Diagnostic):
    code = "E0223"
    name: str
    function: str

    def message(self) -> str:
        return f"def {self.function} mentions {self.name}, which is not one of its arguments"

    def label(self) -> str:
        return "a def sees its arguments, its indices, other defs and functions only"
