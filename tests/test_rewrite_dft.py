"""Sums against waves are fast transforms: forward, backward, of reals, of few modes."""

from __future__ import annotations

import pytest

from tensorlang.ir.nodes import Transform
from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tests.rewriting import SMALL, layer, operations, rewritten, rules, same_value

REALS = """
    dim i = 600, k = {k}
    input X[b, i], g[k]
    const C[k, i] = dft(k, i)
    output Y[k, b] = 2 * X[b, i] * C[k, i] * g[k]
"""
NUMBERS = """
    dim i = 600, k = {k}
    input X[b, i]: complex
    const C[k, i] = dft(k, i)
    const D[k, i] = 0.5 * {of}(C[k, i])
    output Y[k, b] = X[b, i] * D[k, i]
"""
TURNED = """
    dim i = 600, k = 90
    input X[b, k]: complex, Z[b, i]
    const C[k, i] = dft(k, i)
    output Y[b] = X[b, k] * C[k, i] * Z[b, i]
    output V[b, i] = X[b, k] * C[k, i]
"""


@pytest.mark.parametrize("without", [(), ("dft",)])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (REALS.format(k=120), ["rfft"]),
        (REALS.format(k=301), ["rfft"]),
        (REALS.format(k=302), ["fft"]),
        (REALS.format(k=600), ["fft"]),
        (NUMBERS.format(k=600, of=""), ["fft"]),
        (NUMBERS.format(k=200, of=""), ["fft"]),
        (NUMBERS.format(k=600, of="conj"), ["ifft"]),
        (TURNED, ["fft", "rfft"]),
    ],
)
def test_sums_against_waves(text: str, found: list[str], without: tuple[str, ...]) -> None:
    graph = layer(text)
    out, applied = rewritten(graph, *without)
    assert ("dft" in rules(applied)) == (not without)
    kinds = sorted(op.op.value for op in operations(out, Transform))
    assert kinds == ([] if without else found)
    same_value(graph, plan(out, Options(without=without)), SMALL)


@pytest.mark.parametrize(
    "body",
    [
        # a transform of few cells
        """dim i = 6
        input X[b, i]
        const C[i', i] = dft(i', i)
        output Y[b, i'] = X[b, i] * C[i', i]""",
        # no waves
        """dim i = 600
        input X[b, i]
        const C[i', i] = dft(i', i)
        const D[i', i] = C[i', i] ^ 2 + 1
        output Y[b, i'] = X[b, i] * D[i', i]""",
        # every mode has cells of its own
        """dim i = 600
        input X[b, i', i]
        const C[i', i] = dft(i', i)
        output Y[b, i'] = X[b, i', i] * C[i', i]""",
        # what is not finite would reach all modes, which it does in the sum, but not in order
        """dim i = 600
        input X[b, i]
        const C[i', i] = dft(i', i)
        output Y[b, i'] = log(X[b, i] ^ 2) * C[i', i]""",
    ],
)
def test_other_sums_are_left(body: str) -> None:
    out, applied = rewritten(layer(body))
    assert "dft" not in rules(applied) and not operations(out, Transform)
