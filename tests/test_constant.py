"""Constant expressions: exact values, the two meanings of `/`, bounds, and every mistake."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from tensorlang.check.constant import Mode, evaluate
from tensorlang.check.divides import always_divides
from tensorlang.check.program import Value
from tensorlang.diagnostics import Diagnostic
from tensorlang.size import dynamic, same, unbound
from tensorlang.source import Source, Span
from tensorlang.syntax import ast

SOURCE = Source("<test>", "0")
SPAN = Span(SOURCE, 0, 1)
d, k, n = unbound("d"), unbound("k"), dynamic("n")


def number(value: float) -> ast.Number:
    return ast.Number(value, str(value), SPAN)


def name(text: str) -> ast.Name:
    return ast.Name(text, SPAN)


def sums(*terms: ast.Expr) -> ast.Sum:
    return ast.Sum(tuple(ast.Term(False, term) for term in terms), SPAN)


def minus(a: ast.Expr, b: ast.Expr) -> ast.Sum:
    return ast.Sum((ast.Term(False, a), ast.Term(True, b)), SPAN)


def times(*factors: ast.Expr) -> ast.Product:
    return ast.Product(tuple(ast.Factor(False, factor) for factor in factors), SPAN)


def over(a: ast.Expr, b: ast.Expr) -> ast.Product:
    return ast.Product((ast.Factor(False, a), ast.Factor(True, b)), SPAN)


def floor(a: ast.Expr, b: ast.Expr) -> ast.IntDivide:
    return ast.IntDivide(a, b, False, SPAN)


def mod(a: ast.Expr, b: ast.Expr) -> ast.IntDivide:
    return ast.IntDivide(a, b, True, SPAN)


def power(a: ast.Expr, b: ast.Expr) -> ast.Power:
    return ast.Power(a, b, SPAN)


def compare(a: ast.Expr, sign: str, b: ast.Expr) -> ast.Compare:
    return ast.Compare((a, b), (ast.Comparison(sign),), SPAN)


def call(function: str, *args: ast.Expr) -> ast.Call:
    return ast.Call(
        function, SPAN, None, None, tuple(ast.Argument(None, arg, SPAN) for arg in args), SPAN
    )


def run(
    expr: ast.Expr, names: Mapping[str, Value] | None = None, mode: Mode = "size"
) -> tuple[Value | None, list[str]]:
    reported: list[Diagnostic] = []
    value = evaluate(expr, names or {}, reported.append, mode)
    assert value is not None or reported
    return value, [diagnostic.code for diagnostic in reported]


def value(expr: ast.Expr, names: Mapping[str, Value] | None = None, mode: Mode = "size") -> Value:
    out, codes = run(expr, names, mode)
    assert not codes and out is not None
    return out


def test_numbers() -> None:
    assert value(sums(number(2), times(number(3), number(4)))) == 14
    assert value(over(times(number(32), number(31)), number(2))) == 496
    assert value(floor(ast.Negate(number(7), SPAN), number(2))) == -4
    assert value(mod(ast.Negate(number(7), SPAN), number(4))) == 1
    assert value(power(number(2), number(62))) == 2**62
    assert value(call("max", number(2), number(5), number(3))) == 5
    assert value(call("len", ast.ListExpr((number(2), number(5)), SPAN))) == 2
    assert value(call("max", name("offsets")), {"offsets": (1, 7, 3)}) == 7
    assert value(ast.SizeOf("d", SPAN), {"d": 64}) == 64


def test_a_slash_divides_in_sizes_and_not_in_values() -> None:
    assert value(over(number(64), number(8)), mode="value") == 8
    assert value(over(number(1), number(8)), mode="value") == 0.125
    assert run(over(number(64), number(3)))[1] == ["E0303"]
    assert value(power(name("d"), ast.Negate(number(0.5), SPAN)), {"d": 64}, "value") == 0.125
    assert value(power(number(2), ast.Negate(number(1), SPAN)), mode="value") == 0.5


def test_words_lists_and_conditions() -> None:
    assert value(name("true")) is True
    assert value(name("pi"), mode="value") == math.pi
    assert value(name("inf"), mode="value") == math.inf
    assert value(ast.ListExpr((number(1), ast.String("a", SPAN)), SPAN)) == (1, "a")
    condition = compare(name("d"), ">", number(32))
    assert value(condition, {"d": 64}) is True
    assert value(ast.IfElse(number(1), condition, number(2), SPAN), {"d": 16}) == 2
    assert value(ast.Not(name("causal"), SPAN), {"causal": True}) is False
    assert value(compare(name("s"), "==", ast.String("relu", SPAN)), {"s": "relu"}) is True


def test_symbols() -> None:
    names: dict[str, Value] = {"d": d, "k": k, "n": n}
    assert value(floor(minus(name("n"), number(3)), number(2)), names) == (n - 3) // 2
    assert value(mod(name("n"), name("k")), names) == sympy.Mod(n, k)
    quotient, codes = run(over(name("d"), name("k")), names)
    assert codes == ["W0314"] and same(quotient * k, d)
    assert value(over(times(name("d"), minus(name("d"), number(1))), number(2)), names) == (
        d * (d - 1) / 2
    )
    assert value(over(times(name("d"), name("k")), name("k")), names) == d
    assert value(compare(name("d"), ">=", number(1)), names) is True
    left_open = value(compare(name("d"), ">", number(4)), names)
    assert isinstance(left_open, sympy.Expr)
    assert left_open.subs({d: 5}) == 1 and left_open.subs({d: 4}) == 0
    choice = value(
        ast.IfElse(number(1), compare(name("d"), ">", number(4)), name("k"), SPAN), names
    )
    assert isinstance(choice, sympy.Expr) and choice.subs({d: 4, k: 7}) == 7


@pytest.mark.parametrize(
    ("expr", "code"),
    [
        (over(number(1), number(0)), "E0312"),
        (floor(number(1), number(0)), "E0312"),
        (mod(number(1), number(0)), "E0312"),
        (floor(number(8), name("n")), "E0312"),
        (power(number(0), ast.Negate(number(1), SPAN)), "E0312"),
        (power(number(2), power(number(10), number(9))), "E0313"),
        (power(power(number(2), number(200)), number(200)), "E0313"),
        (power(number(2), number(63)), "E0313"),
        (times(*[power(number(2), number(50))] * 20), "E0313"),
        (power(number(10.0), number(400)), "E0313"),
        (times(number(1e300), number(1e300)), "E0313"),
        (power(sums(name("d"), number(1)), power(number(10), number(6))), "E0313"),
        (power(sums(name("d"), name("k"), name("n"), number(1)), number(30)), "E0313"),
        (power(number(2), power(name("d"), number(99))), "E0313"),
        (sums(name("true"), number(1)), "E0310"),
        (sums(ast.String("a", SPAN), number(1)), "E0310"),
        (call("sqrt", name("d")), "E0310"),
        (call("len", name("d")), "E0310"),
        (call("max"), "E0310"),
        (power(ast.Negate(number(2), SPAN), number(0.5)), "E0310"),
        (ast.Not(number(2), SPAN), "E0310"),
        (compare(ast.String("a", SPAN), "<", number(1)), "E0310"),
        (name("e"), "E0305"),
    ],
)
def test_mistakes(expr: ast.Expr, code: str) -> None:
    out, codes = run(expr, {"d": d, "k": k, "n": n})
    assert out is None and codes == [code]


def test_doubling_dims_stay_bounded() -> None:
    names: dict[str, Value] = {"a": floor_of(n)}
    for _ in range(60):
        out, codes = run(sums(floor(name("a"), number(3)), mod(name("a"), number(5))), names)
        if out is None:
            assert codes == ["E0313"]
            return
        names["a"] = out
    raise AssertionError("not bounded")


def floor_of(size: sympy.Expr) -> sympy.Expr:
    return size // 2


def test_always_divides() -> None:
    assert always_divides(d * (d - 1), 2)
    assert always_divides(d * (d + 1) * (d + 2), 6)
    assert not always_divides(d * (d - 1), 4)
    assert always_divides(6 * d + 4 * k, 2)
    assert not always_divides(d, k)


BINARY: dict[str, tuple[Callable[..., ast.Expr], Callable[[int, int], int]]] = {
    "+": (sums, operator.add),
    "-": (minus, operator.sub),
    "*": (times, operator.mul),
    "//": (floor, operator.floordiv),
    "%": (mod, operator.mod),
}


@given(st.data())
def test_symbols_and_numbers_agree(data: st.DataObject) -> None:
    """A size computed in symbols and then evaluated is the size computed in numbers."""

    def draw(depth: int) -> ast.Expr:
        if depth == 0 or data.draw(st.booleans()):
            leaves: list[ast.Expr] = [name("d"), name("n"), number(2), number(3)]
            return data.draw(st.sampled_from(leaves))
        build, _ = BINARY[data.draw(st.sampled_from(sorted(BINARY)))]
        return build(draw(depth - 1), draw(depth - 1))

    expr = draw(3)
    symbolic, _ = run(expr, {"d": d, "n": n})
    sizes = {"d": data.draw(st.integers(1, 9)), "n": data.draw(st.integers(0, 9))}
    concrete, _ = run(expr, dict(sizes))
    if symbolic is not None and concrete is not None:
        assert sympy.sympify(symbolic).subs({d: sizes["d"], n: sizes["n"]}) == concrete
