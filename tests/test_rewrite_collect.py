"""Linear maps of one value become one where that costs less; adapters by rank, size and form."""

from __future__ import annotations

import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract
from tensorlang.options import Options
from tensorlang.rewrite.pipeline import rewrite
from tests.rewriting import layer, operations, rewritten, rules

BESIDE = """
    input X[n, i], Z[n, i]
    dim i = {i}, o = {i}, r = {r}
    param W[o, i], V[o, i], A[o, r], B[r, i], b[o] ~ kaiming
    output Y[n, o] = {body}
    """
ADAPTER = "W[o, i] * X[n, i] + 0.5 * (A[o, r] * B[r, i] * X[n, i]) + b[o]"
MERGED = "(W[o, i] + 0.5 * (A[o, r] * B[r, i])) * X[n, i] + b[o]"


def _beside(body: str, i: int = 8, r: int = 2) -> Graph:
    return layer(BESIDE.format(body=body, i=i, r=r))


def test_two_maps_of_one_value_are_one() -> None:
    graph = _beside("W[o, i] * X[n, i] - 2 * V[o, i] * X[n, i] + b[o]", i=64)
    out, applied = rewritten(graph)
    assert "collect" in rules(applied) and len(operations(out, Contract)) == 1
    out, applied = rewritten(graph, "collect")
    assert "collect" not in rules(applied) and len(operations(out, Contract)) == 2


@pytest.mark.parametrize("body", [ADAPTER, MERGED])
@pytest.mark.parametrize(
    ("r", "rows", "merges"), [(256, (1024, 65536), True), (8, (1, 4), False), (64, (1, 16), False)]
)
def test_an_adapter_is_merged_or_beside_by_cost(
    body: str, r: int, rows: tuple[int, int], merges: bool
) -> None:
    """At a high rank and many rows merged, at few rows beside, however it is written."""
    out, _ = rewrite(_beside(body, i=512, r=r), Options(ranges=(("n", *rows),)))
    weights = [k for k in out.alive() if out.node(k).shape == (512, 512) and out.node(k).reads]
    assert bool(weights) is merges


@pytest.mark.parametrize(
    "body",
    [
        "W[o, i] * X[n, i] + V[o, i] * Z[n, i]",
        "W[o, i] * X[n, i] + V[o, i] * exp(X[n, i])",
        "W[o, i] * X[n, i] * (V[o, i] * X[n, i])",
        "exp(W[o, i] * X[n, i]) + V[o, i] * X[n, i]",
    ],
)
def test_maps_of_different_values_stay_apart(body: str) -> None:
    assert "collect" not in rules(rewritten(_beside(body, i=64))[1])


def test_weights_that_are_data_stay_apart() -> None:
    graph = layer(
        "input X[n, i], U[m, i], V[m, i]\noutput Y[n, m] = U[m, i] * X[n, i] + V[m, i] * X[n, i]"
    )
    assert "collect" not in rules(rewritten(graph)[1])


def test_a_map_that_others_read_stays() -> None:
    graph = layer(
        BESIDE.format(body="T[n, o] + V[o, i] * X[n, i]", i=64, r=2).replace(
            "output Y", "output T[n, o] = W[o, i] * X[n, i]\n    output Y"
        )
    )
    assert "collect" not in rules(rewritten(graph)[1])


def test_maps_head_by_head_are_one() -> None:
    graph = layer(
        """
        input X[n, h, i]
        dim h = 3, i = 32, o = 16
        param W[h, o, i], V[h, o, i], U[o, i] ~ kaiming
        output Y[h, n, o] = W[h, o, i] * X[n, h, i] + V[h, o, i] * X[n, h, i] + U[o, i] * X[n, h, i]
        """
    )
    out, applied = rewritten(graph)
    assert "collect" in rules(applied) and len(operations(out, Contract)) == 2
