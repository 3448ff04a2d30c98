"""Mistakes about constructed consts and dims of irreps."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.diagnostics import Diagnostic


@dataclass(frozen=True)
class BadConstant(Diagnostic):
    code = "E0314"
    name: str
    fault: str

    def message(self) -> str:
        return f"{self.name}: {self.fault}"


@dataclass(frozen=True)
class BadIrreps(Diagnostic):
    code = "E0315"
    fault: str

    def message(self) -> str:
        return f"irreps: {self.fault}"

    def help(self) -> str:
        return 'write irreps(2) for one copy of each degree 0, 1, 2, or irreps("0e + 1o")'


@dataclass(frozen=True)
class NotHarmonics(Diagnostic):
    code = "E0316"
    index: str
    fault: str

    def message(self) -> str:
        return f"spherical_harmonics: {self.index} {self.fault}"

    def help(self) -> str:
        return "declare it so: dim j = irreps(3) for degrees 0 to 3, and dim xyz = 3"
