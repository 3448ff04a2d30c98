"""Wrong programs: tests/errors/NAME.tl and, beside it in NAME.txt, exactly what the user is told.

A comment `# bind L: d=3, causal=true` also checks layer L bound so, as `compile --bind` does.
`UPDATE=1 pytest tests/test_errors.py` rewrites the expectations (refused where CI is set).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import tensorlang
from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.constant import evaluate
from tensorlang.check.program import Value
from tensorlang.check.spec import Spec, load_spec
from tensorlang.diagnostics import Diagnostic, SpecError, render, to_dict, to_json
from tensorlang.source import Source
from tensorlang.syntax import ast
from tensorlang.syntax.parse import parse

FOLDER = Path(__file__).parent / "errors"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.tl"))
UPDATE = bool(os.environ.get("UPDATE"))
BIND = re.compile(r"^# bind (\w+):(.*)$", re.MULTILINE)

every_program = pytest.mark.parametrize("name", PROGRAMS)


@cache
def diagnose(name: str) -> tuple[Diagnostic, ...]:
    """Give what is wrong with a program: of its files, its layers, and its layers when bound."""
    before = Path.cwd()
    os.chdir(FOLDER)  # so that diagnostics show plain file names
    try:
        spec = load_spec(f"{name}.tl")
        found = list(check_spec(spec))
        for layer, values in BIND.findall(Path(f"{name}.tl").read_text()):
            found += diagnose_bound(spec, layer, values)
        return tuple(dict.fromkeys(found))
    except SpecError as error:
        return error.diagnostics
    finally:
        os.chdir(before)


def diagnose_bound(spec: Spec, layer: str, values: str) -> list[Diagnostic]:
    warnings: list[Diagnostic] = []
    try:
        check_layer(spec, layer, dict(bound(values)), warnings=warnings)
    except SpecError as error:
        return [*warnings, *error.diagnostics]
    return warnings


def bound(values: str) -> Iterator[tuple[str, Value]]:
    """Read `d=3, causal=true` as the default values of a layer's hyperparameters."""
    file = parse(Source("<bind>", f"layer B({values}):\n    input X[n]\n    output Y[n] = X\n"))
    layer = file.items[0]
    assert isinstance(layer, ast.Layer)
    for hyper in layer.hypers:
        assert hyper.default is not None
        value = evaluate(hyper.default, {}, lambda d: pytest.fail(render(d)), "value")
        assert value is not None
        yield hyper.name, value


@every_program
def test_what_the_user_is_told(name: str) -> None:
    told = "\n\n".join(render(diagnostic) for diagnostic in diagnose(name)) + "\n"
    assert told.strip(), "a wrong program about which nothing is said"
    assert str(FOLDER) not in told
    expected = FOLDER / f"{name}.txt"
    if UPDATE:
        assert not os.environ.get("CI"), "expectations are not rewritten in CI"
        expected.write_text(told)
    assert expected.exists(), f"no {expected.name}; told:\n{told}"
    assert expected.read_text().strip(), f"{expected.name} is empty"
    assert told == expected.read_text()


@every_program
def test_every_place_is_in_the_text(name: str) -> None:
    for diagnostic in diagnose(name):
        spans = (diagnostic.span, *(label.span for label in diagnostic.also()))
        for span in spans:
            assert 0 <= span.start <= span.end <= len(span.source.text)
        assert diagnostic.message() and diagnostic.severity in ("error", "warning")
        assert not re.search(r"\bobject at 0x|<class|Span\(|Symbol\(|None", render(diagnostic))


@every_program
def test_json_says_the_same(name: str) -> None:
    diagnostics = diagnose(name)
    rows = json.loads(to_json(diagnostics))
    assert len(rows) == len(diagnostics)
    for row, diagnostic in zip(rows, diagnostics, strict=True):
        assert row == json.loads(json.dumps(to_dict(diagnostic)))
        assert row["code"] == diagnostic.code and row["message"] == diagnostic.message()
        assert (row["line"], row["column"]) <= (row["end_line"], row["end_column"])


@every_program
def test_diagnostics_are_in_source_order(name: str) -> None:
    places = [d.span.start for d in diagnose(name) if d.span.source.path == f"{name}.tl"]
    assert places == sorted(places)


def test_expectations_have_programs() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(PROGRAMS)


def test_codes_are_unique_and_well_formed() -> None:
    codes: dict[str, type[Diagnostic]] = {}
    for kind in kinds():
        letter = {"error": "E", "warning": "W"}[kind.severity]
        assert re.fullmatch(rf"{letter}\d{{4}}", kind.code), kind
        assert codes.setdefault(kind.code, kind) is kind, (kind, codes[kind.code])


def test_every_diagnostic_has_a_wrong_program() -> None:
    shown = {type(diagnostic) for name in PROGRAMS for diagnostic in diagnose(name)}
    missing = [kind for kind in kinds() if kind not in shown]
    assert not missing, [(kind.code, kind.__name__) for kind in missing]


def kinds() -> list[type[Diagnostic]]:
    """Give all kinds of diagnostic of the compiler, by code."""
    for module in walk_packages(tensorlang.__path__, "tensorlang."):
        if module.name.rpartition(".")[2] == "errors" or ".errors." in module.name:
            import_module(module.name)
    found, queue = [], [Diagnostic]
    while queue:
        children = queue.pop().__subclasses__()
        queue += children
        found += [kind for kind in children if kind.__module__.startswith("tensorlang.")]
    return sorted(found, key=lambda kind: kind.code)
