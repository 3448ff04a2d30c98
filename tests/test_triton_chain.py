"""Chains of small rank: which go to the kernel, what it computes (tests/interpreted_chain.py), and
what it needs of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import tensorlang as tl
from tests.chips import cases, fits, skip_unless_asked
from tests.interpreted_chain import CHAINS, CHECKS
from tests.interpreting import in_a_process


@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    """What every check said."""
    return in_a_process("tests.interpreted_chain")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)


def _regions(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    path = tmp_path / "spec.tl"
    path.write_text(text)
    (unit,) = tl.compile(path, target="triton").units
    return [(region.backend, region.reason) for region in unit.plans[""].regions]


@pytest.mark.parametrize("name", ["Wide", "Read"])
def test_what_stays_with_torch(tmp_path: Path, name: str) -> None:
    """A rank that does not fit in registers; a value of the size of a rank that is an output."""
    rank = 100 if name == "Wide" else 8
    kept = "output " if name == "Read" else ""
    text = f"""
layer {name}(i = 512, r = {rank}):
    input X[n, i], A[i, r], B[i, r]
    {kept}T[n, r] = X[n, i] * A[i, r]
    output Y[n, i'] = T[n, r] * B[i', r]
"""
    assert "K4" not in [backend for backend, _ in _regions(tmp_path, text)]


def test_the_report_says_what_each_is_expected_to_take(tmp_path: Path) -> None:
    text = """
layer L(i = 512, r = 8):
    input X[n, i], A[i, r], B[i, r]
    output Y[n, i'] = X[n, i] * A[i, r] * B[i', r]
"""
    ((backend, reason),) = _regions(tmp_path, text)
    assert backend == "K4" and "expected to take" in reason and "cuBLAS" in reason


RANKS = """
layer Wide(i = 512, r = 64):
    input X[n, i], A[i, r], B[i, r], C[n, i]
    T[n, r] = X[n, i] * A[i, r]
    V[n, i'] = T[n, r] * B[i', r]
    output Y[n, i] = V[n, i] + C[n, i]
"""


@pytest.mark.parametrize(("precision", "arch"), cases("half", "float", "double"))
@pytest.mark.parametrize("text", [CHAINS, RANKS], ids=["chains", "ranks"])
def test_no_spills(
    tmp_path: Path, text: str, precision: str, arch: str, request: pytest.FixtureRequest
) -> None:
    skip_unless_asked(request)
    fits(text, "chain", precision, arch, tmp_path)
