"""Third-order softmaxes with additive logits are two attentions, or must stay one."""

from __future__ import annotations

import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract, Softmax
from tests.rewriting import layer, operations, rewritten, rules

THIRD = """
    input Q[b, n, i], K1[b, n, i], K2[b, n, i], V1[b, n, i], V2[b, n, i], u[n], keep[b, n]: bool
    S[b, n, n', n''] = {logits}
    A[b, n, n', n''] = softmax[n', n''{mask}](S)
    output Y[b, n, i] = {value}
    """
SUM = "Q[b, n, i] * K1[b, n', i] + Q[b, n, i] * K2[b, n'', i]"
PRODUCT = "A[b, n, n', n''] * V1[b, n', i] * V2[b, n'', i]"


def _third(logits: str = SUM, mask: str = "", value: str = PRODUCT) -> Graph:
    where = f" where {mask}" if mask else ""
    return layer(THIRD.format(logits=logits, mask=where, value=value))


def _orders(graph: Graph) -> list[int]:
    return [len(op.axes) for op in operations(graph, Softmax) if isinstance(op, Softmax)]


def _largest(graph: Graph) -> int:
    return max(graph.node(k).rank for k in graph.alive())


@pytest.mark.parametrize(
    "logits",
    [
        SUM,
        f"({SUM}) / sqrt(|i|)",
        f"-2 * ({SUM}) * u[n] + u[n] - u[n'] + 1 / (1 + u[n'']^2)",
        "Q[b, n, i] * (K1[b, n', i] + K2[b, n'', i])",
        "Q[b, n, i] * (K1[b, n', i] - K2[b, n'', i]) / 3 + u[n'']",
    ],
)
def test_additive_logits_are_two_attentions(logits: str) -> None:
    out, applied = rewritten(_third(logits))
    assert "separable" in rules(applied)
    assert _orders(out) == [1, 1] and _largest(out) == 3


@pytest.mark.parametrize(
    "mask",
    [
        "n' <= n and n'' <= n",
        "n - 2 < n' <= n and n'' < n",  # the first row is empty
        "keep[b, n'] and n'' >= n",
        "keep[b, n]",
        "n' == n and keep[b, n'']",
        "n' < n and not keep[b, n]",
    ],
)
@pytest.mark.parametrize(
    "value", [PRODUCT, "A[b, n, n', n''] * (V1[b, n', i] + V2[b, n'', i])", "A[b, n, i, n'']"]
)
def test_a_mask_that_is_a_product_splits_too(mask: str, value: str) -> None:
    if value.startswith("A[b, n, i"):
        value = "sum[n', n''](A[b, n, n', n''] * V1[b, n', i] * u[n''])"
    out, applied = rewritten(_third(mask=mask, value=value))
    assert "separable" in rules(applied)
    assert set(_orders(out)) <= {1} and _largest(out) == 3


@pytest.mark.parametrize("mask", ["n' <= n''", "n' <= n or n'' <= n", "n' + n'' <= n"])
def test_a_mask_that_ties_the_keys_keeps_them(mask: str) -> None:
    out, applied = rewritten(_third(mask=mask))
    assert "separable" not in rules(applied)
    assert _orders(out) == [2]


@pytest.mark.parametrize(
    "logits",
    [
        f"{SUM} + K1[b, n', i] * K2[b, n'', i]",
        "Q[b, n, i] * K1[b, n', i] * K2[b, n'', i]",
        f"exp({SUM})",
        f"({SUM}) * u[n']",
    ],
)
def test_logits_that_tie_the_keys_keep_them(logits: str) -> None:
    out, applied = rewritten(_third(logits))
    assert "separable" not in rules(applied)
    assert _orders(out) == [2]


def test_it_can_be_left_out() -> None:
    out, applied = rewritten(_third(), "separable")
    assert "separable" not in rules(applied)
    assert _orders(out) == [2]


def test_an_index_that_the_logits_lack_is_weighed_evenly() -> None:
    out, applied = rewritten(_third("Q[b, n, i] * K1[b, n', i] + 0 * n''"))
    assert "separable" in rules(applied)
    assert _orders(out) == [1] and _largest(out) == 3


def test_values_over_both_keys_are_summed_one_after_the_other() -> None:
    graph = _third(value="A[b, n, n', n''] * (V1[b, n', i] * V2[b, n'', i] + u[n'] * u[n''])")
    assert "separable" in rules(rewritten(graph)[1])


def test_weights_that_are_a_result_are_a_product() -> None:
    graph = layer(
        """
        input a[n, m], w[n, i], c[n]
        output A[n, m, i] = softmax[m, i](a[n, m] + w[n, i] + c[n])
        output L[n, m, i] = log_softmax[m, i](a[n, m] + w[n, i] + c[n])
        """
    )
    out, applied = rewritten(graph)
    assert "separable" in rules(applied)
    assert _orders(out) == [1] * 4


def test_a_log_softmax_under_a_mask_stays() -> None:
    graph = layer(
        """
        input a[n, m], w[n, i], keep[m]: bool
        output L[n, m, i] = exp(log_softmax[m, i where keep[m] and i > n](a[n, m] + w[n, i]))
        """
    )
    assert "separable" not in rules(rewritten(graph)[1])


def test_three_keys_of_which_two_are_tied() -> None:
    graph = layer(
        """
        input a[n, m], w[n, i], V[m, i, t]
        A[n, m, i, t] = softmax[m, i, t](a[n, m] + w[n, i] + exp(a[n, m] * V[0 else 0, i, t]))
        B[n, m, i, t] = softmax[m, i, t](a[n, m] + w[n, i] * V[0 else 0, i, t])
        output Y[n] = sum[m, i, t](A[n, m, i, t] * V[m, i, t])
        output Z[n] = sum[m, i, t](B[n, m, i, t] * V[m, i, t])
        """
    )
    out, applied = rewritten(graph)
    assert "separable" in rules(applied)
    assert sorted(_orders(out)) == [1, 2, 3]


# --- distributing --------------------------------------------------------------------------------
def test_a_product_with_a_sum_over_other_indices_is_distributed() -> None:
    graph = layer(
        "input Q[n, i], A[n, i], B[m, i]\noutput Y[n, t, m] = Q[n, i] * (A[t, i] + 2 * B[m, i])\n"
        "index t in n"
    )
    out, applied = rewritten(graph)
    assert "distribute" in rules(applied)
    assert len(operations(out, Contract)) == 2
    assert "distribute" not in rules(rewritten(graph, "distribute")[1])


@pytest.mark.parametrize(
    "body",
    [
        "sum[i](Q[n, i] * (A[t, i] * Q[n, i] + A[t, i]^2 * A[n, i]))",  # no term has fewer indices
        "sum[i](Q[n, i] * exp(A[t, i] + Q[n, i]))",
        "Q[t, i] * A[n, i] + Q[n, i] * A[t, i]",
    ],
)
def test_what_would_not_factor_is_not_distributed(body: str) -> None:
    graph = layer(f"input Q[n, i], A[n, i]\nindex t in n\noutput Y[n, t] = {body}")
    assert "distribute" not in rules(rewritten(graph)[1])


def test_a_joint_softmax_is_not_read_twice() -> None:
    logits = "Q[b, n, i] * K1[b, n', i] * K2[b, n'', i]"
    graph = _third(logits, value="A[b, n, n', n''] * (V1[b, n', i] + V2[b, n'', i])")
    assert "distribute" not in rules(rewritten(graph)[1])
