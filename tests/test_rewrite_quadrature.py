"""Gaunt's constant as a grid: exact, and only where the constant is Gaunt's."""

from __future__ import annotations

import numpy as np
import pytest

from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tensorlang.rewrite.quadrature import _gaunt, _grid
from tests.rewriting import SMALL, layer, rewritten, rules, same_value

GAUNT = """
    dim u = 4, i = irreps(3), k = irreps(5)
    input X[n, u, i], Y[n, u, i]
    const G[i, i', k] = gaunt(i, i', k)
    output Z[n, u, k] = 2 * G[i, i', k] * X[n, u, i] * Y[n, u, i']
"""
REORDERED = GAUNT.replace("G[i, i', k]", "G[k, i, i']")
COUPLING = """
    dim u = 4, i = irreps(3)
    input X[n, u, i], Y[n, u, i]
    const C[p, i, i', i''] = cg_paths(p, i, i', i'')
    const G[i, i', i''] = sum[p](C[p, i, i', i''])
    output Z[n, u, i''] = G[i, i', i''] * X[n, u, i] * Y[n, u, i']
"""


@pytest.mark.parametrize("text", [GAUNT, REORDERED, COUPLING])
@pytest.mark.parametrize("without", [(), ("quadrature",)])
def test_values_are_kept(text: str, without: tuple[str, ...]) -> None:
    graph = layer(text)
    out, applied = rewritten(graph, *without)
    assert ("quadrature" in rules(applied)) == (not without and text is not COUPLING)
    for sizes in (SMALL, {**SMALL, "n": 1}):
        same_value(graph, plan(out, Options(without=without)), sizes)


@pytest.mark.parametrize("degrees", [(1, 1, 1), (3, 4, 6), (5, 5, 5), (8, 8, 8), (12, 12, 3)])
def test_grids_are_exact(degrees: tuple[int, int, int]) -> None:
    x, y, z = _grid(degrees)
    table = np.einsum("ig,jg,kg->ijk", x, y, z, optimize=True)
    np.testing.assert_allclose(table, _gaunt(degrees), atol=1e-13)
    total = sum(degrees)
    assert x.shape[1] < (total // 2 + 1) * (total + 1)
