"""Attention kernels in Triton's interpreter (tests/interpreted_attention.py)."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import tensorlang as tl
from tensorlang.backends.triton.emit import kernels
from tensorlang.options import Options
from tests.example_cases import EXAMPLES
from tests.interpreted_attention import CHECKS
from tests.interpreting import in_a_process


@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    """What every check said."""
    return in_a_process("tests.interpreted_attention")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)


GOLDEN = Path(__file__).parent / "golden" / "third_order_kernels.txt"


def test_the_kernels_of_third_order_attention_are_the_golden_ones() -> None:
    causal = {"ThirdOrderAttention": {"d": 64, "heads": 2, "causal": True}}
    compiled = tl.compile(EXAMPLES / "third_order.tl", target="triton", bind=causal)
    text = kernels(compiled.units, Options(target="triton"))
    forward = next(k for k in text.split("\nkernel ") if "_forward" in k.splitlines()[0])
    assert "bool" not in forward, "a mask is read where positions would do"
    if os.environ.get("UPDATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "UPDATE=1 writes it anew"


# --- what goes to a kernel, and what not ---------------------------------------------------------
PAIR = """
layer L({hypers}):
    input  Q[b, n, c], K1[b, m, c], K2[b, p, c], V1[b, m, e], V2[b, p, e]{more}
    A[b, n, m, p] = softmax[m, p]({logits})
    output Y[b, n, e] = A[b, n, m, p] * {values}
"""
TRILINEAR = "Q[b, n, c] * K1[b, m, c] * K2[b, p, c]"
BOTH = "V1[b, m, e] * V2[b, p, e]"
CASES = {
    "products": ("c = 8, e = 8", "", TRILINEAR, BOTH, "K2"),
    "joint values": ("c = 8, e = 8", ", V[b, m, p, e]", TRILINEAR, "V[b, m, p, e]", "values are"),
    "joint keys": (
        "c = 8, e = 8",
        ", K[b, m, p, c]",
        "Q[b, n, c] * K[b, m, p, c]",
        BOTH,
        "keys are",
    ),
    "wide": ("c = 8, e = 200", "", TRILINEAR, BOTH, "wider than 128"),
    "width of a call": ("e = 8", "", TRILINEAR, BOTH, "at the call only"),
    "bias": ("c = 8, e = 8", ", T[m, p]", f"{TRILINEAR} + T[m, p]", BOTH, "additive bias"),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs_of_keys(tmp_path: Path, name: str) -> None:
    hypers, more, logits, values, said = CASES[name]
    path = tmp_path / "pair.tl"
    path.write_text(PAIR.format(hypers=hypers, more=more, logits=logits, values=values))
    regions = [
        f"{region.backend}: {region.reason}"
        for unit in tl.compile(path, target="triton").units
        for plan in unit.plans.values()
        for region in plan.regions
    ]
    assert any(said in region for region in regions), regions
    assert (said == "K2") == any(region.startswith("K2") for region in regions), regions


def test_the_side_with_the_longer_window_is_taken_in_blocks() -> None:
    assert _extents(PAIR_WINDOWS.format(first=4, second=500)) == ("K1", "K2")
    assert _extents(PAIR_WINDOWS.format(first=500, second=4)) == ("K2", "K1")


PAIR_WINDOWS = """
layer L(c = 8):
    input  Q[n, c], K1[n, c], K2[n, c], V1[n, c], V2[n, c]
    A[n, n', n''] = softmax[n', n'' where n - {first} < n' <= n and n - {second} < n'' <= n](
        Q[n, c] * K1[n', c] * K2[n'', c])
    output Y[n, c] = A[n, n', n''] * V1[n', c] * V2[n'', c]
"""


def _extents(text: str) -> tuple[str, str]:
    """Which inputs are the kernel's first and second keys."""
    folder = Path(tempfile.mkdtemp())
    (folder / "l.tl").write_text(text)
    source = tl.compile(folder / "l.tl", target="triton").source
    call = re.search(r"_region_0\((.*)\)", source.split("def forward(self")[1])
    assert call is not None
    given = call[1].split(", ")
    places = [re.search(rf"{name} = _innermost\(x(\d)", source) for name in ("K1", "K2")]
    first, second = (given[int(place[1])] for place in places if place is not None)
    return first, second
