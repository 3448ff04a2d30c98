"""docs/errors.md: every diagnostic with a wrong program of tests/errors and what is said of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import tensorlang
from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.spec import load_spec
from tensorlang.diagnostics import Diagnostic, SpecError, render
from tensorlang.requests import binds

PROGRAMS = Path(__file__).parent.parent / "tests" / "errors"
BIND = re.compile(r"^# bind (\w+):(.*)$", re.MULTILINE)
COMMA = re.compile(r",(?![^\[]*\])")  # outside of lists
LONGEST = 600  # characters of an example that are shown

AREAS = {
    "E01": "Text and syntax",
    "E02": "Names",
    "E03": "Dims and sizes",
    "E04": "Indices, sums, scatters",
    "E05": "Reads in range",
    "E06": "Kinds of numbers, arguments",
    "E07": "Sub-layers, initialisers, factorisations, outputs",
    "E08": "Hyperparameters",
    "E09": "Not yet",
}

HEAD = """\
# Diagnostics

Every code, the class that carries it, and a wrong program with what is said about it. A run
reports all mistakes it finds, in the order of the source; `--format json` gives the same facts as
data. Codes that start with E are errors, with W warnings.

"""


def errors_page() -> str:
    """The whole page."""
    shown = _shown()
    parts = [HEAD]
    area = ""
    for kind in kinds():
        heading = AREAS.get(kind.code[:3], "Warnings")
        if heading != area:
            area = heading
            parts.append(f"## {area}\n\n")
        parts.append(_section(kind, shown.get(kind)))
    return "".join(parts).rstrip() + "\n"


def _section(kind: type[Diagnostic], example: tuple[str, str] | None) -> str:
    lines = [f"### {kind.code} {kind.__name__}", ""]
    if example is not None:
        program, said = example
        lines += ["```text", program.rstrip(), "```", "", "```text", said, "```", ""]
    return "\n".join(lines) + "\n"


def _shown() -> dict[type[Diagnostic], tuple[str, str]]:
    """For each kind the shortest program that shows it, and what is said about it of that kind."""
    found: dict[type[Diagnostic], tuple[str, str]] = {}
    for path in sorted(PROGRAMS.glob("*.tl")):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = "(bytes that are no text)"
        if "\0" in text or "\n```" in text:
            continue
        if len(text) > LONGEST:
            text = text[:LONGEST].rpartition("\n")[0] + "\n…"
        for diagnostic in diagnose(path):
            said = render(diagnostic)
            kind = type(diagnostic)
            if kind not in found or len(text) < len(found[kind][0]):
                found[kind] = (text, said)
    return found


def diagnose(path: Path) -> tuple[Diagnostic, ...]:
    """What is said about a program: `# bind Layer: d = 3` also checks that layer bound so."""
    before = Path.cwd()
    os.chdir(path.parent)  # so that diagnostics show plain file names
    try:
        spec = load_spec(path.name)
        found = list(check_spec(spec))
        for layer, values in BIND.findall(path.read_text(encoding="utf-8")):
            try:
                check_layer(spec, layer, binds(COMMA.split(values)), found)
            except SpecError as error:
                found += error.diagnostics
        return tuple(dict.fromkeys(found))
    except SpecError as error:
        return error.diagnostics
    finally:
        os.chdir(before)


def kinds() -> Iterator[type[Diagnostic]]:
    """All kinds of diagnostic, by code."""
    for module in walk_packages(tensorlang.__path__, "tensorlang."):
        if module.name.rpartition(".")[2] == "errors" or ".errors." in module.name:
            import_module(module.name)
    found, queue = [], [Diagnostic]
    while queue:
        children = queue.pop().__subclasses__()
        queue += children
        found += [kind for kind in children if kind.__module__.startswith("tensorlang.")]
    return iter(sorted(found, key=lambda kind: kind.code))
