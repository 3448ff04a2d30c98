"""The checked program of small sources: reads, operators, defs, consts, scatter, sizes."""

from __future__ import annotations

import pytest

from benchmarks.long_layer import long_layer
from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.program import Dtype, Program, Value
from tensorlang.check.spec import load_spec, spec_of_text
from tensorlang.diagnostics import Diagnostic, SpecError
from tests.example_cases import EXAMPLES
from tests.program_invariants import check_program
from tests.program_text import axes_text, body_text


def layer(*statements: str, head: str = "layer L(d = 4):", before: str = "") -> str:
    return "\n".join([*before.splitlines(), head, *(f"    {s}" for s in statements), ""])


def check(source: str, bind: dict[str, Value] | None = None) -> Program:
    spec = spec_of_text(source)
    assert not [d for d in check_spec(spec) if d.severity == "error"], check_spec(spec)
    program = check_layer(spec, list(spec.layers)[-1], bind or {})
    check_program(program)
    return program


def body(*statements: str, before: str = "") -> list[str]:
    return body_text(check(layer(*statements, before=before))).splitlines()


def codes(source: str, bind: dict[str, Value] | None = None) -> list[str]:
    spec = spec_of_text(source)
    with pytest.raises(SpecError) as caught:
        check_layer(spec, list(spec.layers)[-1], bind or {})
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.tl")), ids=lambda path: path.stem)
def test_every_example_keeps_what_the_checker_guarantees(path) -> None:  # type: ignore[no-untyped-def]
    spec = load_spec(path)
    assert check_spec(spec) == ()
    for name in spec.layers:
        check_program(check_layer(spec, name, {}))


# --- reads ---------------------------------------------------------------------------------------
def test_a_bare_tensor_is_read_at_its_own_indices() -> None:
    assert body("input X[n, d]", "output Y[n, d] = X") == ["Y[n, d] = X[n, d]"]


def test_the_diagonal() -> None:
    assert body("input X[n, n']", "output Y[n] = X[n, n]") == ["Y[n] = X[n, n]"]


def test_shifts_are_inside_or_have_their_boundary() -> None:
    found = body(
        "dim w = 3",
        "input X[x]",
        "dim xo = x - w + 1",
        "output A[xo, w] = X[xo + w]",
        "output B[x] = X[x - 1 else 0]",
        "output C[x] = X[wrap(x + 1)] + X[clamp(2 * x)] - X[reflect(x - 1)]",
        "output D[x] = X[|x| - 1 - x]",
    )
    assert found == [
        "A[xo, w] = X[inside(1*xo + 1*w + 0)]",
        "B[x] = X[else(1*x + -1) else 0.0]",
        "C[x] = add(X[wrap(1*x + 1)], X[clamp(2*x + 0)], neg(X[reflect(1*x + -1)]))",
        "D[x] = X[inside(-1*x + x - 1)]",
    ]


def test_what_only_a_condition_proves_reads_as_zero_elsewhere() -> None:
    found = body(
        "input X[n]",
        "output Y[n] = X[n - 1] if n >= 1 else 7",
        "output Z[n] = sum[n' where n' <= n](X[n - n'])",
    )
    assert found == [
        "Y[n] = where(ge(n, 1), X[else(1*n + -1) else 0.0], 7)",
        "Z[n] = sum[n' where le(n', n)](X[else(1*n + -1*n' + 0) else 0.0])",
    ]


def test_a_condition_on_an_outer_index_says_nothing_of_an_inner_one() -> None:
    source = layer("input X[d]", "output Y[] = sum[d where d > 0](X[d] * max[d](X[d - 1]))")
    assert codes(source) == ["E0501"]


def test_gathers_are_checked_and_offsets_of_consts_are_proved() -> None:
    found = body(
        "const back[w] = [0, 1]",
        "input X[n, d], pick[k]: int",
        "output Y[k, d] = X[pick[k], d]",
        "output Z[n, w] = X[n, back[w]]",
    )
    assert found == [
        "Y[k, d] = X[checked(pick[k]), d]",
        "Z[n, w] = X[n, inside(back[w])]",
    ]


def test_groups_split_and_merge_and_find_one_unknown_factor() -> None:
    program = check(
        layer("dim h = 2", "input P[n, d]", "Q[h, n, c] = P[n, (h c)]", "output Y[n, (h c)] = Q")
    )
    assert body_text(program).splitlines() == [
        "Q[h, n, c] = P[n, (h c)]",
        "Y[n, (h c)] = Q[h, n, c]",
    ]
    assert {dim.name: dim.size for dim in program.dims}["c"] == 2


def test_at_moves_a_read_and_hoists_anything_else() -> None:
    found = body(
        "input X[x, d], p[q]: int",
        "output Y[q, d] = at[x = clamp(p[q])](X)",
        "output Z[q] = at[x = p[q]](X * X[x, d])",
    )
    assert found == [
        "Y[q, d] = X[clamp(p[q]), d]",
        "at_1[x] = sum[d](mul(X[x, d], X[x, d]))",
        "Z[q] = at_1[checked(p[q])]",
    ]


def test_an_else_value_is_of_the_tensors_kind() -> None:
    assert body("input X[n]: int", "output Y[n] = X[n - 1 else -1]") == [
        "Y[n] = X[else(1*n + -1) else -1]"
    ]
    assert codes(layer("input X[n]: int", "output Y[n] = X[n - 1 else 0.5]")) == ["E0504"]


# --- names and values ----------------------------------------------------------------------------
def test_a_bare_index_is_its_value_though_a_hyperparameter_has_its_name() -> None:
    source = layer("input X[n, d]", "output Y[n, d] = X * d + k", head="layer L(d = 4, k = 3):")
    assert body_text(check(source)) == "Y[n, d] = add(mul(X[n, d], d), 3)"


def test_conditions_on_hyperparameters_are_decided() -> None:
    statements = ("input X[n]", "output Y[n] = sum[n' where not causal or n' <= n](X[n'])")
    source = layer(*statements, head="layer L(causal = false):")
    assert body_text(check(source)) == "Y[n] = sum[n'](X[n'])"
    assert body_text(check(source, {"causal": True})) == "Y[n] = sum[n' where le(n', n)](X[n'])"


def test_powers() -> None:
    found = body("input X[n]", "output Y[n] = X^2 + X^-1 + 2^-1 + 2^3 + X^0.5")
    assert found == ["Y[n] = add(pow(X[n], 2), pow(X[n], -1), pow(2, -1.0), 8, pow(X[n], 0.5))"]


def test_kinds_of_number() -> None:
    program = check(
        layer(
            "input X[n], I[n]: int, B[n]: bool, Z[n]: complex",
            "output A[n] = I / 2",
            "output C[n] = I + B",
            "output D[n] = X * Z",
            "output E[n] = X > 0 and B",
            "output F[] = sum[n](B)",
            "output G[] = mean[n](I)",
        )
    )
    kinds = {s.name: s.dtype for s in program.body if hasattr(s, "name")}
    real, whole = Dtype.REAL, Dtype.INT
    expected = [real, whole, Dtype.COMPLEX, Dtype.BOOL, whole, real]
    assert list(kinds.values()) == expected


def test_hyperparameters_take_their_type_from_the_default() -> None:
    source = layer("input X[n]", "output Y[n] = X * s", head="layer L(s = 1.0):")
    assert check(source, {"s": 2}).hypers == (("s", 2.0),)
    assert codes(source, {"s": True}) == ["E0803"]
    assert codes(source, {"r": 1}) == ["E0801"]


def test_a_layer_without_a_value_is_checked_for_all_values() -> None:
    source = layer("input X[n, d]", "output Y[n] = X[n, 0]", head="layer L(d):")
    spec = spec_of_text(source)
    assert check_spec(spec) == ()
    assert codes(source) == ["E0802"]
    assert check_layer(spec, "L", {"d": 3}).dims[-1].size == 3


# --- operators -----------------------------------------------------------------------------------
def test_reductions_rename_what_is_bound_twice() -> None:
    found = body("input X[n, d]", "output Y[n, d] = X / sum[d](X) + max[d](X)")
    assert found == ["Y[n, d] = add(div(X[n, d], sum[d#1](X[n, d#1])), max[d#2](X[n, d#2]))"]


def test_count_and_argmax() -> None:
    found = body(
        "input X[n, d]", "output C[n] = count[d where X > 0]", "output A[n] = argmax[d](X)"
    )
    assert found == ["C[n] = count[d where gt(X[n, d], 0)](true)", "A[n] = argmax[d](X[n, d])"]


def test_batch_indices_are_summed_as_one() -> None:
    found = body("input X[..., d]", "output Y[] = sum[...](mean[d](X))", "output Z[] = X * X")
    assert found == [
        "Y[] = sum[...](mean[d](X[..., d]))",
        "Z[] = sum[..., d](mul(X[..., d], X[..., d]))",
    ]


def test_transforms() -> None:
    found = body(
        "dim k = 3, f = 2 * d",
        "input X[n, x], A[m, m'], D[n, d]",
        "output F[n, k] = real(rfft[x -> k](X))",
        'output G[n, x] = irfft[k -> x](rfft[x -> k](X, norm = "forward"), norm = "forward")',
        "output I[m, m'] = inv[m, m'](A)",
        "output S[m'] = solve[m, m'](A, A[m, 0 else 0])",
        "output C[n, f] = concat[d, d -> f](D, 2 * D)",
    )
    assert found == [
        "F[n, k] = real(rfft[x -> k](X[n, x]))",
        "G[n, x] = irfft[k -> x](rfft[x#1 -> k](X[n, x#1]))",
        "I[m, m'] = inv[m#1, m'#1 -> m, m'](A[m#1, m'#1])",
        "S[m'] = solve[m, m'#1 -> m'](A[m, m'#1], A[m, else(0) else 0.0])",
        "C[n, f] = concat[d, d#1 -> f](D[n, d], mul(2, D[n, d#1]))",
    ]


def test_a_sum_over_an_absent_index_warns() -> None:
    spec = spec_of_text(layer("input X[n]", "output Y[n] = sum[d](X)"))
    warnings: list[Diagnostic] = []
    assert body_text(check_layer(spec, "L", {}, warnings)) == "Y[n] = sum[d](X[n])"
    assert [warning.code for warning in warnings] == ["W0412"]


def test_dropout_sites_differ() -> None:
    program = check(layer("input X[n]", "output Y[n] = dropout(X, 0.1) + dropout(X, p = 0.1)"))
    (equation,) = program.body
    first, second = equation.body.args  # type: ignore[union-attr]
    assert first.site != second.site


# --- defs ----------------------------------------------------------------------------------------
def test_a_def_is_substituted_and_its_defaults_too() -> None:
    before = "def norm2[d](x, eps = 1e-6) = x * rsqrt(mean[d](x^2) + eps)"
    found = body("input X[n, d]", "output Y[n, d] = norm2[d](X)", before=before)
    assert found == ["Y[n, d] = mul(X[n, d], rsqrt(add(mean[d#1](pow(X[n, d#1], 2)), 1e-06)))"]


def test_a_def_does_not_capture_the_primes_of_its_caller() -> None:
    before = "def pool[n](x) = sum[n'](at[n = n'](x))"
    found = body("input X[n, n']", "output Y[n'] = pool[n](X)", before=before)
    assert found == ["Y[n'] = sum[n'#1](X[n'#1, n'])"]


def test_conditions_in_a_def_hold_in_its_arguments() -> None:
    before = "def guarded[n](x) = x if n > 0 else 0"
    found = body("input X[n]", "output Y[n] = guarded[n](X[n - 1])", before=before)
    assert found == ["Y[n] = where(gt(n, 0), X[else(1*n + -1) else 0.0], 0)"]


def test_defs_that_grow_without_bound_are_refused() -> None:
    defs = ["def f0(x) = x + x"] + [f"def f{k}(x) = f{k - 1}(f{k - 1}(x))" for k in range(1, 9)]
    source = layer("input X[n]", "output Y[n] = f8(X)", before="\n".join(defs))
    assert codes(source) == ["E0222"]


# --- params and consts ---------------------------------------------------------------------------
def test_fan_in_is_what_the_first_use_sums() -> None:
    program = check(
        layer(
            "dim o = 3, h = 2, c = 2",
            "input X[n, d]",
            "param W[o, d], V[h, c, d], G[d], U[d] ~ kaiming",
            "H[n, o] = X * W + G[0]",
            "output Y[n, h, c] = sum[d](X * G * V) + H[n, 0]",
        )
    )
    assert {param.name: param.fan_in for param in program.params} == {
        "W": 4,
        "V": 4,
        "G": 1,
        "U": 1,
    }


def test_consts_from_lists_and_expressions() -> None:
    program = check(
        layer(
            "const A[w, v] = [[1, 2, 3], [4, 5.5, 6]]",
            "const B[w, w'] = 1 if w == w' else 0",
            "const C[w] = B[w, w'] * A[w', 0]",
            "input X[n]",
            "output Y[n, w] = X * C",
        )
    )
    a, b, c = program.consts
    assert (a.dtype, b.dtype, c.dtype) == (Dtype.REAL, Dtype.INT, Dtype.REAL)
    assert [axes_text(const.axes) for const in program.consts] == ["[w, v]", "[w, w']", "[w]"]
    assert {dim.name: dim.size for dim in program.dims} == {
        "w": 2,
        "v": 3,
        "n": program.dims[-1].size,
    }


# --- scatter -------------------------------------------------------------------------------------
def test_contributions_gather_at_the_last() -> None:
    found = body(
        "input X[n, d], dst[e]: int, W[e, f, d], Z[e, f]",
        "S[n = dst[e], d] += W[e, f, d] * Z[e, f]",
        "T[n] = X[n, 0]",
        "S[n = n' + 1 else drop, d] += X[n', d]",
        "S[n, d] += X",
        "output Y[n, d] = S + T",
    )
    assert found == [
        "T[n] = X[n, inside(0)]",
        "S[n, d] at [checked(dst[e]), d] landing [e] sum sum[f](mul(W[e, f, d], Z[e, f]))",
        "S[n, d] at [else(1*n' + 1), d] landing [n'] sum X[n', d]",
        "S[n, d] at [n, d] landing [] sum X[n, d]",
        "Y[n, d] = add(S[n, d], T[n])",
    ]


def test_each_contribution_binds_its_own_indices() -> None:
    found = body(
        "input M[e, n], dst[e]: int",
        "output S[n = dst[e]] max= M[e, 0 else 0]",
        "output S[n = dst[e]] max= 1",
    )
    assert found == [
        "S[n] at [checked(dst[e])] landing [e] max M[e, else(0) else 0.0]",
        "S[n] at [checked(dst[e#1])] landing [e#1] max 1.0",
    ]


# --- sizes ---------------------------------------------------------------------------------------
def test_dims_are_found_in_any_order() -> None:
    program = check(layer("dim a = b + 1", "dim b = 2 * d", "input X[a]", "output Y[a] = X"))
    assert {dim.name: dim.size for dim in program.dims} == {"b": 8, "a": 9}


def test_dynamic_dims_come_in_the_order_of_the_inputs() -> None:
    program = check(
        layer("input X[t, d, b], Z[s, t]", "output Y[b, s] = X[t, d, b] * Z[s, t] * X[t, d, b]")
    )
    assert [dim.name for dim in program.dynamic] == ["t", "b", "s"]


# --- growth --------------------------------------------------------------------------------------
def test_long_sums_and_long_layers() -> None:
    terms = " + ".join(["X[n, d] * Z[n, d]"] * 5000)
    program = check(layer("input X[n, d], Z[n, d]", f"output Y[n] = {terms}"))
    assert len(program.body[0].body.args) == 5000  # type: ignore[union-attr]
    assert len(check(long_layer(600)).body) == 601


def test_deep_expressions() -> None:
    nested = "exp(" * 90 + "X" + ")" * 90
    assert body("input X[n]", f"output Y[n] = {nested}")[0].count("exp") == 90


def test_a_read_that_depends_on_an_unbound_hyperparameter_warns_until_it_is_bound() -> None:
    source = layer("input X[n, d]", "output Y[n] = X[n, 3]", head="layer L(d):")
    assert [found.code for found in check_spec(spec_of_text(source))] == ["W0507"]
    assert codes(source, {"d": 3}) == ["E0501"]
    assert body_text(check_layer(spec_of_text(source), "L", {"d": 4})) == "Y[n] = X[n, inside(3)]"


def test_indices_over_indices_are_sizes_too() -> None:
    program = check(
        layer(
            "input X[n, d]",
            "index a in d",
            "index b in a",
            "dim c = b + |a'|",
            "output Y[n, c] = X[n, 0] * c",
        )
    )
    assert {dim.name: dim.size for dim in program.dims}["c"] == 8
    assert codes(layer("input X[n, d]", "index a in b", "index b in a", "output Y[n, d] = X")) == [
        "E0304",
        "E0304",
    ]


def test_dims_may_form_a_long_chain() -> None:
    dims = ", ".join(f"c{k} = c{k + 1} + 1" for k in range(2000)) + ", c2000 = d"
    program = check(layer(f"dim {dims}", "input X[c0]", "output Y[c0] = X"))
    assert program.inputs[0].axes[0].size == 2004
