"""Means before maps, rows that sum to one, constant queries: where exact and cheaper, else not."""

from __future__ import annotations

import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Reduce, Softmax
from tests.rewriting import layer, operations, rewritten, rules

LATENT = """
    input X[b, t, d], keep[b, t]: bool
    dim d = 32, h = 4, c = 8, k = 2
    param Wk[h, c, d], Wv[h, c, d] ~ kaiming
    param bk[h, c], bv[h, c] ~ kaiming
    param L[h, k, c] ~ normal
    K[b, t, h, c] = X[b, t, d] * Wk[h, c, d] + bk[h, c]
    V[b, t, h, c] = {values}
    A[b, h, k, t] = {weights}(L[h, k, c] * K[b, t, h, c])
    output Z[b, h, k, c] = A[b, h, k, t] * V[b, t, h, c] + L[h, k, c]
    """
AFFINE = "X[b, t, d] * Wv[h, c, d] + bv[h, c]"


def _latent(weights: str = "softmax[t]", values: str = AFFINE) -> Graph:
    return layer(LATENT.format(weights=weights, values=values))


def _cells_over_time(graph: Graph) -> int:
    """How many cells for each position of time the largest value has, inputs aside."""
    most = 0
    for identity in graph.alive():
        node = graph.node(identity)
        if node.reads and any(str(size) == "t" for size in node.shape):
            cells = 1
            for size in node.shape:
                cells *= size if isinstance(size, int) else 1
            most = max(most, cells)
    return most


@pytest.mark.parametrize("mask", ["", " where keep[b, t]", " where keep[b, t] and t > 0"])
@pytest.mark.parametrize("values", [AFFINE, "X[b, t, d] * Wv[h, c, d]", f"2 * ({AFFINE})"])
def test_constant_queries_are_absorbed_and_the_mean_comes_first(mask: str, values: str) -> None:
    out, applied = rewritten(_latent(f"softmax[t{mask}]", values))
    assert "pool" in rules(applied)
    assert _cells_over_time(out) == 4 * 2  # the weights: no keys, no values
    if mask and values != "X[b, t, d] * Wv[h, c, d]":
        assert operations(out, Reduce)  # a row without a cell is 0, bias and all


def test_the_bias_of_an_empty_mean_is_nothing() -> None:
    graph = _latent("softmax[t where keep[b, t]]")
    _, applied = rewritten(graph)
    assert any("sums to 1" in one.what for one in applied)


@pytest.mark.parametrize("without", ["pool", "flatten"])
def test_each_part_can_be_left_out(without: str) -> None:
    out, applied = rewritten(_latent(), without)
    assert without not in rules(applied)
    assert _cells_over_time(out) > 4 * 2


@pytest.mark.parametrize("values", [f"relu({AFFINE})", f"({AFFINE}) * X[b, t, 0]"])
def test_what_is_not_affine_is_mapped_first(values: str) -> None:
    _, applied = rewritten(_latent(values=values))
    assert "pool" not in rules(applied)


def test_weights_that_do_not_sum_to_one_keep_the_bias_under_the_sum() -> None:
    _, applied = rewritten(_latent("exp"))
    assert "pool" not in rules(applied)


def test_many_queries_are_no_reason_to_pool() -> None:
    graph = layer(
        """
        input X[b, n, d]
        dim d = 32, h = 4, c = 8
        param Wq[d, h, c], Wk[d, h, c], Wv[d, h, c] ~ kaiming
        Q[b, h, n, c] = X[b, n, d] * Wq[d, h, c]
        K[b, h, n, c] = X[b, n, d] * Wk[d, h, c]
        V[b, h, n, c] = X[b, n, d] * Wv[d, h, c]
        A[b, h, n, n'] = softmax[n'](Q[b, h, n, c] * K[b, h, n', c])
        output Y[b, n, h, c] = A[b, h, n, n'] * V[b, h, n', c]
        """
    )
    assert "pool" not in rules(rewritten(graph)[1])


def test_values_that_others_read_are_kept() -> None:
    graph = layer(
        LATENT.format(weights="softmax[t]", values=AFFINE)
        + "    output V2[b, t, h, c] = V[b, t, h, c] + 1\n"
    )
    _, applied = rewritten(graph)
    assert "pool" not in rules(applied)


ROWS = """
    input S[n, m], V[m, i], keep[n, m]: bool
    A[n, m] = softmax[m{0}]({1})
    output Y[n, i] = sum[m](A[n, m] * V[m, i])
    output Z[n] = sum[m](A[n, m])
    """


@pytest.mark.parametrize("mask", ["", " where m < n", " where keep[n, m]", " where m < 2"])
def test_a_row_sums_to_one_or_nothing(mask: str) -> None:
    graph = layer(
        ROWS.format(mask, "S[n, m]") + "    output P[n] = sum[m](A[n, m] * A[n, 0 else 0])"
    )
    assert "pool" in rules(rewritten(graph)[1])


def test_a_row_that_may_be_no_number_is_summed() -> None:
    text = (
        ROWS.format("", "log(S[n, m]^2)") + "    output P[n] = sum[m](3 * A[n, m] * S[n, 0 else 0])"
    )
    assert "pool" not in rules(rewritten(layer(text))[1])


def test_a_softmax_that_nothing_else_reads_keeps_its_gradient() -> None:
    graph = layer("input S[n, m], c[n]\noutput Y[n] = sum[m](softmax[m](S) * c[n])")
    out, _ = rewritten(graph)
    assert operations(out, Softmax)
