"""No source, however malformed, gives anything but a result or diagnostics."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.spec import load_spec, spec_of_text
from tensorlang.diagnostics import Diagnostic, SpecError, render, to_json
from tensorlang.source import Source
from tensorlang.syntax import ast, errors
from tensorlang.syntax.parse import parse
from tests.mutants import ATOMS, LINES, OPERATORS, changed, programs

HEAD = "layer L(d = 4):\n    input X[n, d]\n"


def told(text: str) -> tuple[Diagnostic, ...]:
    """What a run says of a source: at load, and of each layer bound to its defaults."""
    try:
        spec = spec_of_text(text)
    except SpecError as error:
        return error.diagnostics
    found = check_spec(spec)
    for layer in spec.layers:
        try:
            check_layer(spec, layer, {})
        except SpecError as error:
            found += error.diagnostics
    return found


def endures(text: str) -> tuple[Diagnostic, ...]:
    found = told(text)
    for diagnostic in found:
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(diagnostic.span.source.text)
        assert render(diagnostic)
    assert to_json(found)
    return found


# --- mutated and generated sources: 5,000 in all -------------------------------------------------
PROGRAMS = programs()
_number = st.integers(0, 10**9)
_change = st.tuples(st.integers(0, 7), _number, _number)
_settings = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(_settings, max_examples=3_000)
@given(st.sampled_from(PROGRAMS), st.lists(_change, min_size=1, max_size=4))
def test_mutated_programs(text: str, changes: list[tuple[int, int, int]]) -> None:
    for change in changes:
        text = changed(text, *change)
    endures(text)


def _expressions() -> st.SearchStrategy[str]:
    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pair = st.tuples(inner, st.sampled_from(OPERATORS), inner)
        return st.one_of(
            pair.map(lambda t: f"{t[0]} {t[1].strip()} {t[2]}"),
            st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
            inner.map(lambda e: f"-({e})"),
            st.tuples(st.sampled_from(ATOMS), inner).map(lambda t: f"{t[0]}[{t[1]}]"),
            st.tuples(st.sampled_from(("exp", "relu", "f", "sum[n]", "X[n]", "max[d]")), inner).map(
                lambda t: f"{t[0]}({t[1]})"
            ),
        )

    return st.recursive(st.sampled_from(ATOMS), grow, max_leaves=8)


_lines = st.lists(
    st.one_of(
        st.sampled_from(LINES),
        st.tuples(
            st.sampled_from(("H[n, d]", "H[n]", "H[...]", "E[]", "output Y[n, d]")), _expressions()
        ).map(lambda t: f"{t[0]} = {t[1]}"),
    ),
    min_size=1,
    max_size=6,
)


@settings(_settings, max_examples=1_200)
@given(
    _lines, st.sampled_from(("layer L(d = 4):", "layer L(d):", "layer L(d = 4, k: list = [1]):"))
)
def test_generated_layers(lines: list[str], header: str) -> None:
    body = "".join(f"    {line}\n" for line in ["input X[n, d]", *lines])
    endures(f"def f(x) = x + x\n\n{header}\n{body}    output Z[n, d] = X\n")


@settings(_settings, max_examples=500)
@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text(text: str) -> None:
    assert endures(text)


@settings(_settings, max_examples=300)
@given(content=st.binary(max_size=300))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tl"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value)


# --- size ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("opener", ["(", "[", "f(", "X[", "f[n](", "([", "-(", "(n "])
@pytest.mark.parametrize("is_closed", [False, True])
def test_ten_thousand_brackets(opener: str, is_closed: bool) -> None:
    pairs = {"(": ")", "[": "]"}
    once = "".join(pairs[c] for c in reversed(opener) if c in pairs) if opener[-1] != "(" else ")"
    close = once if opener in ("(", "[", "f(", "X[", "f[n](", "-(", "(n ") else "])"
    text = opener * 10_000 + "X" + (close * 10_000 if is_closed else "")
    found = endures(f"{HEAD}    output Y[n, d] = {text}\n")
    assert [type(d) for d in found] == [errors.TooNested]


@pytest.mark.parametrize("word", ["-", "not ", "x^", "X if n > 0 else ", "X // "])
def test_ten_thousand_operators_that_nest(word: str) -> None:
    found = endures(f"{HEAD}    output Y[n, d] = {word * 10_000}X\n")
    assert [type(d) for d in found] == [errors.TooNested]


def test_a_sum_of_twenty_thousand_terms() -> None:
    text = f"{HEAD}    output Y[n, d] = {' + '.join(['X'] * 20_000)}\n"
    layer = parse(Source("sum.tl", text)).items[0]
    assert isinstance(layer, ast.Layer)
    equation = layer.body[-1]
    assert isinstance(equation, ast.Equation) and isinstance(equation.body, ast.Sum)
    assert len(equation.body.terms) == 20_000
    assert endures(text) == ()


def test_five_megabytes() -> None:
    comment = "# " + "x" * 98 + "\n"
    assert endures(comment * 50_000 + HEAD + "    output Y[n, d] = X\n") == ()
    for text in ('"' * 5_000_000, "x" * 5_000_000, "1" * 5_000_000, "input X[n\n" * 500_000):
        assert 1 <= len(endures(text)) <= 200
    equation = "    T{}[n, d] = X * (2 + n) - exp(X[n, d])\n"
    text = HEAD + "".join(equation.format(k) for k in range(125_000 // 10))
    assert isinstance(parse(Source("long.tl", text)).items[0], ast.Layer)


def test_a_hundred_thousand_mistakes_are_cut_off() -> None:
    rng = random.Random(0)
    noise = "".join(chr(rng.randrange(1, 0x250)) for _ in range(200_000))
    assert 1 <= len(endures(noise)) <= 200


# --- files ---------------------------------------------------------------------------------------
def test_binary_files(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "binary.tl"
    for size in (1, 10, 1_000, 1_000_000):
        path.write_bytes(rng.randbytes(size) + b"\xff")
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        assert [type(d) for d in caught.value.diagnostics] == [errors.NotText]
        assert str(caught.value)


def test_mixed_tabs() -> None:
    found = endures("layer L(d = 4):\n    input X[n, d]\n\toutput Y[n, d] = X\n  \tH[n] = 1\n")
    assert [type(d) for d in found] == [errors.TabIndentation]


def test_a_chain_of_files(tmp_path: Path) -> None:
    for k in range(300):
        (tmp_path / f"f{k}.tl").write_text(
            f'use "f{k + 1}.tl": g{k + 1}\ndef g{k}(x) = g{k + 1}(x)\n'
        )
    (tmp_path / "f300.tl").write_text("def g300(x) = x\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "f0.tl")
    assert {d.code for d in caught.value.diagnostics} == {"E0210"}


def test_a_circle_of_files_and_one_from_outside(tmp_path: Path) -> None:
    (tmp_path / "a.tl").write_text('use "b.tl": f\nuse "../c.tl": h\ndef g(x) = f(x)\n')
    (tmp_path / "b.tl").write_text('use "a.tl": g\ndef f(x) = g(x)\n')
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "a.tl")
    assert sorted(d.code for d in caught.value.diagnostics) == ["E0210", "E0212"]
