"""Where implicit sums go: the rules of SPEC.md, section 6, one by one."""

from __future__ import annotations

import pytest

from tensorlang.check.check import check_layer
from tensorlang.check.spec import spec_of_text
from tensorlang.diagnostics import SpecError
from tests.program_invariants import check_program
from tests.program_text import body_text

SOURCE = """
def double(x) = 2 * x
def total[j](x) = sum[j](x)

layer L(j = 4):
    input A[i, j], B[j], C[i], D[j], W[i, j], m[j]: bool
    output Y[i] = {}
"""

PLACED = {
    # a product with two or more factors that have j is summed there
    "A[i, j] * B[j]": "sum[j](mul(A[i, j], B[j]))",
    "A * B": "sum[j](mul(A[i, j], B[j]))",
    "A[i, j] * B[j] * D[j] * C[i]": "sum[j](mul(A[i, j], B[j], D[j], C[i]))",
    # parentheses around a product do not matter
    "A[i, j] * (C[i] * B[j])": "sum[j](mul(A[i, j], C[i], B[j]))",
    "(A[i, j] * B[j]) * D[j]": "sum[j](mul(A[i, j], B[j], D[j]))",
    # a divisor is a factor; one without j stays outside
    "A[i, j] / B[j]": "sum[j](div(A[i, j], B[j]))",
    "A[i, j] * B[j] / C[i]": "div(sum[j](mul(A[i, j], B[j])), C[i])",
    "A[i, j] / (B[j] * C[i])": "div(sum[j](div(A[i, j], B[j])), C[i])",
    "C[i] / (B[j] / A[i, j])": "sum[j](div(mul(C[i], A[i, j]), B[j]))",
    # unary minus is transparent
    "-(A[i, j] * B[j])": "neg(sum[j](mul(A[i, j], B[j])))",
    "-A[i, j] * B[j]": "neg(sum[j](mul(A[i, j], B[j])))",
    "A[i, j] * (-(B[j] * D[j]))": "neg(sum[j](mul(A[i, j], B[j], D[j])))",
    # a bare index counts
    "A[i, j] * j": "sum[j](mul(A[i, j], j))",
    # a sum places j in each term that has it
    "A[i, j] * B[j] + C[i] - W[i, j] * D[j]": (
        "add(sum[j](mul(A[i, j], B[j])), C[i], neg(sum[j#1](mul(W[i, j#1], D[j#1]))))"
    ),
    "(A[i, j] + 0.5 * W[i, j]) * B[j]": "sum[j](mul(add(A[i, j], mul(0.5, W[i, j])), B[j]))",
    "C[i] * (A[i, j] * B[j] + C[i])": "mul(C[i], add(sum[j](mul(A[i, j], B[j])), C[i]))",
    # a product with one factor, and a function with one argument, hand j down
    "C[i] * exp(A[i, j] * B[j])": "mul(C[i], exp(sum[j](mul(A[i, j], B[j]))))",
    "gelu(A[i, j] * B[j] + C[i])": "gelu(add(sum[j](mul(A[i, j], B[j])), C[i]))",
    "max(A[i, j] * B[j], C[i])": "max(sum[j](mul(A[i, j], B[j])), C[i])",
    "(A[i, j] * B[j])^2": "pow(sum[j](mul(A[i, j], B[j])), 2)",
    "C[i] if A[i, j] * B[j] > 0 else 0": "where(gt(sum[j](mul(A[i, j], B[j])), 0), C[i], 0)",
    "mean[i'](A[i', j] * W[i, j])": "mean[i'](sum[j](mul(A[i', j], W[i, j])))",
    "softmax[i](A[i, j] * B[j])": "softmax[i](sum[j](mul(A[i, j], B[j])))",
    # an operator that keeps j is a factor that has it
    "softmax[j](A[i, j]) * B[j]": "sum[j](mul(softmax[j](A[i, j]), B[j]))",
    # a function is one factor, whatever it holds
    "exp(A[i, j]) * B[j]": "sum[j](mul(exp(A[i, j]), B[j]))",
    "max(A[i, j] * B[j], D[j]) * D[j]": "sum[j](mul(max(mul(A[i, j], B[j]), D[j]), D[j]))",
    # a def is opaque: j is summed outside, or named by the def
    "double(A[i, j] * B[j]) * D[j]": "sum[j](mul(mul(2, A[i, j], B[j]), D[j]))",
    "total[j](A[i, j] * B[j])": "sum[j](mul(A[i, j], B[j]))",
    # explicit sums of the same index are their own
    "A[i, j] * B[j] * sum[j](D[j])": "sum[j](mul(A[i, j], B[j], sum[j#1](D[j#1])))",
    # booleans count as 0 and 1
    "m[j] * (A[i, j] > 0)": "sum[j](mul(m[j], gt(A[i, j], 0)))",
}

REFUSED = {
    "A[i, j]": "E0203",
    "A[i, j] * C[i]": "E0203",
    "A[i, j] * B[j] + A[i, j]": "E0203",
    "exp(A[i, j])": "E0203",
    "C[i] + j": "E0203",
    "C[i] / B[j]": "E0203",
    "-A[i, j]": "E0203",
    "softmax[j](A[i, j])": "E0203",
    "C[i] * softmax[j](A[i, j] * B[j])": "E0203",
    "double(A[i, j] * B[j])": "E0203",
    "max(A[i, j], B[j])": "E0408",
    "C[i] if A[i, j] > B[j] else 0": "E0408",
    "sum[i' where A[i', j] > 0](W[i', j]) * C[i]": "E0408",
    "exp(A[i, j] * B[j]) * D[j]": "E0407",
    "(A[i, j] * B[j] + C[i]) * D[j]": "E0407",
    "A[i, j] / exp(B[j] * D[j])": "E0407",
}


@pytest.mark.parametrize("right", PLACED)
def test_placed(right: str) -> None:
    program = check_layer(spec_of_text(SOURCE.format(right)), "L", {})
    check_program(program)
    assert body_text(program) == f"Y[i] = {PLACED[right]}"


@pytest.mark.parametrize("right", REFUSED)
def test_refused(right: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_layer(spec_of_text(SOURCE.format(right)), "L", {})
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == {REFUSED[right]}


def test_the_help_is_the_equation_with_the_sum_written_out() -> None:
    with pytest.raises(SpecError) as caught:
        check_layer(spec_of_text(SOURCE.format("C[i] * A[i, j] + C[i]")), "L", {})
    (found,) = caught.value.diagnostics
    help_ = "to sum over it, write  Y[i] = sum[j](C[i] * A[i, j]) + C[i]"
    assert found.help() == help_
    assert found.span.text == "j"
