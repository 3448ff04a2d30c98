"""Each rewrite where it applies, where it is switched off, and where it must refuse.

`rewritten` compares values with the graph as lowered, so every case below is also a numeric one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tensorlang.ir.nodes import (
    Const,
    Contract,
    Gather,
    Pointwise,
    Reduce,
    Scan,
    Softmax,
)
from tensorlang.rewrite.pipeline import PIPELINE, names
from tests.rewriting import layer, operations, rewritten, rules


def _alive(graph: object) -> int:
    return len(graph.alive())  # type: ignore[attr-defined]


# --- folding -------------------------------------------------------------------------------------
def test_a_sum_over_one_cell_is_no_sum() -> None:
    graph = layer(
        "input X[n, b]\n"
        "dim k = 1\n"
        "param W[k, m] ~ ones\n"
        "dim m = 3\n"
        "output Y[n, b, m] = sum[k](X[n, b] * W[k, m])"
    )
    out, _ = rewritten(graph)
    assert all(not out.node(k).bound for k in out.alive())


def test_zero_times_what_is_finite_is_zero() -> None:
    graph = layer("input X[n]\noutput Y[n] = X[n] + sum[m](0 * X[n] * X[m])\nindex m in n")
    out, _ = rewritten(graph)
    assert not operations(out, Contract)


def test_zero_times_what_may_be_infinite_stays() -> None:
    graph = layer("input X[n], Z[n]\noutput Y[n] = sum[n'](0 * X[n'] * log(Z[n'])) + X[n]")
    out, _ = rewritten_unchecked(graph)
    assert operations(out, Contract)


def test_a_mask_that_holds_everywhere_is_none() -> None:
    graph = layer("input X[n, m]\noutput Y[n, m] = softmax[m where |w| == 2](X[n, m])\ndim w = 2")
    out, _ = rewritten(graph)
    assert all(
        len(out.node(k).reads) == 1 for k in out.alive() if isinstance(out.node(k).op, Softmax)
    )


def test_a_reduction_over_one_cell_is_that_cell() -> None:
    graph = layer(
        "input X[n, b]\ndim k = 1\nparam W[k] ~ ones\noutput Y[n, b] = max[k](X[n, b] * W[k])"
    )
    assert not operations(rewritten(graph)[0], Reduce)


def test_copies_are_not_made() -> None:
    graph = layer(
        "input X[n, m]\nT[m, n] = X[n, m]\nS[n, m] = T[m, n]\noutput Y[n] = exp(S[n, m]) * S[n, m]"
    )
    out, _ = rewritten(graph)
    assert len(out.alive()) == 3  # X, exp(X), the sum


# --- constants -----------------------------------------------------------------------------------
def test_constants_are_contracted_when_compiling() -> None:
    graph = layer(
        """
        input X[n, p]
        dim p = 3, q = 2, r = 3
        const A[p, q] = p + 2 * q
        const B[q, r] = q - r
        output Y[n, r] = X[n, p] * A[p, q] * B[q, r]
        """
    )
    out, applied = rewritten(graph)
    assert "constants" in rules(applied)
    assert len(operations(out, Const)) == 1


def test_constants_that_would_grow_are_left_apart() -> None:
    graph = layer(
        """
        input X[n, p, q]
        dim p = 40, q = 40
        const A[p] = p
        const B[q] = q
        output Y[n] = X[n, p, q] * A[p] * B[q]
        """
    )
    out, _ = rewritten(graph)
    assert len(operations(out, Const)) >= 1
    assert all(out.node(k).rank == 1 for k in out.alive() if isinstance(out.node(k).op, Const))


# --- deltas --------------------------------------------------------------------------------------
DELTA = "input X[n, m]\nindex k in m\noutput Y[n, m] = sum[k]((1 if m == k else 0) * X[n, k])"


def test_a_delta_picks_its_cell() -> None:
    out, applied = rewritten(layer(DELTA))
    assert "deltas" in rules(applied)
    assert not operations(out, Contract)


def test_a_delta_stays_without_its_rule() -> None:
    out, applied = rewritten(layer(DELTA), "deltas")
    assert "deltas" not in rules(applied)
    assert operations(out, Contract)


def test_a_delta_between_axes_of_different_sizes_stays() -> None:
    graph = layer("input X[n, m]\noutput Y[n] = sum[m]((1 if n == m else 0) * X[n, m])")
    _out, applied = rewritten(graph)
    assert "deltas" not in rules(applied)


def test_an_identity_matrix_is_a_delta() -> None:
    graph = layer(
        "input X[n, p]\n"
        "dim p = 4, q = p\n"
        "const I[p, q] = 1 if p == q else 0\n"
        "output Y[n, q] = X[n, p] * I[p, q]"
    )
    out, applied = rewritten(graph)
    assert "deltas" in rules(applied)
    assert not operations(out, Contract)


def test_a_one_hot_sum_is_a_gather() -> None:
    graph = layer(
        "input X[n, m], k[b]: int\noutput Y[b, m] = sum[n]((1 if n == k[b] else 0) * X[n, m])"
    )
    out, applied = rewritten(graph)
    assert "deltas" in rules(applied)
    assert not operations(out, Contract)
    reads = [read for k in out.alive() for read in out.node(k).reads]
    assert any(isinstance(s, Gather) for read in reads for s in read.subscripts)


# --- scans ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("condition", ("n' <= n", "n' < n", "n' >= n", "n' > n", "n >= n'"))
def test_a_sum_over_a_prefix_is_a_scan(condition: str) -> None:
    graph = layer(f"input X[b, n]\noutput Y[b, n] = sum[n' where {condition}](X[b, n'])")
    out, applied = rewritten(graph)
    assert "scans" in rules(applied)
    assert len(operations(out, Scan)) == 1
    assert not operations(out, Contract)


def test_a_window_is_no_prefix() -> None:
    graph = layer("input X[b, n]\noutput Y[b, n] = sum[n' where n' <= n and n - n' < 3](X[b, n'])")
    out, applied = rewritten(graph)
    assert "scans" not in rules(applied) or operations(out, Contract)


def test_a_prefix_sum_of_what_depends_on_its_end_stays() -> None:
    graph = layer("input X[n, m]\noutput Y[n] = sum[n', m where n' <= n](exp(X[n, m] * X[n', m]))")
    assert not operations(rewritten(graph)[0], Scan)


def test_factors_of_the_end_leave_the_prefix_sum() -> None:
    graph = layer(
        "input Q[n, i], K[n, i], V[n, j]\n"
        "output Y[n, j] = sum[n', i where n' <= n](Q[n, i] * K[n', i] * V[n', j])"
    )
    rewritten(graph)


# --- flattening ----------------------------------------------------------------------------------
def test_a_vector_goes_through_a_chain_first() -> None:
    graph = layer(
        "input x[i]\ndim i = 64, j = 64, k = 64\nparam A[j, i], B[k, j] ~ kaiming\n"
        "P[k, i] = A[j, i] * B[k, j]\noutput y[k] = P[k, i] * x[i]"
    )
    out, applied = rewritten(graph)
    assert "flatten" in rules(applied)
    assert len(operations(out, Contract)) == 1
    assert all(one.saved for one in applied if one.rule == "flatten")


def test_a_value_that_others_read_is_not_taken_apart_for_little() -> None:
    graph = layer(
        "input X[n, i]\ndim i = 8, j = 8, k = 8\nparam A[j, i], B[k, j] ~ kaiming\n"
        "output H[n, j] = X[n, i] * A[j, i]\noutput Y[n, k] = H[n, j] * B[k, j]"
    )
    _out, applied = rewritten(graph)
    assert "flatten" not in rules(applied)


@pytest.mark.parametrize("size", (4, 300))
def test_a_sum_of_squares_stays_one(size: int) -> None:
    """Taken apart it could cancel: the norm of the cross product of near-parallel vectors would."""
    graph = layer(
        f"""
        input X[n, r], Z[n, t, r], b[p]
        dim r = {size}, p = 5
        index i, j in r
        param E[p, i, j], W[r, p] ~ kaiming
        P[n, t, p] = E[p, i, j] * X[n, i] * Z[n, t, j]
        output Y[n, t] = sqrt(sum[p](P^2)) + P[n, t, 0]
        output U[n, t] = norm[p](X[n, r] * W[r, p] + b[p]) + t
        output V[n, t] = norm[r](X[n, r] + Z[n, t, r])
        """
    )
    out, applied = rewritten(graph)
    assert not {"flatten", "hoist", "distribute"} & rules(applied)
    reads = [out.node(k).reads for k in out.alive() if isinstance(out.node(k).op, Contract)]
    assert sum(len(both) == 2 and both[0] == both[1] for both in reads) == 1


def test_a_maximum_of_sums_is_not_flattened_into_a_sum() -> None:
    graph = layer(
        "input A[n, i], B[i, m]\nM[n, m] = max[i](A[n, i] + B[i, m])\noutput Y[n] = sum[m](M[n, m])"
    )
    rewritten(graph)


# --- scalars, factors, hoisting ------------------------------------------------------------------
def test_a_number_goes_into_the_product() -> None:
    graph = layer(
        "input A[n, i], B[i, m]\noutput Y[n, m] = (A[n, i] * B[i, m] + 0) / sqrt(|i|) * 3"
    )
    out, _applied = rewritten(graph)
    assert len(operations(out, Contract)) == 1


def test_a_number_stays_outside_where_the_product_has_other_readers() -> None:
    graph = layer(
        "input A[n, i], B[i, m]\noutput P[n, m] = A[n, i] * B[i, m]\noutput Y[n, m] = 3 * P"
    )
    _out, applied = rewritten(graph)
    assert "scalars" not in rules(applied)


def test_a_norm_leaves_the_projection() -> None:
    graph = layer(
        "input X[n, i]\ndim i = 512, o = 8\nparam W[o, i] ~ kaiming\n"
        "U[n, i] = X[n, i] / max(norm[i](X), 1e-6)\noutput Y[n, o] = U[n, i] * W[o, i]"
    )
    rewritten(graph)


HOIST = """
    input X[b, w, p], c[b, w]
    dim w = 6, p = 64, d = 64
    param W[d, p] ~ kaiming
    param bias[d] ~ ones
    U[b, w, d] = X[b, w, p] * W[d, p] + bias[d]
    output Y[b, d] = c[b, w] * U[b, w, d]
    """


def test_a_linear_map_is_hoisted_out_of_a_sum() -> None:
    _out, applied = rewritten(layer(HOIST))
    assert "hoist" in rules(applied)


def test_hoisting_can_be_left_out() -> None:
    assert "hoist" not in rules(rewritten(layer(HOIST), "hoist")[1])


def test_what_is_not_linear_stays_in_the_sum() -> None:
    graph = layer(
        HOIST.replace("+ bias[d]", "+ bias[d]")
        .replace("= X[b", "= exp(X[b")
        .replace("p] + ", "p]) + ")
    )
    assert "hoist" not in rules(rewritten(graph)[1])


# --- selections, common parts --------------------------------------------------------------------
PAIRS = """
    input X[n, r], Z[n, r]
    dim r = 16, p = 120
    index i, j in r
    const E[p, i, j] = 1 if i < j and p == i * |r| - i * (i + 1) // 2 + j - i - 1 else 0
    output Y[n, p] = {0} * X[n, i] * Z[n, j]
    """


@pytest.mark.parametrize("table", ("E[p, i, j]", "(E[p, i, j] - E[p, j, i])"))
def test_a_table_of_few_entries_selects(table: str) -> None:
    _, applied = rewritten(layer(PAIRS.format(table)))
    assert "selections" in rules(applied)


def test_a_full_table_is_multiplied() -> None:
    graph = layer(
        "input X[n, r]\ndim r = 4, p = 5\nindex i, j in r\nconst E[p, i, j] = p + i * j + 1\n"
        "output Y[n, p] = E[p, i, j] * X[n, i] * X[n, j]"
    )
    assert "selections" not in rules(rewritten(graph)[1])


def test_a_stored_part_of_an_expression_is_read() -> None:
    graph = layer(
        "input X[n], Z[n]\n"
        "T[n] = X * Z + exp(X)\n"
        "output Y[n] = tanh(X * Z + exp(X)) + sum[n'](T[n'])"
    )
    out, _ = rewritten(graph)
    exps = [op for op in operations(out, Pointwise) if "'exp'" in repr(op)]
    assert len(exps) == 1


# --- the pipeline --------------------------------------------------------------------------------
def test_rules_say_why_they_stand_where_they_stand() -> None:
    assert all(row.why for phase in PIPELINE for row in phase)
    assert len(set(names())) == len(names())


def test_the_documentation_names_rewrites_that_there_are() -> None:
    page = (Path(__file__).parent.parent / "docs" / "rewrites.md").read_text()
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    assert named and set(named) <= set(names())


def test_dead_values_are_dropped() -> None:
    graph = layer("input X[n]\nT[n] = exp(X)\noutput Y[n] = X + 1")
    out, _ = rewritten(graph)
    assert _alive(out) == 2


def rewritten_unchecked(graph: object) -> tuple[object, object]:
    """Without comparing values: they are not finite."""
    from tensorlang.options import Options
    from tensorlang.rewrite.pipeline import rewrite

    return rewrite(graph, Options())  # type: ignore[arg-type]
