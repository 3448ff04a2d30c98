"""What kernels need of a chip that need not be there: the precisions and chips tests go over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tensorlang as tl
from tensorlang.backends.triton.check import CHIPS, check


def cases(*precisions: str) -> list[Any]:
    """(precision, chip): half for sm_90 always, the others where `-m targets` asks for them."""
    others = [(precision, arch) for arch in CHIPS for precision in precisions]
    others.remove(("half", "sm_90"))
    return [("half", "sm_90"), *(pytest.param(*o, marks=pytest.mark.targets) for o in others)]


def skip_unless_asked(request: pytest.FixtureRequest) -> None:
    """Skip a test that is marked `targets` in a run without `-m targets`."""
    marked = request.node.get_closest_marker("targets") is not None
    if marked and "targets" not in request.config.getoption("markexpr"):
        pytest.skip("run with -m targets")


def fits(text: str, word: str, precision: str, arch: str, folder: Path) -> None:
    """The kernels of a spec whose names hold a word are there, and fit the chip without spills."""
    pytest.importorskip("triton")
    path = folder / "spec.tl"
    path.write_text(text)
    reports = check(tl.compile(path, target="triton").source, arch, precision)
    mine = [report for report in reports if word in report.name]
    assert mine
    assert not [f"{r.name}: {r.problem}" for r in mine if r.problem]
