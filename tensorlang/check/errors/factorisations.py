"""Mistakes about `as` on params."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic


@dataclass(frozen=True)
class UnknownFactorisation(Diagnostic):
    code = "E0730"
    found: str
    known: tuple[str, ...]
    close: str | None = None

    def message(self) -> str:
        return f"no factorisation is called {self.found}"

    def help(self) -> str:
        known = f"known: {', '.join(self.known)}"
        return f"did you mean {self.close}?\n{known}" if self.close else known


@dataclass(frozen=True)
class BadFactorisation(Diagnostic):
    """Arguments or axes that a factorisation cannot take."""

    code = "E0731"
    param: str
    fault: str
    hint: str | None = None

    def message(self) -> str:
        return f"{self.param}: {self.fault}"

    def help(self) -> str | None:
        return self.hint


@dataclass(frozen=True)
class FactorisedInitialiser(Diagnostic):
    """An initialiser that factors cannot follow."""

    code = "E0732"
    param: str
    initialiser: str
    fault: str

    def message(self) -> str:
        return f"{self.param}: ~ {self.initialiser} {self.fault}"

    def help(self) -> str:
        return "factors can start from a law of mean 0, as in ~ kaiming, from ~ zeros or ~ given"


@dataclass(frozen=True)
class RanksOfValues(Diagnostic):
    """`tol` where the values are not there."""

    code = "E0733"
    param: str
    layer: str

    def message(self) -> str:
        return f"the ranks of {self.param} by tol depend on the values that it is given"

    def help(self) -> str:
        return f"in Python  {self.layer}({self.param}=tensor)  decomposes them; else give ranks"
