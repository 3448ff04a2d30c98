"""Every fenced block of the documentation runs: tl is checked, python executed, sh commands run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tensorlang.check.check import check_spec
from tensorlang.check.spec import spec_of_text
from tensorlang.cli import tensorlang

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted([*ROOT.glob("grammar/*.md"), *ROOT.glob("docs/*.md")])]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
KINDS = {"tl", "python", "py", "sh", "text", "ebnf"}  # py: generated code, shown and not run
BESIDE = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.tl"))}


def _blocks(*kinds: str) -> list[object]:
    return list(_found(kinds))


def _found(kinds: tuple[str, ...]) -> Iterator[object]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            assert found[1] in KINDS, f"{page.name}:{line}: a block of unknown kind {found[1]}"
            if found[1] in kinds:
                yield pytest.param(found[2], id=f"{page.stem}-{line}")


@pytest.mark.parametrize("source", _blocks("tl"))
def test_a_tl_block_is_a_correct_file(source: str) -> None:
    found = check_spec(spec_of_text(source, files=BESIDE))
    assert [d.message() for d in found if d.severity == "error"] == []


@pytest.mark.parametrize("source", _blocks("python"))
def test_a_python_block_runs(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("source", _blocks("sh"))
def test_a_command_runs(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for line in source.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "tensorlang"
        result = CliRunner().invoke(tensorlang, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
