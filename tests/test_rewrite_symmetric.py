"""Constants against products that exchanging two indices leaves alone: zero, or each pair once."""

from __future__ import annotations

import numpy as np
import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Const, Contract
from tests.rewriting import layer, operations, rewritten, rules

CROSS = "input X[n, i], Z[n, i]\ndim i = 3\nconst E[i, i', i''] = levi_civita(i, i', i'')\n"
PAIRS = """
    input X[n, r], Z[n, r]
    dim r = 7, p = 21
    index i, j in r
    const S[p, i, j] = 1 if i < j and p == i * |r| - i * (i + 1) // 2 + j - i - 1 else 0
    const E[p, i, j] = S[p, i, j] + 3 * S[p, j, i] + (1 if i == j and i == p else 0)
    output Y[n, p] = {0}
    """


def _cells(graph: Graph) -> list[int]:
    return [
        int(np.count_nonzero(op.array.value))
        for op in operations(graph, Const)
        if isinstance(op, Const)
    ]


@pytest.mark.parametrize(
    "body",
    [
        "E[i, i', i''] * X[n, i'] * X[n, i'']",
        "E[i, i', i''] * X[n, i'] * X[n, i''] * exp(Z[n, i])",
        "sum[i', i''](-2 * E[i', i'', i] * X[n, i''] * X[n, i'])",
    ],
)
def test_a_vector_has_no_cross_product_with_itself(body: str) -> None:
    graph = layer(f"{CROSS}output Y[n, i] = {body}")
    out, applied = rewritten(graph)
    assert "symmetric" in rules(applied) and not operations(out, Contract)
    out, applied = rewritten(graph, "symmetric")
    assert "symmetric" not in rules(applied) and operations(out, Contract)


def test_a_triple_product_with_a_repeated_vector_is_zero() -> None:
    graph = layer(f"{CROSS}output Y[n] = E[i, i', i''] * X[n, i] * Z[n, i'] * X[n, i'']")
    assert not operations(rewritten(graph)[0], Contract)


@pytest.mark.parametrize(
    "body",
    [
        "E[i, i', i''] * X[n, i'] * Z[n, i'']",
        "E[i, i', i''] * X[n, i'] * X[n, i''] * X[n, i'']",
        "E[i, i', i''] * E[i', i'', 0] * X[n, i]",
        "E[i, i', i''] * max(X[n, i'], 0.1) * X[n, i'']",
    ],
)
def test_what_an_exchange_changes_is_computed(body: str) -> None:
    text = f"{CROSS}output Y[n, i] = {body}"
    assert "symmetric" not in rules(rewritten(layer(text))[1])


def test_what_may_be_infinite_is_not_zero() -> None:
    graph = layer(
        f"{CROSS}L[n, i] = log(Z[n, i]^2)\noutput Y[n, i] = E[i, i', i''] * L[n, i'] * L[n, i'']"
    )
    assert "symmetric" not in rules(rewritten(graph)[1])


@pytest.mark.parametrize(
    "body", ["E[p, i, j] * X[n, i] * X[n, j]", "E[p, i, j] * X[n, j] * X[n, i] * Z[n, 0]"]
)
def test_pairs_are_visited_once(body: str) -> None:
    graph = layer(PAIRS.format(body))
    out, applied = rewritten(graph, "selections")
    assert "symmetric" in rules(applied) and _cells(out) == [21 + 7]
    out, applied = rewritten(graph, "selections", "symmetric")
    assert _cells(out) == [42 + 7]


def test_pairs_of_different_vectors_are_visited_both_ways() -> None:
    graph = layer(PAIRS.format("E[p, i, j] * X[n, i] * Z[n, j]"))
    assert "symmetric" not in rules(rewritten(graph)[1])


def test_a_full_table_stays() -> None:
    graph = layer(
        "input X[n, r]\ndim r = 6\nindex i, j in r\nconst C[i, j] = i + j\n"
        "output Y[n] = C[i, j] * X[n, i] * X[n, j]"
    )
    assert "symmetric" not in rules(rewritten(graph)[1])
