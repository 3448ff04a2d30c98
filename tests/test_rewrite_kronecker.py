"""Constants that are Kronecker products are multiplied factor by factor, others are left."""

from __future__ import annotations

import numpy as np
import pytest

from tensorlang.ir.nodes import Array, Const, Merge
from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tensorlang.rewrite.kronecker import _factors
from tests.rewriting import SMALL, layer, operations, rewritten, rules, same_value

HADAMARD = """
    dim i = {n}
    input X[b, i], g[b]
    const H[i, i'] = hadamard(i, i')
    output Y[i, b] = 3 * X[b, i'] * H[i', i] * g[b]
"""
TWICE = """
    dim i = 512
    input X[b, i], g[i]
    const H[i, i'] = hadamard(i, i')
    T[b, i] = sum[i'](H[i, i'] * X[b, i']) * g[i]
    output Y[b, i] = sum[i'](H[i, i'] * T[b, i'])
"""
GROUPED = """
    dim i = 24, j = 30
    input X[b, (i j)]
    const A[i, i'] = random_normal(i, i', seed = 1)
    const B[j, j'] = random_normal(j, j', seed = 2)
    const M[(i j), (i' j')] = A * B
    output Y[b, i, j] = X[b, (i' j')] * M[(i j), (i' j')]
"""
RECTANGLE = """
    dim i = 6, j = 40, u = 20, v = 36
    input X[b, (i j)]
    const A[u, i] = random_normal(u, i, seed = 1)
    const B[v, j] = random_normal(v, j, seed = 2)
    const M[(u v), (i j)] = A * B
    output Y[b, (u v)] = X[b, (i j)] * M[(u v), (i j)]
"""
RANDOM = """
    dim i = 512
    input X[b, i]
    const M[i, i'] = random_normal(i, i', seed = 3)
    output Y[b, i] = X[b, i'] * M[i, i']
"""
SMALLER = HADAMARD.format(n=16)
SHIFTED = """
    dim i = 512
    input X[b, i]
    const H[i, i'] = hadamard(i, i')
    output Y[b, i] = sum[i'](X[b, clamp(i' - 3)] * H[i', i])
"""


@pytest.mark.parametrize("without", [(), ("kronecker",)])
@pytest.mark.parametrize("text", [HADAMARD.format(n=512), TWICE, GROUPED, RECTANGLE])
def test_products_of_factors(text: str, without: tuple[str, ...]) -> None:
    graph = layer(text)
    out, applied = rewritten(graph, *without)
    assert ("kronecker" in rules(applied)) == (not without)
    cells = [op.array.value.size for op in operations(out, Const)]
    assert all(size <= 2000 for size in cells) == (not without)
    for sizes in (SMALL, {**SMALL, "b": 1}):
        same_value(graph, plan(out, Options(without=without)), sizes)


@pytest.mark.parametrize("text", [RANDOM, SMALLER, SHIFTED])
def test_what_has_no_factors_or_is_small_is_left(text: str) -> None:
    graph = layer(text)
    out, applied = rewritten(graph)
    assert "kronecker" not in rules(applied) and not operations(out, Merge)


def test_a_hadamard_matrix_has_a_factor_for_each_bit() -> None:
    for bits in range(1, 9):
        value = np.ones((1, 1))
        for _ in range(bits):
            value = np.kron(value, np.array([[1.0, 1.0], [1.0, -1.0]]))
        assert [factor.shape for factor in _factors(Array(value))] == [(2, 2)] * bits


@pytest.mark.parametrize("shapes", [((3, 5), (4, 7)), ((2, 1, 3), (5, 4, 2)), ((7, 7), (11, 1))])
def test_factors_multiply_to_the_constant(shapes: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(len(shapes[0]))
    first, second = (rng.normal(size=shape) + 1j for shape in shapes)
    value = np.kron(first, second)
    found = _factors(Array(value))
    assert len(found) > 1
    made = found[0]
    for factor in found[1:]:
        made = np.kron(made, factor)
    np.testing.assert_allclose(made, value, rtol=1e-12)
    value[0, 0] += 1e-3  # one cell off: no product any more
    assert len(_factors(Array(value))) == 1


def test_zeros_and_one_cell_have_no_factors() -> None:
    assert len(_factors(Array(np.zeros((4, 6))))) == 1
    assert len(_factors(Array(np.ones((1, 1))))) == 1
    sparse = np.zeros((8, 8))
    sparse[0, 1] = sparse[5, 6] = 1.0
    assert len(_factors(Array(sparse))) == 1
