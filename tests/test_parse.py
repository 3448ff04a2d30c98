"""The parser: precedence, statements, slots, spans, names, and how it goes on after errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
from lark import Lark
from lark.indenter import Indenter

from benchmarks.long_layer import long_layer
from tensorlang.diagnostics import SpecError
from tensorlang.source import Source
from tensorlang.syntax import ast, errors
from tensorlang.syntax.parse import grammar, parse
from tensorlang.syntax.tokens import KEYWORDS, PUNCTUATION
from tests.example_cases import EXAMPLES
from tests.syntax_trees import bare


def file(text: str) -> ast.File:
    return parse(Source("test.tl", text))


def statement(line: str) -> ast.Statement:
    layer = file(f"layer L():\n    {line}\n").items[0]
    assert isinstance(layer, ast.Layer)
    return layer.body[0]


def expr(text: str) -> ast.Expr:
    definition = file(f"def f() = {text}\n").items[0]
    assert isinstance(definition, ast.Def)
    return definition.body


def mistakes(text: str) -> list[tuple[str, int, int]]:
    """Class, line and column of each diagnostic."""
    with pytest.raises(SpecError) as caught:
        file(text)
    return [(type(d).__name__, d.span.line, d.span.column) for d in caught.value.diagnostics]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.tl")), ids=lambda path: path.stem)
def test_examples_parse(path: object) -> None:
    assert file(path.read_text()).items  # type: ignore[attr-defined]


# --- expressions ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("-x^2", "-(x^2)"),
        ("2^-1", "2^(-1)"),
        ("2^3^x", "2^(3^x)"),
        ("-x * y", "(-x) * y"),
        ("a * -b", "a * (-b)"),
        ("a + b * c", "a + (b * c)"),
        ("a - b - c < d + e", "(a - b - c) < (d + e)"),
        ("not a < b and c or d", "((not (a < b)) and c) or d"),
        ("not not a", "not (not a)"),
        ("a if b or c else d", "a if (b or c) else d"),
        ("a if b else c if d else e", "a if b else (c if d else e)"),
        ("a // b % c", "(a // b) % c"),
        ("a * b // c * d", "((a * b) // c) * d"),
        ("a / b // c / d / e", "((a / b) // c) / d / e"),
        ("((a))", "a"),
        ("-f[y](x)", "-(f[y](x))"),
        ("a == b != c <= d", "a == b != c <= d"),
    ],
)
def test_precedence(text: str, meaning: str) -> None:
    assert bare(expr(text)) == bare(expr(meaning))


def test_sums_products_and_chains_are_wide() -> None:
    match expr("a - b + c"):
        case ast.Sum(terms=(ast.Term(False), ast.Term(True), ast.Term(False))):
            pass
        case other:
            raise AssertionError(other)
    match expr("a / b * c"):
        case ast.Product(factors=(ast.Factor(False), ast.Factor(True), ast.Factor(False))):
            pass
        case other:
            raise AssertionError(other)
    match expr("a < b <= c"):
        case ast.Compare(operators=(ast.Comparison.LT, ast.Comparison.LE), operands=operands):
            assert len(operands) == 3
        case other:
            raise AssertionError(other)
    match expr("(a + b) + c"):
        case ast.Sum(terms=(ast.Term(expr=ast.Sum()), _)):
            pass
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("42", 42), ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("1e-6", 1e-6), ("2E3", 2000.0)],
)
def test_numbers(text: str, value: float) -> None:
    match expr(text):
        case ast.Number(value=found, text=written):
            assert found == value and type(found) is type(value) and written == text
        case other:
            raise AssertionError(other)


def test_names_are_normalised() -> None:
    for text, name in (("ﬁ", "fi"), ("𝛼", "α"), ("µ", "μ"), ("Ａ'", "A'"), ("λ_1''", "λ_1''")):
        match expr(text):
            case ast.Name(id=found):
                assert found == name
            case other:
                raise AssertionError(other)


def test_calls() -> None:
    match expr("X"):
        case ast.Name(id="X"):
            pass
        case other:
            raise AssertionError(other)
    match expr("X[]"):
        case ast.Call(slots=(), args=None, where=None):
            pass
        case other:
            raise AssertionError(other)
    match expr("f()"):
        case ast.Call(slots=None, args=(), where=None):
            pass
        case other:
            raise AssertionError(other)
    match expr("sum[j, where c](x, eps = 2,)"):
        case ast.Call(slots=(ast.ExprSlot(),), args=(ast.Argument(None), ast.Argument("eps"))):
            pass
        case other:
            raise AssertionError(other)


def test_slots() -> None:
    call = expr("f[i, 2*x + 1 else 0, ..., (h c), n = y, (a b) = c, a, b -> k where i < 3](x)")
    assert isinstance(call, ast.Call) and call.slots is not None and call.args is not None
    kinds = [type(slot).__name__ for slot in call.slots]
    assert kinds == [
        *("ExprSlot", "ExprSlot", "EllipsisSlot", "GroupSlot", "BindSlot", "BindSlot"),
        *("ExprSlot", "ArrowSlot"),
    ]
    assert isinstance(call.where, ast.Compare)
    match call.slots[1]:
        case ast.ExprSlot(expr=ast.Sum(), otherwise=ast.Number(value=0)):
            pass
        case other:
            raise AssertionError(other)


# --- statements ----------------------------------------------------------------------------------
def test_statements() -> None:
    match statement("input X[b, (n m)], idx[b, n]: int, s"):
        case ast.InputDecl(tensors=(x, idx, s)):
            assert idx.dtype is not None and idx.dtype.id == "int"
            assert x.slots is not None and len(x.slots) == 2 and s.slots is None
        case other:
            raise AssertionError(other)
    match statement('frozen param W[o, i: irreps("1o")], V ~ normal(std = 1) as cp(rank = 2)'):
        case ast.ParamDecl(
            frozen=True, initialiser=ast.Call("normal"), factorisation=ast.Call("cp")
        ):
            pass
        case other:
            raise AssertionError(other)
    match statement("param W[o]"):
        case ast.ParamDecl(frozen=False, initialiser=None, factorisation=None):
            pass
        case other:
            raise AssertionError(other)
    match statement("const C[p, i] = 1 if p == i else 0 as sparse"):
        case ast.ConstDecl(value=ast.IfElse(), form=ast.Name(id="sparse")):
            pass
        case other:
            raise AssertionError(other)
    match statement("dim h = heads, c = d / heads"):
        case ast.DimDecl(dims=(ast.DimBinding("h"), ast.DimBinding("c", value=ast.Product()))):
            pass
        case other:
            raise AssertionError(other)
    match statement("index q, k in n"):
        case ast.IndexDecl(names=(ast.Name("q"), ast.Name("k")), dim=ast.Name("n")):
            pass
        case other:
            raise AssertionError(other)
    match statement("sub f[2 * k] = Layer(d, heads = 2)"):
        case ast.SubDecl("f", count=ast.Product(), layer=ast.Name("Layer"), args=(_, _)):
            pass
        case other:
            raise AssertionError(other)
    match statement("check causal[t] when c > 0"):
        case ast.CheckDecl(property=ast.Call("causal"), condition=ast.Compare()):
            pass
        case other:
            raise AssertionError(other)


def test_equations() -> None:
    match statement("T[i] = x as taylor(degree = 4)"):
        case ast.Equation(targets=(_,), scatter=None, form=ast.Call("taylor"), is_output=False):
            pass
        case other:
            raise AssertionError(other)
    match statement("output Y[n], Z = f(X)"):
        case ast.Equation(targets=(_, ast.Declared("Z", slots=None)), is_output=True):
            pass
        case other:
            raise AssertionError(other)
    for sign, kind in (("+=", "SUM"), ("max=", "MAX"), ("min=", "MIN")):
        match statement(f"T[n = dst[e], u] {sign} E[e]"):
            case ast.Equation(scatter=found):
                assert found is ast.ScatterKind[kind]
            case other:
                raise AssertionError(other)


def test_files() -> None:
    text = 'use std: a, b\nuse "lib/x.tl": C\ndef f[i, j](x, eps = 1e-6) = x\n'
    use, path, definition = file(text).items
    assert isinstance(use, ast.Use) and (use.module, use.is_path) == ("std", False)
    assert isinstance(path, ast.Use) and (path.module, path.is_path) == ("lib/x.tl", True)
    assert isinstance(definition, ast.Def)
    assert [name.id for name in definition.indices] == ["i", "j"]
    assert [p.name for p in definition.parameters] == ["x", "eps"]
    layer = file('layer L(d, e: int, q: list = [1, [2]]):\n  """A\n     b."""\n  input X\n').items[
        0
    ]
    assert isinstance(layer, ast.Layer)
    assert layer.docstring == "A\nb."
    assert [hyper.name for hyper in layer.hypers] == ["d", "e", "q"]


def test_spans_cover_what_was_written() -> None:
    text = "f[n = y](X[i] * (a + b)) + |c|"
    match expr(text):
        case ast.Sum(terms=(ast.Term(expr=ast.Call() as call), _)) as whole:
            assert whole.span.text == text
            assert call.span.text == "f[n = y](X[i] * (a + b))" and call.name_span.text == "f"
            assert call.slots is not None and call.slots[0].span.text == "n = y"
            assert call.args is not None and call.args[0].span.text == "X[i] * (a + b)"
            match call.args[0].expr:
                case ast.Product(factors=(_, ast.Factor(expr=inner))):
                    assert inner.span.text == "(a + b)"
                case other:
                    raise AssertionError(other)
        case other:
            raise AssertionError(other)


def test_layout() -> None:
    one = file("layer L():\n  input X[\nn\n,\n      d]\n\n# c\n  # d\n  output Y = (X\n+ 1)\n")
    two = file("layer L():\n        input X[n, d]\n        output Y = (X + 1)")
    assert bare(one) == bare(two)


# --- after errors --------------------------------------------------------------------------------
def test_a_run_reports_each_line_once() -> None:
    text = "\n".join(
        [
            "layer L(d = 4)",  # no colon
            "    input X[n d]",  # no comma
            "    output Y[n] = X +",  # no operand
            "",
            "def f(x) = x **",  # foreign, and no operand
            "layer M():",
            "    input X[n",  # not closed
            "    output Y[n] = (X",  # not closed
            "layer N():",
            "    output Y = X",
        ]
    )
    assert mistakes(text) == [
        ("UnexpectedToken", 1, 15),
        ("UnexpectedToken", 2, 15),
        ("UnexpectedToken", 3, 22),
        ("ForeignOperator", 5, 14),
        ("UnexpectedToken", 5, 16),
        ("UnclosedBracket", 7, 12),
        ("UnclosedBracket", 8, 19),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [("EmptyFile", 1, 1)]),
        ("use std: gelu\n", [("EmptyFile", 1, 1)]),
        ("layer L():\n    f(\n", [("UnclosedBracket", 2, 6)]),
        ("layer L():\n", [("LayerWithoutBody", 1, 7)]),
        ("layer L():\nlayer M():\n    input X", [("LayerWithoutBody", 1, 7)]),
        ("layer (:\n    input X\n", [("UnclosedBracket", 1, 7)]),
        ("layer L():\n    input X\n  input Z\n      input W", [("BadIndentation", 3, 3)]),
        ("layer L():\n    input X\ninput Z\ninput W", [("OutsideLayer", 3, 1)]),
        ("layer L():\n    input X\n    def f(x) = x\n", [("NestedLayer", 3, 5)]),
    ],
)
def test_layout_errors(text: str, found: list[tuple[str, int, int]]) -> None:
    assert mistakes(text) == found


def test_expected_is_in_the_users_words() -> None:
    with pytest.raises(SpecError) as caught:
        file("layer L():\n    output Y = f(X,, 2)\n")
    (mistake,) = caught.value.diagnostics
    assert isinstance(mistake, errors.UnexpectedToken)
    assert mistake.message() == "found ',', expected an expression or ')'"


def test_the_number_of_errors_is_bounded() -> None:
    assert len(mistakes("layer L():\n" + "    X X\n" * 10_000)) == 200


# --- work ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "most"),
    [("+ ", 20_000), ("* ", 20_000), ("< ", 20_000), ("or ", 20_000), ("- ", 20_000)],
)
def test_long_chains_are_flat(text: str, most: int) -> None:
    body = expr(f" {text}".join(["x"] * most))
    wide = next(
        getattr(body, name) for name in ("terms", "factors", "operands") if hasattr(body, name)
    )
    assert len(wide) == most


@pytest.mark.parametrize("count", [99, 100])
@pytest.mark.parametrize(
    "nest",
    [
        lambda n: "(" * n + "x" + ")" * n,
        lambda n: "f(" * (n - 1) + "x" + ")" * (n - 1),
        lambda n: "X[" * (n - 1) + "i" + "]" * (n - 1),
        lambda n: "-" * (n - 1) + "x",
        lambda n: "not " * (n - 1) + "x",
        lambda n: "x^" * (n - 1) + "x",
        lambda n: "x // " * (n - 1) + "x",
        lambda n: "x if y else " * (n - 1) + "x",
    ],
)
def test_nesting_up_to_a_hundred_is_fine(nest: Callable[[int], str], count: int) -> None:
    expr(nest(count))
    with pytest.raises(SpecError) as caught:
        expr(nest(101))
    assert [type(d) for d in caught.value.diagnostics] == [errors.TooNested]


def test_a_layer_of_two_thousand_equations() -> None:
    layer = file(long_layer(2000)).items[0]
    assert isinstance(layer, ast.Layer) and len(layer.body) == 2003


# --- the grammar file ----------------------------------------------------------------------------
def test_scanner_and_grammar_name_the_same_terminals() -> None:
    strings = {
        terminal.pattern.value: terminal.name
        for terminal in grammar().terminals
        if terminal.pattern.type == "str"
    }
    assert strings == {**KEYWORDS, **PUNCTUATION}


class Layout(Indenter):
    NL_type = "NEWLINE"
    OPEN_PAREN_types: ClassVar[list[str]] = ["LPAR", "LSQB"]
    CLOSE_PAREN_types: ClassVar[list[str]] = ["RPAR", "RSQB"]
    INDENT_type = "INDENT"
    DEDENT_type = "DEDENT"
    tab_len = 4


def test_the_grammar_works_with_lark_alone() -> None:
    """Lark's own contextual lexer and an indenter accept the examples, comments taken out."""
    plain = Lark(
        (EXAMPLES.parent / "grammar" / "tensorlang.lark").read_text(),
        parser="lalr",
        lexer="contextual",
        start="file",
        postlex=Layout(),
    )
    for path in sorted(EXAMPLES.glob("*.tl")):
        lines = path.read_text().splitlines(keepends=True)
        code = "".join(line for line in lines if not line.lstrip().startswith("#"))
        plain.parse(code.lstrip("\n"))
