"""`explain --measure`: the likeliest plans run, predicted beside measured. No time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tensorlang as tl
from tensorlang import measurement
from tensorlang.cli import tensorlang
from tensorlang.driver import Compiled
from tensorlang.measurement import Measured, correlation, loss, measure
from tests.example_cases import EXAMPLES

TENSORISED = str(EXAMPLES / "tensorised.tl")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "_SECONDS", 0.0)
    monkeypatch.setattr(measurement, "_LEAST_ROUNDS", 1)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tensorlang, ["explain", *arguments])


def test_every_size_has_its_plans_with_both_figures() -> None:
    result = run(TENSORISED, "-l", "CPLinear", "-b", "rank=36", "--measure", "--at", "batch=1,3")
    assert result.exit_code == 0, result.output
    head, *rows, last = result.stdout.splitlines()
    assert head.split("\t")[:5] == ["sizes", "weights", "plan", "predicted", "measured"]
    cells = [row.split("\t") for row in rows]
    assert {c[0] for c in cells} == {"batch = 1", "batch = 3"}
    assert {(c[0], c[1]) for c in cells if c[5] == "chosen"} == {
        (f"batch = {n}", kind) for n in (1, 3) for kind in ("formed", "kept")
    }
    assert {c[2] for c in cells} >= {"Y_dot = (X · W.i) · W.o", "Y_dot = X · (W.o · W.i)"}
    assert last.startswith("rank correlation of predicted and measured ")


def test_shapes_and_json() -> None:
    result = run(TENSORISED, "X=2,3,64", "-l", "TTLinear", "--measure", "--format", "json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert all(plan["sizes"] == {"...": 6} for plan in facts["plans"])
    assert all(plan["predicted"] > 0 < plan["measured"] for plan in facts["plans"])
    assert sum(plan["chosen"] for plan in facts["plans"]) == 2  # formed and kept
    assert facts["chosen_over_fastest"] >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measure"], "batch is open"),
        (["--measure", "--at", "i=3"], "has no dim i whose size a call gives; it has batch"),
        (["--measure", "--at", "batch"], "--at takes DIM=SIZE"),
        (["--at", "batch=1"], "--at goes with --measure"),
        (["X=2,64", "--measure", "--at", "batch=1"], "not both"),
        (["X=2,64", "--measure", "--device", "abacus"], "cannot measure on 'abacus'"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], message: str) -> None:
    result = run(TENSORISED, "-l", "CPLinear", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("example", "layer", "sizes"),
    [
        ("axial", "AxialBlock", {"b": 1, "x": 2, "y": 3}),
        ("flora", "FLoRALinear", {"...": 2}),
        ("embedding", "Embedding", {"...": 2, "n": 3}),
    ],
)
def test_layers_of_all_kinds_run(example: str, layer: str, sizes: dict[str, int]) -> None:
    compiled: Compiled = tl.compile(EXAMPLES / f"{example}.tl", layers=[layer])
    rows = measure(compiled, layer, [sizes])
    assert rows and rows[0].chosen and all(row.predicted > 0 for row in rows)


def test_plans_differ_in_one_order_each(tmp_path: Path) -> None:
    text = """
layer L(a = 3, b = 4, c = 5, d = 6):
    input  X[n, a], Z[n, d]
    param  U[a, b], V[b, c], W[c, d], A[a, b], B[b, c], C[c, d] ~ kaiming
    output Y[n, d] = X[n, a] * U[a, b] * V[b, c] * W[c, d]
    output T[n, a] = Z[n, d] * C[c, d] * B[b, c] * A[a, b]
"""
    path = tmp_path / "two.tl"
    path.write_text(text)
    rows = measure(tl.compile(path), "L", [{"n": 7}])
    formed = [row.trees for row in rows if not row.kept]
    assert len(formed) == len(set(formed)) > 2
    first = formed[0]
    assert all(sum(x != y for x, y in zip(first, trees, strict=True)) == 1 for trees in formed[1:])


def test_figures_of_a_table() -> None:
    def row(n: int, predicted: float, seconds: float, chosen: bool) -> Measured:
        return Measured((("n", n),), False, (), chosen, predicted, seconds)

    rows = [row(1, 1.0, 2.0, True), row(1, 2.0, 1.0, False), row(2, 4.0, 8.0, True)]
    assert loss(rows) == pytest.approx(2**0.5)  # twice the fastest at n = 1, the fastest at 2
    assert correlation(rows) == pytest.approx(0.5)
    assert correlation(rows[:1]) is None
