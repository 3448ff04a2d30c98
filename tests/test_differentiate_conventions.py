"""What a gradient is at ties, kinks and zeros, over no cell, and where masks hide NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorlang.differentiate import gradient
from tensorlang.dtype import Dtype
from tests.differentiating import nodes_at
from tests.rewriting import layer

INF = float("inf")
Cells = list[Any]

# body of Y over X (and K: int); X; dY/dX; the gradient of that gradient's sum
CASES: dict[str, tuple[str, Cells, Cells, Cells]] = {
    "tie of a maximum": ("Y[] = max[n](X)", [1, 3, 3], [0, 0.5, 0.5], [0, 0, 0]),
    "maximum of none": ("Y[] = max[n where X < 0](X)", [1, 3], [0, 0], [0, 0]),
    "maximum over nothing": ("Y[] = max[n](X)", [], [], []),
    "tie of two": ("Y[n] = max(X, 2) + min(X, 2)", [1, 2, 3], [1, 1, 1], [0, 0, 0]),
    "logsumexp of none": ("Y[] = logsumexp[n where X < 0](X)", [1, 3], [0, 0], [0, 0]),
    "softmax of none": ("Y[n] = softmax[n where X > 5](X)", [1, 3], [0, 0], [0, 0]),
    "log_softmax of none": ("Y[n] = log_softmax[n where X > 5](X)", [1, 3], [0, 0], [0, 0]),
    "product with two zeros": ("Y[] = prod[n](X)", [0, 0, 3], [0, 0, 0], [3, 3, 0]),
    "product with one zero": ("Y[] = prod[n](X)", [0, 2, 3], [6, 0, 0], [5, 3, 2]),
    "product of none": ("Y[] = prod[n where X > 5](X)", [1, 2], [0, 0], [0, 0]),
    "cumulative product": ("Y[n] = cumprod[n](X)", [2, 0, 3], [1, 8, 0], [4, 6, 2]),
    "norm at zero": ("Y[] = norm[n](X)", [0, 0], [0, 0], [0, 0]),
    "std at zero": ("Y[] = std[n](X)", [1, 1], [0, 0], [0, 0]),
    "relu and abs": ("Y[n] = relu(X) + abs(X)", [-1, 0, 2], [-1, 0, 2], [0, 0, 0]),
    "square": ("Y[n] = X ^ 2", [-1, 0], [-2, 0], [2, 2]),
    "log under where": ("Y[] = sum[n where X > 0](log(X))", [-1, 0, 2], [0, 0, 0.5], [0, 0, -0.25]),
    "log under if": ("Y[n] = log(X) if X > 0 else 0", [-1, 0, 2], [0, 0, 0.5], [0, 0, -0.25]),
    "root under if": ("Y[n] = X^0.5 if X > 0 else 0", [-1, 0, 4], [0, 0, 0.25], [0, 0, -1 / 32]),
    "quotient under if": ("Y[n] = 1 / X if X != 0 else 0", [0, 2], [0, -0.25], [0, 0.25]),
    "infinite cells tie": ("Y[] = max[n](X)", [-INF, -INF], [0.5, 0.5], [0, 0]),
    "stopgrad": ("Y[n] = X * stopgrad(X)", [2, 3], [2, 3], [0, 0]),
    "read outside": ("Y[] = X[7 else 5]", [1, 2], [0, 0], [0, 0]),
    "ends": ("Y[n] = X[clamp(2 * n - 1)]", [1, 2, 3], [1, 1, 1], [0, 0, 0]),
    "mirror": ("Y[n] = X[reflect(n - 2)]", [1, 2, 3], [1, 1, 1], [0, 0, 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_by_hand(name: str) -> None:
    body, at, once, twice = CASES[name]
    graph = layer(f"input X[n]\noutput {body}")
    x = np.array(at, np.float64)
    first = gradient(graph, graph.outputs[0], graph.inputs[0])
    second = gradient(graph, first, graph.inputs[0])
    found = nodes_at(graph, [first, second], [x], {})
    np.testing.assert_allclose(found[0], np.array(once, np.float64))
    np.testing.assert_allclose(found[1], np.array(twice, np.float64))


def test_a_tie_of_what_lands_and_a_cell_on_which_nothing_does() -> None:
    graph = layer("input X[n], K[n]: int, Z[m]\nS[m = K[n]] max= X\noutput Y[m] = S * Z")
    wanted = {0: [1, 0.5, 0.5], 2: [1, 2, 0]}
    for place, want in wanted.items():
        node = gradient(graph, graph.outputs[0], graph.inputs[place])
        given = [np.array([1.0, 2.0, 2.0]), np.array([0, 1, 1]), np.ones(3)]
        (found,) = nodes_at(graph, [node], given, {})
        np.testing.assert_allclose(found, want)


def test_a_complex_gradient_points_where_the_value_grows() -> None:
    graph = layer("input X[n]: complex\noutput Y[n] = abs(X)")
    node = gradient(graph, graph.outputs[0], graph.inputs[0])
    assert graph.node(node).dtype is Dtype.COMPLEX
    (found,) = nodes_at(graph, [node], [np.array([0, 3 + 4j])], {})
    np.testing.assert_allclose(found, [0, 0.6 + 0.8j])


def test_what_a_value_does_not_depend_on() -> None:
    graph = layer("input X[n], Z[m], K[m]: int\noutput Y[n] = X * 2\noutput W[m] = K")
    x, z, _ = graph.inputs
    zeros = [gradient(graph, graph.outputs[0], z), gradient(graph, graph.outputs[1], x)]
    given = [np.ones(2), np.ones(3), np.arange(3)]
    for found, size in zip(nodes_at(graph, zeros, given, {}), (3, 2), strict=True):
        assert found.tolist() == [0.0] * size


def test_a_tensor_on_the_way_counts_as_independent() -> None:
    graph = layer("input X[n]\nZ[n] = X * X\noutput Y[n] = Z * Z * X")
    middle = next(k for k in range(len(graph)) if "Z" in graph.provenance(k).names)
    node = gradient(graph, graph.outputs[0], middle)
    (found,) = nodes_at(graph, [node], [np.array([2.0, 3.0])], {})
    np.testing.assert_allclose(found, [2 * 4 * 2, 2 * 9 * 3])
