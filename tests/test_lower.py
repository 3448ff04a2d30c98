"""Lowering: every construct keeps its value, and the graph has the intended form."""

from __future__ import annotations

import cProfile
import math
import re
import xml.dom.minidom
from typing import Any

import numpy as np
import pytest

from benchmarks.long_layer import long_layer
from tensorlang import reference
from tensorlang.check.check import check_layer
from tensorlang.check.program import Program
from tensorlang.check.spec import load_spec, spec_of_text
from tensorlang.draw import draw_inputs, draw_params, draw_sizes
from tensorlang.ir import cost, nodes
from tensorlang.ir.graph import Graph
from tensorlang.ir.svg import to_svg
from tensorlang.ir.text import to_dot, to_json, to_text
from tensorlang.ir.verify import verify
from tensorlang.lower import lower
from tests.example_cases import CASES, LARGE, ONES, SMALL, Case
from tests.graph_values import values


def program(source: str, **bind: Any) -> Program:
    spec = spec_of_text(source)
    return check_layer(spec, next(iter(spec.layers)), bind)


def layer(*lines: str) -> str:
    return "layer L():\n" + "".join(f"    {line}\n" for line in lines)


def graph_of(*lines: str) -> Graph:
    graph = lower(program(layer(*lines)))
    verify(graph)
    return graph


def kinds(graph: Graph) -> list[str]:
    leaves = nodes.Input | nodes.Param | nodes.Const
    found = (graph.node(identity) for identity in graph.alive())
    return [type(node.op).__name__ for node in found if not isinstance(node.op, leaves)]


def agree(made: Program, sizes: dict[str, int], seed: int = 0) -> None:
    """Reference and graph say the same on random inputs."""
    generator = np.random.default_rng(seed)
    inputs, params = draw_inputs(made, sizes, generator), draw_params(made, generator)
    graph = lower(made)
    verify(graph)
    want = reference.evaluate(made, inputs, params)
    got = values(graph, inputs, params)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-10, equal_nan=False)


PROGRAMS = {
    "product": ["input A[i, j], B[j, k]", "output C[i, k] = A * B"],
    "transpose": ["input A[i, j]", "output C[j, i] = A"],
    "identity": ["input A[i, j]", "output C[i, j] = A"],
    "broadcast": ["input A[i]", "dim k = 3", "param b[k] ~ ones", "output C[k, i] = A[i] + b"],
    "constant": ["input A[i]", "output C[] = 1", "output D[i] = i * |i| + 0.5"],
    "outer": ["input A[i], B[j]", "output C[i, j] = A * B - A / (1 + B^2)"],
    "coefficient": ["input A[i], B[i]", "output C[] = sum[i](-2 * A / 4 * B * (3 / sqrt(2)))"],
    "nested sums": ["input A[i, j], B[j, k]", "output C[i] = sum[k](sum[j](A * B))"],
    "divided inside": ["input A[i, j], B[j], n[i]", "output C[i] = sum[j](A * B / (1 + n^2))"],
    "divided by the summed": ["input A[i, j], B[j]", "output C[i] = sum[j](A / (1 + B^2) / 3)"],
    "divisor alone": ["input B[j]", "output C[] = sum[j](1 / (1 + B^2))"],
    "size times": ["input A[i], B[k]", "output C[i] = sum[k](A[i])", "output D[i] = A * |k|"],
    "factor outside": [
        "input A[i, j], B[j], s[i]",
        "output C[i] = sum[j](A * B * exp(s[i]) * |j|)",
    ],
    "squares": ["input A[i, j]", "output C[i] = sum[j](A^2)", "output D[i] = mean[j]((A + 1)^2)"],
    "sum of a sum": ["input A[i, j], b[i]", "output C[i] = sum[j](A + b)"],
    "prefix": ["input A[n, c]", "output C[n, c] = sum[n' where n' <= n](A[n', c])"],
    "prefix of a product": [
        "input A[n, c], B[n, e]",
        "output C[n, c, e] = sum[n' where n' <= n](A[n', c] * B[n', e])",
    ],
    "masked by data": [
        "input A[i, j], B[j, k], keep[j]: bool",
        "output C[i, k] = sum[j where keep[j] and A[i, j] > 0](A * B)",
    ],
    "logarithm where it is defined": [
        "input x[j], B[j, k]",
        "output C[k] = sum[j where x[j] > 0](log(x[j]) * B[j, k])",
        "output D[] = sum[j where x[j] > 0](log(x[j]))",
    ],
    "masked infinite tensor": [
        "input x[j], A[i, j], B[j, k]",
        "L[j] = log(x[j])",
        "output C[k] = sum[j where x[j] > 0](L[j] * B[j, k])",
        "output D[i] = sum[j where x[j] > 0 and A[i, j] > 0](L[j] * A[i, j])",
    ],
    "divisor under a condition": [
        "input v[b, j], keep[b, j]: bool",
        "n[b] = count[j where keep[b, j]]",
        "output C[b] = sum[j where keep[b, j]](v / n[b])",
    ],
    "choice": [
        "input x[i]",
        "output C[i] = log(x) if x > 0 else sqrt(-x)",
        "output D[i] = sum[i'](1 / x[i'] if x[i'] != 0 else 0) * x[i]",
    ],
    "mean": ["input A[i, j]", "output C[i] = mean[j](A)", "output D[] = mean[i, j](A * A)"],
    "conditional mean": [
        "input A[i, j]",
        "output C[i] = mean[j where A[i, j] > 0](A)",
        "output D[i] = mean[j where A[i, j] > 100](A)",
        "output E[i] = mean[j where j <= i](A)",
    ],
    "norm var std": [
        "input A[i, j]",
        "output C[i] = norm[j](A)",
        "output D[i] = var[j](A)",
        "output E[i] = std[j](A)",
        "output F[i] = norm[j where j < i](A) + std[j where j < i](A) + var[j where A > 0](A)",
    ],
    "extrema": [
        "input A[i, j]",
        "output C[i] = max[j](A)",
        "output D[i] = min[j where A[i, j] > 0](A)",
        "output E[i] = argmax[j](A)",
        "output F[i] = argmin[j where A[i, j] > 0](A)",
        "output G[i] = prod[j where j > i](A)",
        "output H[i] = logsumexp[j](A)",
        "output I[i] = logsumexp[j where j < i](A)",
    ],
    "max-plus": ["input A[i, j], B[j, k]", "output C[i, k] = max[j](A + B)"],
    "booleans": [
        "input p[i, j]: bool, q[j]: bool",
        "output C[i] = any[j](p and q)",
        "output D[i] = all[j where q[j]](p)",
        "output E[i] = count[j where p[i, j] or q[j]]",
        "output F[i] = sum[j](p)",
        "output G[i, j] = p + 2 * q",
        "output H[i] = mean[j](p)",
        "output I[i] = count[j where j <= i]",
    ],
    "ints": [
        "input a[i, j]: int, x[j]",
        "output C[i] = sum[j](a)",
        "output D[i] = sum[j](a * x)",
        "output E[i, j] = a // 2 + a % 3 + a / 2",
        "output F[i] = max[j](a)",
        "output G[i] = max[j where a[i, j] > 2](a)",
        "output H[i, j] = a^2 + x^2 + x^3 + 2^a",
    ],
    "softmax": [
        "input A[i, j], keep[j]: bool",
        "output C[i, j] = softmax[j](A)",
        "output D[i, j] = softmax[j where keep[j]](A)",
        "output E[i, j] = softmax[j where j < i](A)",
        "output F[j, i] = softmax[i, j](2 * A)",
        "output G[i, j] = log_softmax[j](A)",
        "output H[i, j] = softmax[j](A[i, j] / (1 + A^2)) * 2 + 1",
    ],
    "softmax of a broadcast": ["input A[n]", "output C[n, n'] = softmax[n' where n' <= n](A[n'])"],
    "scans": [
        "input A[i, j]",
        "output C[i, j] = cumsum[j](A)",
        "output D[i, j] = cumprod[i](A)",
        "output E[j, i] = cumsum[j where j % 2 == 0](A * A)",
    ],
    "affine": [
        "input X[b, x], W[u]",
        "dim v = 3",
        "output A[b, x] = sum[v](X[b, x + v - 1 else 0])",
        "output B[b, x] = X[b, |x| - 1 - x]",
        "output C[b, x] = X[b, clamp(x + 2)] + X[b, wrap(2*x - 3)] * X[b, reflect(x - 4)]",
        "output D[b] = X[b, 0] if |x| > 0 else 0",
        "output E[x] = sum[b, u](X[b, x + u else 1.5] * W)",
    ],
    "diagonal": ["input A[n, n']", "output C[n] = A[n, n]", "output D[] = sum[n](A[n, n])"],
    "groups": [
        "input A[n, m, c]",
        "P[n, (m c)] = A",
        "output Q[c, n, m] = P[n, (m c)]",
        "output R[(n m), c] = 2 * A",
        "output S[(c n)] = sum[m](A)",
    ],
    "gather": [
        "input X[n, d], src[e]: int, off[w]: int",
        "output A[e, d] = X[src[e], d]",
        "output B[d] = sum[e](X[src[e], d])",
        "output C[n, w, d] = X[n - off[w] else 0, d]",
        "output D[e] = X[clamp(src[e] + 1), 0] if |d| > 0 else 0.0",
        "output E[w] = X[wrap(src[0] - off[w]), 0] if |e| > 0 and |d| > 0 else 0.0",
    ],
    "scatter": [
        "input M[e, f], dst[e]: int, X[n], keep[e]: bool",
        "S[n = dst[e], f] += M[e, f] * 2",
        "S[n = dst[e], f] += M[e, f] if keep[e] else 0",
        "degree[n = dst[e]] += 1",
        "output T[n = dst[e], f] max= M[e, f]",
        "output B[n = dst[e]] += keep[e]",
        "output Y[n, f] = S / max(degree[n], 1) + X[n]",
        "output W[n = dst[e] - 1 else drop] min= M[e, 0] if |f| > 0 else 0",
    ],
    "transforms": [
        "input A[b, x], Z[b, x]: complex",
        "dim k = 5, r = 3",
        "output F[b, k] = fft[x -> k](A)",
        "output G[b, x] = ifft[k -> x](F)",
        'output H[r, b] = rfft[x -> r](A, norm = "forward")',
        "output I[x, b] = irfft[r -> x](H)",
        "output J[b] = sum[x](Z * conj(Z) * A)",
        "output K[b] = norm[x](Z)",
    ],
    "concat": [
        "input A[b, i], B[j]",
        "dim k = i + j",
        "output C[b, k] = concat[i, j -> k](A, B)",
    ],
    "matrices": [
        "input A[b, n, n']",
        "M[b, n, n'] = sum[n''](A[b, n, n''] * A[b, n', n'']) + (1 if n == n' else 0)",
        "output C[n, b, n'] = inv[n, n'](M)",
        "output D[b, n'] = solve[n, n'](M, A[b, n, 0 else 0])",
        "output E[b, n, n'] = cholesky[n, n'](M)",
    ],
    "consts": [
        "input A[i]",
        "dim p = 3, q = 4",
        "const E[p, q] = 1 if p <= q else 0",
        "const T[p] = [1, 2, 4]",
        "const V[q, p] = E[p, q] * T[p] / 3",
        "output C[i, q] = sum[p](A[i] * V[q, p] * E[p, q])",
    ],
    "checked where needed": [
        "input X[n], pick[e]: int",
        "output A[e] = X[pick[e] + 3] if pick[e] + 3 < |n| else -1",
        "output B[] = sum[e where pick[e] + 3 < |n|](X[pick[e] + 3])",
    ],
    "a second use": [
        "input X[n, d]",
        "output A[n] = sum[d](X * X)",
        "output B[n'] = sum[d](X[n', d] * X[n', d])",
    ],
    "at": ["input X[n, d], t[e]: int", "output A[e] = at[n = t[e]](sum[d](X))"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_lowering_keeps_the_value(name: str) -> None:
    made = program(layer(*PROGRAMS[name]))
    agree(made, {dim.name: 1 for dim in made.dynamic})
    for seed in range(3):
        agree(made, draw_sizes(made, np.random.default_rng(seed)), seed)


@pytest.mark.parametrize("name", ["product", "prefix", "conditional mean", "scatter", "softmax"])
def test_empty_axes(name: str) -> None:
    made = program(layer(*PROGRAMS[name]))
    for empty in made.dynamic:
        if (name, empty.name) != ("scatter", "n"):  # nowhere to land
            sizes = {dim.name: 0 if dim is empty else 3 for dim in made.dynamic}
            agree(made, sizes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_examples(case: Case) -> None:
    bind = {k: tuple(v) if isinstance(v, list) else v for k, v in case.hypers.items()}
    made = check_layer(load_spec(case.path), case.layer, bind)
    graph = lower(made)
    verify(graph)
    params = draw_params(made, np.random.default_rng(0))
    for sizes in (SMALL, LARGE, ONES) if case.ones else (SMALL, LARGE):
        inputs = [x.numpy() for x in case.draw(sizes)]
        want = reference.evaluate(made, inputs, params)
        for g, w in zip(values(graph, inputs, params), want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-11)


# --- the form of the graph -----------------------------------------------------------------------
def test_a_product_is_one_contraction() -> None:
    graph = graph_of(
        "input X[b, n, d], W[d, h, c], V[h, c, o]",
        "output Y[b, n, o] = X * W * V / sqrt(4)",
    )
    assert kinds(graph) == ["Contract"]
    node = graph.node(graph.outputs[0])
    assert isinstance(node.op, nodes.Contract) and node.op.coefficient == 0.5
    assert len(node.reads) == 3 and len(node.bound) == 3


def test_a_pointwise_expression_is_one_node() -> None:
    graph = graph_of(
        "input X[n, d], g[d]",
        "output Y[n, d] = silu(X * g + 1) * exp(-X^2) / 3 if X > g else 0",
    )
    assert kinds(graph) == ["Pointwise"]


def test_what_lacks_the_summed_index_leaves_the_sum() -> None:
    graph = graph_of("input A[i, j], n[i]", "output Y[i] = sum[j](A * exp(n[i]) / n[i])")
    assert kinds(graph) == ["Contract", "Pointwise"]
    assert len(graph.node(graph.alive()[-2]).reads) == 1


def test_a_causal_sum_is_a_product_with_a_mask() -> None:
    graph = graph_of(
        "input A[n, c], B[n, e]",
        "output Y[n, c, e] = sum[n' where n' <= n](A[n', c] * B[n', e])",
    )
    assert kinds(graph) == ["Pointwise", "Contract"]
    assert len(graph.node(graph.outputs[0]).reads) == 3


def test_equal_equations_are_one_node() -> None:
    graph = graph_of(
        "input X[n, d], W[d, e]",
        "output A[n, e] = X[n, d] * W[d, e]",
        "output B[n', e] = W[d, e] * X[n', d]",
    )
    assert len(set(graph.outputs)) == 1
    assert graph.provenance(graph.outputs[0]).names == ("A", "B")


def test_conditions_of_hyperparameters_are_gone() -> None:
    source = (
        "layer L(causal = false):\n    input A[n, n']\n"
        "    output Y[n, n'] = softmax[n' where not causal or n' <= n](A)\n"
    )
    (off,) = (n for n in _alive(lower(program(source))) if isinstance(n.op, nodes.Softmax))
    (on,) = (
        n for n in _alive(lower(program(source, causal=True))) if isinstance(n.op, nodes.Softmax)
    )
    assert (len(off.reads), len(on.reads)) == (1, 2)


def _alive(graph: Graph) -> list[nodes.Node]:
    return [graph.node(identity) for identity in graph.alive()]


def test_a_failing_function_is_guarded() -> None:
    graph = graph_of("input x[i]", "output Y[i] = log(x) if x > 0 else 0")
    assert "log(x[a] if (x[a] > 0.0) else 0.5)" in to_text(graph)
    plain = graph_of("input x[i]", "output Y[i] = log(x)")
    assert "0.5" not in to_text(plain)


def test_sizes_need_no_guard_unless_they_are_asked_about() -> None:
    graph = graph_of(
        "input Q[n, c], K[n, c]",
        "output A[n, n'] = softmax[n' where n' <= n](Q[n, c] * K[n', c] / sqrt(|c|))",
    )
    assert "0.5" not in to_text(graph)
    asked = graph_of("input x[b], y[n]", "output Y[b] = x / |n| if |n| > 0 else 0")
    assert "0.5" in to_text(asked)


def test_a_norm_has_a_slope_at_zero_that_is_no_nan() -> None:
    graph = graph_of("input x[i, j]", "output Y[i] = norm[j](x)")
    assert kinds(graph) == ["Contract", "Pointwise"]
    assert "0.5) if" in to_text(graph)


def test_a_sum_that_is_also_subtracted_is_one_sum() -> None:
    graph = graph_of("input x[i, j]", "output Y[i, j] = (x - mean[j](x)) / (1 + mean[j](x)^2)")
    assert kinds(graph).count("Contract") == 1


def test_literals_fold_but_not_into_nonsense() -> None:
    graph = graph_of("input x[i]", "output Y[i] = x * (2 + 3 * 4) + 1 / 0")
    assert "14.0" in to_text(graph) and "(1.0 / 0.0)" in to_text(graph)


def test_random_calls_stay_apart() -> None:
    source = """
layer Outer():
    input X[n]
    sub f = Drop()
    output A[n] = f(X)
    output B[n] = f(X)
layer Drop():
    input X[n]
    output Y[n] = dropout(X, 0.5)
"""
    graph = lower(program(source))
    assert len(set(graph.outputs)) == 2
    fixed = lower(program(source.replace("dropout(X, 0.5)", "2 * X")))
    assert len(set(fixed.outputs)) == 1


def test_a_gathered_position_out_of_range_is_an_index_error() -> None:
    made = program(layer("input X[n], pick[e]: int", "output Y[e] = X[pick[e]]"))
    with pytest.raises(IndexError):
        values(lower(made), [np.ones(3), np.array([0, 3])], {})


# --- printing and costs --------------------------------------------------------------------------
def test_text_reads_like_the_source() -> None:
    graph = graph_of(
        "input X[b, x], W[u]",
        "output Y[b, x] = X[b, 2*x + u - 1 else 0] * W[u] + 1",
    )
    text = to_text(graph)
    assert "sum[c] " in text and "X[a, 2*b + c - 1 else 0.0]" in text
    assert text.splitlines()[0] == "graph L" and text.splitlines()[-1] == "  return Y"


def test_json_dot_and_svg_are_well_formed_and_stable() -> None:
    for case in CASES[::5]:
        bind = {k: tuple(v) if isinstance(v, list) else v for k, v in case.hypers.items()}
        graph, again = (
            lower(check_layer(load_spec(case.path), case.layer, bind)) for _ in range(2)
        )
        xml.dom.minidom.parseString(to_svg(graph))
        assert re.fullmatch(r"digraph .*\{.*\}\n", to_dot(graph), re.DOTALL)
        for printed in (to_text, to_json, to_dot, to_svg):
            assert printed(graph) == printed(again)


def test_costs_are_polynomials() -> None:
    graph = graph_of("input X[b, n], Y[n, m]", "output Z[b, m] = 2 * X * Y")
    (output,) = graph.outputs
    product = cost.flops(graph.node(output))
    assert cost.to_text(product) == "2*b*m*n + b*m"
    assert cost.evaluate(product, {"b": 2, "n": 3, "m": 5}) == 70
    assert cost.to_text(cost.bytes_moved(graph, output)) == "4*b*m + 4*b*n + 4*m*n"
    windows = graph_of("input X[x]", "dim y = (x - 1) // 2 + 1", "output Z[y] = X[2*y]")
    (output,) = windows.outputs
    assert "floor" in cost.to_text(cost.held_bytes(windows.node(output)))


def test_parameters_are_counted() -> None:
    made = program(
        "layer L(d = 4):\n    input X[d]\n    param W[d, d'] ~ ones\n"
        "    output Y[d] = X[d'] * W[d, d']\n"
    )
    assert cost.parameters(lower(made)) == {(): 16}


def test_lowering_grows_linearly() -> None:
    def calls(equations: int) -> float:
        spec = spec_of_text(long_layer(equations))
        made = check_layer(spec, next(iter(spec.layers)), {})
        profile = cProfile.Profile()
        profile.enable()
        lower(made)
        profile.disable()
        return float(sum(entry.callcount for entry in profile.getstats()))

    calls(20)
    assert math.log2(calls(400) / calls(200)) < 1.1
