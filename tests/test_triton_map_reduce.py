"""Maps over pairs of samples: which groups go to the kernels, what these compute (in a process of
its own, tests/interpreted_map_reduce.py), and what they need of a chip."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

import tensorlang as tl
from tensorlang.backends.triton.emit import kernels
from tensorlang.options import Options
from tests.chips import cases, fits, skip_unless_asked
from tests.example_cases import EXAMPLES
from tests.interpreted_map_reduce import CHECKS, PAIRS
from tests.interpreting import in_a_process

GOLDEN = Path(__file__).parent / "golden" / "kernel_density_kernels.txt"
FAMILY = "K5 map-reduce"


@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    """What every check said."""
    return in_a_process("tests.interpreted_map_reduce")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)


def _families(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "spec.tl"
    path.write_text(text)
    (unit,) = tl.compile(path, target="triton").units
    return [region.backend for region in unit.plans[""].regions]


LAYERS = {
    "Product": ("", "input X[n, d], Y[m, d]\n    output Z[n, d] = sum[m](X[n, d] * Y[m, d])"),
    "Chain": (
        "",
        "input X[n, d], Y[k, d], W[k, m]\n"
        "    output Z[n] = sum[d, k, m](X[n, d] * Y[k, d] * W[k, m])",
    ),
    "Few": (
        "m = 1000, d = 3",
        "input X[n, d], Y[m, d]\n    output Z[n] = sum[m](exp(-sum[d]((X[n, d] - Y[m, d])^2)))",
    ),
    "Long": (
        "d = 100",
        "input X[n, d], Y[m, d]\n    output Z[n] = sum[m](exp(-sum[d]((X[n, d] - Y[m, d])^2)))",
    ),
    "Stored": (
        "d = 3",
        "input X[n, d], Y[m, d]\n    output K[n, m] = exp(-sum[d]((X[n, d] - Y[m, d])^2))\n"
        "    output Z[n] = sum[m](K[n, m])",
    ),
}
"""A product, a chain of products, few samples, long points, a value per pair that is an output."""


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_left_to_others(tmp_path: Path, name: str) -> None:
    hypers, body = LAYERS[name]
    assert FAMILY not in _families(tmp_path, f"layer {name}({hypers}):\n    {body}\n")


def test_the_least_that_is_taken(tmp_path: Path) -> None:
    text = "layer L():\n    input X[n], Y[m]\n    output Z[n] = sum[m](exp(X[n] * Y[m]))\n"
    assert _families(tmp_path, text) == [FAMILY]


def test_the_kernels_of_a_density_are_the_golden_ones() -> None:
    units = tl.compile(EXAMPLES / "kernel_density.tl", target="triton").units
    text = kernels(units, Options(target="triton"))
    if os.environ.get("UPDATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "UPDATE=1 writes it anew"


WIDE = """
layer Wide(d = 64, e = 64):
    input X[n, d], Y[m, d], V[m, e]
    S[n, m] = sum[d](X[n, d] * Y[m, d])
    output Z[n, e] = sum[m](relu(S[n, m]) ^ 2 * V[m, e])
"""


@pytest.mark.parametrize(("precision", "arch"), cases("half", "float"))
@pytest.mark.parametrize("text", [PAIRS, WIDE], ids=["pairs", "wide"])
def test_no_spills(
    tmp_path: Path, text: str, precision: str, arch: str, request: pytest.FixtureRequest
) -> None:
    skip_unless_asked(request)
    fits(text, "map_reduce", precision, arch, tmp_path)
