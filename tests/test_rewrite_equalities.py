"""Conditions that set an index to an axis: dense attention over rows becomes axial, or must not."""

from __future__ import annotations

import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract, Reduce, Softmax
from tests.rewriting import layer, operations, rewritten, rules

ATTENTION = """
    input Q[b, n, m, i], K[b, n, m, i], V[b, n, m, i]
    S[b, n, m, n', m'] = Q[b, n, m, i] * K[b, n', m', i] / sqrt(|i|)
    A[b, n, m, n', m'] = softmax[n', m'{0}](S{1})
    output Y[b, n, m, i] = A[b, n, m, n', m'] * V[b, n', m', i]
    """


def _attention(mask: str = "", logits: str = "") -> Graph:
    return layer(ATTENTION.format(f" where {mask}" if mask else "", logits))


def _largest(graph: Graph) -> int:
    return max(graph.node(k).rank for k in graph.alive())


@pytest.mark.parametrize(
    ("mask", "logits"),
    [
        ("n == n'", ""),
        ("n' == n and m' <= m", ""),
        ("m' < m and n' == n", ""),
        ("m == m'", ""),
        ("", " if n == n' else -inf"),
        ("", " if m' <= m and n == n' else -inf"),
        ("", " + (0 if n == n' else -inf)"),
        ("", " + (-inf if n' != n else 0)"),
    ],
)
def test_attention_over_rows_is_axial(mask: str, logits: str) -> None:
    out, applied = rewritten(_attention(mask, logits))
    assert "equalities" in rules(applied)
    assert all(len(op.axes) == 1 for op in operations(out, Softmax) if isinstance(op, Softmax))
    if "m' <= m and" not in logits:  # what is left of -inf keeps its products apart
        assert _largest(out) <= 4


@pytest.mark.parametrize(
    "mask",
    [
        "n == n' or m == m'",  # criss-cross is no axis
        "n' <= n",
        "n' == n - 1",
        "n != n'",
        "n' == m'",  # both under the softmax
        "not n == n'",
    ],
)
def test_other_conditions_stay(mask: str) -> None:
    _, applied = rewritten(_attention(mask))
    assert "equalities" not in rules(applied)


def test_axes_of_different_sizes_stay() -> None:
    _, applied = rewritten(_attention("n == m'"))
    assert "equalities" not in rules(applied)


def test_what_is_outside_counts() -> None:
    _, applied = rewritten(_attention("", " if n == n' else 0"))
    assert "equalities" not in rules(applied)


@pytest.mark.parametrize("without", ["equalities", "diagonals", "deltas"])
def test_each_part_can_be_left_out(without: str) -> None:
    out, applied = rewritten(_attention("n == n'"), without)
    assert without not in rules(applied)
    summed = [graph_node.bound for k in out.alive() if (graph_node := out.node(k)).bound]
    assert _largest(out) == 5 or any(len(bound) > 1 for bound in summed)


def test_both_axes_leave_one_cell() -> None:
    out, applied = rewritten(_attention("n == n' and m == m'"))
    assert "equalities" in rules(applied)
    assert not operations(out, Softmax)


def test_data_may_mask_an_axis_too() -> None:
    graph = layer(
        """
        input Q[b, n, m, i], K[b, n, m, i], V[b, n, m, i], keep[b, n, m]: bool
        A[b, n, m, n', m'] = softmax[n', m' where n == n' and keep[b, n', m']](
            Q[b, n, m, i] * K[b, n', m', i])
        output Y[b, n, m, i] = A[b, n, m, n', m'] * V[b, n', m', i]
        """
    )
    out, applied = rewritten(graph)
    assert "equalities" in rules(applied) and _largest(out) == 4


def test_a_softmax_that_others_read_is_right_too() -> None:
    graph = layer(
        """
        input S[n, n', m, m']
        A[n, m, n', m'] = softmax[n', m' where n == n'](S[n, n', m, m'])
        output Y[n, n'] = sum[m, m'](A[n, m, n', m'] * S[n', n, m', m])
        output Z[n, m] = max[n', m'](A[n, m, n', m'])
        """
    )
    assert "equalities" in rules(rewritten(graph)[1])


@pytest.mark.parametrize("operator", ["max", "min", "logsumexp", "prod"])
def test_a_reduction_where_indices_are_equal_runs_over_the_others(operator: str) -> None:
    graph = layer(
        f"""
        input X[b, n, m]
        output Y[b, n] = {operator}[n', m where n == n'](exp(X[b, n', m]))
        output Z[b, n, m] = {operator}[n' where n' == n](X[b, n', m] * X[b, n, m])
        """
    )
    out, applied = rewritten(graph)
    assert "equalities" in rules(applied)
    assert len(operations(out, Reduce)) == 1 and _largest(out) == 3


def test_a_sum_and_a_mean_where_indices_are_equal() -> None:
    graph = layer(
        """
        input X[b, n, m], U[n, m]
        output Y[b, n] = mean[n', m where n == n'](exp(X[b, n', m] * U[n, m]))
        output C[n] = count[n' where n == n']
        """
    )
    out, applied = rewritten(graph)
    assert {"deltas", "diagonals"} <= rules(applied)
    assert _largest(out) == 3 and len(operations(out, Contract)) == 1


def test_a_diagonal_of_a_value_that_others_read_is_read() -> None:
    graph = layer(
        """
        input X[n, i], Z[n, i]
        S[n, n'] = X[n, i] * Z[n', i]
        output Y[n] = exp(S[n, n])
        output T = S[n, n'] * S[n', n]
        """
    )
    assert "diagonals" not in rules(rewritten(graph)[1])


def test_a_diagonal_of_a_product_is_a_product_on_the_diagonal() -> None:
    graph = layer(
        """
        input X[n, i], Z[n, i]
        S[n, n'] = X[n, i] * Z[n', i] + n - 2 * n'
        output Y[n] = exp(S[n, n])
        """
    )
    out, applied = rewritten(graph)
    assert "diagonals" in rules(applied) and _largest(out) == 2
