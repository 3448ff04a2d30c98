"""What a value's form says of it: that it cannot be infinite, nor its slope."""

from __future__ import annotations

import pytest

from tensorlang.check.check import check_layer
from tensorlang.check.program import Apply, Equation
from tensorlang.check.spec import spec_of_text
from tensorlang.lower.prepare import prepare
from tensorlang.lower.ranges import can_fail, value_range


def body_of(text: str) -> Apply:
    source = f"layer L(d = 8):\n    input X[n, d], Z[n, d]\n    output Y[n, d] = X - X + ({text})\n"
    (equation,) = check_layer(spec_of_text(source), "L", {"d": 8}).body
    assert isinstance(equation, Equation)
    body = prepare(equation.body)
    assert isinstance(body, Apply) and body.function == "add", body
    last = body.args[-1]
    assert isinstance(last, Apply), body
    return last


@pytest.mark.parametrize(
    "text",
    [
        "10000.0 ^ (-2 * (d % 4) / |d|) * 1",
        "1 / (n + 1)",
        "X / (1 + Z^2)",
        "X / sqrt(Z * Z + 0.1)",
        "log(2 + sin(X))",
        "exp(-abs(X))",
        "exp(min(X, 10))",
        "(1 + abs(X)) ^ -2.5",
        "acos(0.9 * tanh(X))",
        "X % (d + 1)",
        "2.0 ^ d",
        "abs(X) ^ 1.5",
    ],
)
def test_finite(text: str) -> None:
    assert not any(can_fail(part) for part in _parts(body_of(text)))


@pytest.mark.parametrize(
    "text",
    [
        "10000.0 ^ (n / 4)",
        "1 / n",
        "X / (1 + Z)",
        "X / (Z^2)",
        "sqrt(X * X)",
        "log(1 + sin(X))",
        "exp(X)",
        "X ^ 0.5",
        "X ^ -1",
        "abs(X) ^ 0.5",
        "2.0 ^ (d * 100)",
        "acos(tanh(X))",
        "X % d",
        "exp(min(X, 1000))",
    ],
)
def test_perhaps_not_finite(text: str) -> None:
    assert any(can_fail(part) for part in _parts(body_of(text)))


def test_ranges() -> None:
    assert value_range(body_of("min(d - 3, n)")).low == -3
    assert value_range(body_of("max(2 * d + 1, 3)")).high == 15
    assert value_range(body_of("max(-(X * X), -1)")).high == 0
    assert value_range(body_of("max(d, 3)")).low == 3


def _parts(expr: object) -> list[Apply]:
    if not isinstance(expr, Apply):
        return []
    return [expr, *(part for arg in expr.args for part in _parts(arg))]
