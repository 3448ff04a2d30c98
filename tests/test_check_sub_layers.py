"""Sub-layers: how a call binds dims, which form of the callee it gets, several outputs, stacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.program import Program, SubCall
from tensorlang.check.spec import spec_of_text
from tensorlang.diagnostics import SpecError
from tests.program_invariants import check_program
from tests.program_text import axes_text, body_text

LAYERS = """
layer Map(d, o):
    input A[..., n, d]
    param W[o, d] ~ kaiming
    output B[..., n, o] = A * W

layer Pair(d = 4):
    input A[n, d], C[n]
    output B[n, d] = A * C
    output D[n, n'] = C[n] * C[n']

layer Mix(d = 4):
    input A[..., d]
    param W[d, d'] ~ kaiming
    output B[..., d] = W[d, d'] * A[..., d']

layer L(d = 4, o = 3, depth = 2):
"""


def check(*statements: str) -> Program:
    source = LAYERS + "".join(f"    {statement}\n" for statement in statements)
    spec = spec_of_text(source)
    assert check_spec(spec) == ()
    program = check_layer(spec, "L", {})
    check_program(program)
    return program


def code(*statements: str) -> list[str]:
    source = LAYERS + "".join(f"    {statement}\n" for statement in statements)
    with pytest.raises(SpecError) as caught:
        check_layer(spec_of_text(source), "L", {})
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def calls(program: Program) -> Iterator[SubCall]:
    return (statement for statement in program.body if isinstance(statement, SubCall))


def inputs(call: SubCall) -> list[str]:
    return [axes_text(given.axes) for given in call.program.inputs]


def test_a_call_that_is_a_whole_right_side_defines_the_target() -> None:
    program = check("input X[b, n, d]", "sub f = Map(d, o)", "output Y[b, n, o] = f(X)")
    assert body_text(program) == "Y[b, n, o] = f<b_n_d>(X)"
    (call,) = calls(program)
    assert inputs(call) == ["[b, n, d]"]
    assert body_text(call.program) == "B[b, n, o] = sum[d](mul(A[b, n, d], W[o, d]))"
    (sub,) = program.subs
    assert (sub.layer, sub.bind, sub.count) == ("Map", (("d", 4), ("o", 3)), None)
    assert axes_text(sub.program.inputs[0].axes) == "[..., n, d]"
    assert sub.program.signature == ""


def test_binding_another_axis_is_another_form_and_no_transpose() -> None:
    program = check(
        "input X[b, x, y, d]",
        "sub f = Map(d, d)",
        "output Y[b, x, y, d'] = f[n = x, o = d'](X)",
    )
    assert body_text(program) == "Y[b, x, y, d'] = f<b_n_y_d_5_b_n_y_o>(X)"
    (call,) = calls(program)
    assert body_text(call.program) == "B[b, n, y, o] = sum[d](mul(A[b, n, y, d], W[o, d]))"


def test_arguments_and_results_become_tensors() -> None:
    program = check("input X[n, d]", "sub f = Map(d, o)", "output Y[n, o] = 1 + f(2 * X)")
    assert body_text(program).splitlines() == [
        "f_in[n, d] = mul(2, X[n, d])",
        "f_out[n, o] = f<n_d>(f_in)",
        "Y[n, o] = add(1, f_out[n, o])",
    ]


def test_sums_inside_an_argument_and_around_a_call() -> None:
    program = check(
        "input X[n, d], V[d, d'], Z[b, n, d]",
        "sub f = Map(d, o)",
        "output Y[n, o] = f(X[n, d'] * V[d, d'])",
        "output U[n, o] = f(Z) * Z[b, n, 0]",
    )
    assert body_text(program).splitlines() == [
        "f_in[n, d] = sum[d'](mul(X[n, d'], V[d, d']))",
        "Y[n, o] = f<n_d>(f_in)",
        "f_out[b, n, o] = f<b_n_d>(Z)",
        "U[n, o] = sum[b](mul(f_out[b, n, o], Z[b, n, inside(0)]))",
    ]


def test_the_flattened_batch_goes_on_as_it_is() -> None:
    program = check(
        "input X[..., n, d], Z[..., x, n, d]",
        "sub f = Map(d, o)",
        "output Y[..., n, o] = f(X)",
        "output U[..., x, n, o] = f(Z)",
    )
    assert [call.program.signature for call in calls(program)] == ["", "_8_x_n_d"]


def test_a_batch_index_that_the_callee_has_too_is_renamed_inside() -> None:
    program = check("input X[n, m, d]", "sub f = Map(d, o)", "output Y[n, m, o] = f[n = m](X)")
    (call,) = calls(program)
    assert inputs(call) == ["[n_1, n, d]"]
    assert call.program.signature == "n_01_n_d"


def test_several_outputs() -> None:
    program = check(
        "input X[m, d], Z[m]", "sub f = Pair(d)", "output U[m, d], V[m, m'] = f[n = m](X, Z)"
    )
    assert body_text(program) == "U[m, d], V[m, m'] = f(X, Z)"


def test_outputs_in_another_order_are_another_form() -> None:
    program = check("input X[n, d], Z[n]", "sub f = Pair(d)", "output U[d, n], V[n', n] = f(X, Z)")
    (call,) = calls(program)
    assert call.program.signature == "n_d_4_n_5_d_n_4_n_1_n"
    assert [axes_text(output.axes) for output in call.outputs] == ["[d, n]", "[n', n]"]


def test_an_output_brings_a_dim_that_the_caller_lacks() -> None:
    program = check("input X[n, d]", "sub f = Map(d, 7)", "output Y[n, q] = f[o = q](X)")
    assert {dim.name: dim.size for dim in program.dims}["q"] == 7


def test_a_stack_threads_tensors_of_one_order() -> None:
    program = check("input X[d, n]", "sub f[depth] = Mix(d)", "output Y[n, d] = f(X)")
    assert body_text(program).splitlines() == ["f_out[d, n] = f<d_n>(X)", "Y[n, d] = f_out[d, n]"]
    assert program.subs[0].count == 2


def test_layers_in_any_order_and_shared_programs() -> None:
    program = check(
        "input X[n, d]",
        "sub f = Mix(d)",
        "sub g = Mix(d)",
        "H[n, d] = f(X)",
        "output Y[n, d] = g(H)",
    )
    first, second = calls(program)
    assert first.program is second.program


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (("input X[n, d]", "output Y[n, d] = f(X)", "sub f = Mix(d)"), "E0206"),
        (("input X[n, d]", "sub f = Pair(d)", "output Y[n, d] = f(X, X)"), "E0703"),
        (("input X[n, d]", "sub f = Map(d, o)", "output Y[n, d] = f[n = d](X)"), "E0703"),
        (("input X[m, d]", "sub f = Map(d, o)", "output Y[m, o] = f(X)"), "E0703"),
        (("input X[n, o]", "sub f = Map(d, o)", "output Y[n, o] = f[d = o](X)"), "E0704"),
        (("input X[n, d]: complex", "sub f = Mix(d)", "output Y[n, d] = f(X)"), "E0703"),
        (("input X[n, o, d]", "sub f = Map(d, o)", "output Y[n, o] = f(X)"), "E0703"),
    ],
)
def test_refused(statements: tuple[str, ...], expected: str) -> None:
    source = LAYERS + "".join(f"    {statement}\n" for statement in statements)
    with pytest.raises(SpecError) as caught:
        check_layer(spec_of_text(source), "L", {})
    assert expected in [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_a_mistake_in_a_callee_is_told_once_and_where_it_is() -> None:
    source = "layer K(d = 4):\n    input A[n, d]\n    output B[n, d] = A + Z\n" + LAYERS
    source += (
        "    input X[n, d]\n    sub f = K(d)\n    sub g = K(d)\n    output Y[n, d] = f(X) + g(X)\n"
    )
    with pytest.raises(SpecError) as caught:
        check_layer(spec_of_text(source), "L", {})
    (found,) = caught.value.diagnostics
    assert (found.code, found.span.line) == ("E0201", 3)
