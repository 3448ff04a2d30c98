"""Values that are there already: functions of positions, products with their axes turned."""

from __future__ import annotations

import pytest
import torch

import tensorlang as tl
from tensorlang.ir.nodes import Contract, Pointwise
from tests.language.street import spec
from tests.rewriting import layer, operations, rewritten, rules

ANGLES = "input X[b, n, i], Z[b, n, i]\ndim i = 4\n"


def test_a_function_of_positions_is_made_once_for_all_readers() -> None:
    graph = layer(
        f"{ANGLES}P[b, n, i] = X * cos(n * 2.0^-i)\noutput Y[b, n, i] = P + Z * cos(n * 2.0^-i)"
    )
    out, applied = rewritten(graph)
    assert "tables" in rules(applied)
    assert len([op for op in operations(out, Pointwise) if "cos" in str(op)]) == 1
    assert "tables" not in rules(rewritten(graph, "tables")[1])


@pytest.mark.parametrize(
    "body",
    [
        "X * cos(n * Z)",  # of data
        "X * (n + 2 * i)",  # cheaper than a read
        "X * cos(3.0)",
    ],
)
def test_other_functions_stay_where_they_are(body: str) -> None:
    assert "tables" not in rules(rewritten(layer(f"{ANGLES}output Y[b, n, i] = {body}"))[1])


def test_a_product_with_its_axes_turned_is_not_computed_twice() -> None:
    body = "input A[b, m, i], W[i, n]\nT[b, m, n] = A * W\nU[n, b, m] = A * W\n"
    body += "output Y[b, m, n] = exp(T) + sin(U)\noutput Z[n, b] = sum[m](U^2)"
    graph = layer(body)
    out, _ = rewritten(graph)
    products = [node for node in map(out.node, out.alive()) if isinstance(node.op, Contract)]
    assert sum(len({read.node for read in node.reads}) == 2 for node in products) == 1


def test_different_products_stay_apart() -> None:
    body = "input A[b, n, n']\nT[b, n] = sum[n'](A[b, n, n'] * A[b, n', n])\n"
    body += "U[n, b] = sum[n'](A[b, n, n'] * A[b, n, n'])\noutput Y[b, n] = exp(T) + exp(U)"
    out, _ = rewritten(layer(body))
    assert len(operations(out, Contract)) == 2


def test_a_whole_axis_around_itself_is_rolled() -> None:
    made = spec(
        "layer L():\n    input X[b, n], Z[n]\n"
        "    output Y[b, n] = X[b, wrap(n + 2)] + X[b, wrap(n - 1)] + Z[wrap(n + |n| // 2)]\n"
    ).L()
    for n in (0, 1, 2, 3, 8):
        x, z = torch.randn(2, n).double(), torch.randn(n).double()
        want = x.roll(-2, 1) + x.roll(1, 1) + z.roll(-(n // 2), 0)
        torch.testing.assert_close(made(x, z), want)
        torch.testing.assert_close(torch.as_tensor(tl.reference(made)(x, z)), want)


def test_tables_hold_positions_that_bfloat16_does_not() -> None:
    made = spec("layer L():\n    input X[n, d]\n    output Y[n, d] = X * cos(n * 2.0^-d)\n").L()
    x = torch.ones(3000, 4, dtype=torch.bfloat16)
    want = torch.as_tensor(tl.reference(made)(x))
    torch.testing.assert_close(made(x).double(), want, atol=4e-3, rtol=4e-3)
