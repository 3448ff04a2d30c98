"""The prover of affine reads: what it must prove, and that it never proves too much."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorlang.check.bounds import affine, at_least, inside
from tensorlang.check.elimination import infeasible
from tensorlang.check.program import (
    Affine,
    Apply,
    At,
    Dim,
    Expr,
    Index,
    IndexValue,
    Literal,
    Read,
    SizeValue,
)
from tensorlang.dtype import Dtype
from tensorlang.size import Size, dynamic, evaluate, symbols, unbound


class E:
    """An integer or boolean expression, with Python's operators."""

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    def _with(
        self, function: str, other: E | int, dtype: Dtype = Dtype.INT, swap: bool = False
    ) -> E:
        args = (self.expr, lift(other).expr)
        return E(Apply(function, args[::-1] if swap else args, dtype))

    def __add__(self, other: E | int) -> E:
        return self._with("add", other)

    __radd__ = __add__

    def __neg__(self) -> E:
        return E(Apply("neg", (self.expr,), Dtype.INT))

    def __sub__(self, other: E | int) -> E:
        return self + -lift(other)

    def __rsub__(self, other: int) -> E:
        return lift(other) - self

    def __mul__(self, other: E | int) -> E:
        return self._with("mul", other)

    __rmul__ = __mul__

    def __floordiv__(self, other: E | int) -> E:
        return self._with("floordiv", other)

    def __mod__(self, other: E | int) -> E:
        return self._with("mod", other)

    def __le__(self, other: E | int) -> E:
        return self._with("le", other, Dtype.BOOL)

    def __lt__(self, other: E | int) -> E:
        return self._with("lt", other, Dtype.BOOL)

    def __ge__(self, other: E | int) -> E:
        return self._with("ge", other, Dtype.BOOL)

    def __gt__(self, other: E | int) -> E:
        return self._with("gt", other, Dtype.BOOL)

    def eq(self, other: E | int) -> E:
        return self._with("eq", other, Dtype.BOOL)

    def ne(self, other: E | int) -> E:
        return self._with("ne", other, Dtype.BOOL)

    def __and__(self, other: E) -> E:
        return self._with("and", other, Dtype.BOOL)

    def __or__(self, other: E) -> E:
        return self._with("or", other, Dtype.BOOL)

    def __invert__(self) -> E:
        return E(Apply("not", (self.expr,), Dtype.BOOL))


def lift(value: E | int) -> E:
    return value if isinstance(value, E) else E(Literal(value, Dtype.INT))


def size(value: Size) -> E:
    return E(SizeValue(value))


def over(dim: Size, name: str = "i") -> E:
    return E(IndexValue(Index(name, Dim(f"dim_{name}", dim))))


def low(a: E | int, b: E | int) -> E:
    return lift(a)._with("min", b)


def high(a: E | int, b: E | int) -> E:
    return lift(a)._with("max", b)


def given_that(condition: E, then: E | int, otherwise: E | int) -> E:
    args = (condition.expr, lift(then).expr, lift(otherwise).expr)
    return E(Apply("where", args, Dtype.INT))


def half(a: E) -> E:
    quotient = Apply("div", (a.expr, Literal(2, Dtype.INT)), Dtype.REAL)
    return E(Apply("floor", (quotient,), Dtype.INT))


n_size, m_size, x_size = dynamic("n"), dynamic("m"), dynamic("x")
d_size, k_size, s_size, g_size = unbound("d"), unbound("k"), unbound("s"), unbound("g")
n, n1, m = over(n_size, "n"), over(n_size, "n'"), over(m_size, "m")
d = over(d_size, "d")
u3, uk = over(3, "u"), over(k_size, "u")
causal = Read("mask", (), Dtype.BOOL)
offset = E(Read("offset", (At(Index("w", Dim("w", 3))),), Dtype.INT))


def conv(x: Size, k: Size, stride: Size, dilation: Size) -> Size:
    return (x - dilation * (k - 1) - 1) // stride + 1


PROVABLE: list[tuple[str, E, Size, list[E]]] = [
    ("index", n, n_size, []),
    ("fixed", lift(3), 4, []),
    ("fixed in a hyper", lift(0), d_size, []),
    ("last", size(n_size) - 1 - n, n_size, []),
    ("last of a hyper", size(d_size) - 1, d_size, []),
    ("reversed pair", n1 - n + size(n_size) - 1, n_size, [n1 <= n]),
    ("shift back under a condition", n - 1, n_size, [n >= 1]),
    ("shift back by two", n - 2, n_size, [n > 1]),
    ("shift ahead under a condition", n + 1, n_size, [n < size(n_size) - 1]),
    ("distance", n - n1, n_size, [n1 <= n]),
    ("distance, chained", n - n1, 8, [n1 <= n, n - n1 < 8]),
    ("distance, and", n - n1, 8, [(n1 <= n) & (n - n1 < 8)]),
    ("hyper window", n - n1, d_size, [(n1 <= n) & (n - n1 < size(d_size))]),
    ("negated condition", n - n1, n_size, [~(n1 > n)]),
    ("conv, valid", over(x_size - 2, "xo") + u3, x_size, []),
    ("conv, valid, hyper k", over(x_size - k_size + 1, "xo") + uk, x_size, []),
    ("conv, static", over(conv(11, 3, 2, 2)) * 2 + u3 * 2, 11, []),
    ("conv, stride 2", 2 * over(conv(x_size, 3, 2, 1), "xo") + u3, x_size, []),
    ("conv, stride 3, dilation 2", 3 * over(conv(x_size, 3, 3, 2), "xo") + 2 * u3, x_size, []),
    ("conv, hyper k", 2 * over(conv(x_size, k_size, 2, 1), "xo") + uk, x_size, []),
    (
        "conv, all symbolic",
        size(s_size) * over(conv(x_size, k_size, s_size, g_size), "xo") + size(g_size) * uk,
        x_size,
        [],
    ),
    ("every second", 2 * over(n_size // 2), n_size, []),
    ("every second, odd ones", 2 * over(n_size // 2) + 1, n_size, []),
    ("half", n // 2, n_size, []),
    ("half of a floor", half(n), n_size, []),
    ("pool", n // 2, n_size // 2, [n < 2 * size(n_size // 2)]),
    ("upsample", over(2 * n_size, "y") // 2, n_size, []),
    ("upsample, hyper", over(s_size * n_size, "y") // size(s_size), n_size, []),
    ("mod", over(m_size) % 4, 4, []),
    ("mod of a hyper", m % size(d_size), d_size, []),
    ("roll", (n + 1) % size(n_size), n_size, []),
    ("roll back", (n - 5) % size(n_size), n_size, []),
    ("clamped by hand", high(low(n + 3, size(n_size) - 1), 0), n_size, []),
    ("larger of two", high(n, n1), n_size, []),
    ("smaller of two", low(n, m), n_size, []),
    ("group, static", over(3, "h") * 4 + over(4, "c"), 12, []),
    ("group, hyper", over(d_size, "h") * size(k_size) + over(k_size, "c"), d_size * k_size, []),
    ("group, dynamic", n * size(d_size) + d, n_size * d_size, []),
    ("chosen", given_that(n > 0, n - 1, 0), n_size, []),
    ("chosen by what is not known", given_that(E(causal), n, 0), n_size, []),
    ("or", n - 1, n_size, [(n >= 3) | (n.eq(2))]),
    ("not equal", n - 1, n_size, [n.ne(0)]),
    ("false condition", n + 7, n_size, [E(Literal(False, Dtype.BOOL))]),
    ("true or", n, n_size, [E(Literal(True, Dtype.BOOL)) | (n1 <= n)]),
    ("literal or", n - n1, n_size, [E(Literal(False, Dtype.BOOL)) | (n1 <= n)]),
    ("offset of a const", n - offset, n_size, [offset <= n]),
    ("square", over(3) * over(3), 5, []),
    ("size of a size", size(n_size // 3), n_size // 3 + 1, []),
    ("triangle", over(32, "p"), 32 * 31 // 2, []),
    ("head", over(d_size / k_size, "c"), d_size, []),
    ("head in a group", over(k_size, "h") * size(d_size / k_size), d_size, []),
    ("merged heads", over(k_size, "h") * size(d_size / k_size) + over(d_size / k_size), d_size, []),
    ("condition gives the size", lift(0), n_size, [size(n_size) > 0]),
    ("another axis, by a fact", n, m_size, [size(n_size) <= size(m_size)]),
]
OUTSIDE: list[tuple[str, E, Size, list[E]]] = [
    ("shift back", n - 1, n_size, []),
    ("shift ahead", n + 1, n_size, []),
    ("fixed in a dynamic axis", lift(0), n_size, []),
    ("reversed, one off", size(n_size) - n, n_size, []),
    ("too weak", n - 2, n_size, [n >= 1]),
    ("wrong direction", n - n1, n_size, [n <= n1]),
    ("conv, one too many", over(x_size - 1, "xo") + u3, x_size, []),
    ("conv, static, one too many", over(6) * 2 + u3 * 2, 14, []),
    ("stride", 2 * over(n_size // 2 + 1), n_size, []),
    ("other axis", n, m_size, []),
    ("unknown condition", n - 1, n_size, [E(causal)]),
    ("or with an unknown", n - 1, n_size, [(n >= 1) | E(causal)]),
    ("negative", lift(-1), n_size, [size(n_size) > 0]),
    ("half, not of all", half(n) + 1, n_size, []),
    ("offset", n - offset, n_size, []),
    ("unknown divisor", n % size(m_size), n_size, []),
    ("sum of two", over(d_size / k_size, "c") + 1, d_size, []),
    ("broken sum", over((n_size + 1) / k_size, "c") + size(k_size) - 2, n_size, []),
]


@pytest.mark.parametrize(("position", "axis", "facts"), [c[1:] for c in PROVABLE],
                         ids=[c[0] for c in PROVABLE])  # fmt: skip
def test_proved(position: E, axis: Size, facts: list[E]) -> None:
    ranges = {"offset": (1, 16)}
    assert inside(position.expr, axis, [fact.expr for fact in facts], ranges)


@pytest.mark.parametrize(("position", "axis", "facts"), [c[1:] for c in OUTSIDE],
                         ids=[c[0] for c in OUTSIDE])  # fmt: skip
def test_not_proved(position: E, axis: Size, facts: list[E]) -> None:
    assert not inside(position.expr, axis, [fact.expr for fact in facts])


def test_affine_forms() -> None:
    i, j = Index("i", Dim("i", 4)), Index("j", Dim("j", n_size))
    a, b = E(IndexValue(i)), E(IndexValue(j))
    assert affine((2 * a + b * 3 - 1).expr) == Affine(((i, 2), (j, 3)), -1)
    assert affine((size(n_size) - 1 - b).expr) == Affine(((j, -1),), n_size - 1)
    assert affine((a - (lift(3) // 2)).expr) == Affine(((i, 1),), -1)
    assert affine((a - a).expr) == Affine((), 0)
    assert affine((2 * (a - 3)).expr) == Affine(((i, 2),), -6)
    assert affine(lift(7).expr) == Affine((), 7)
    assert affine((a + size(n_size // 2)).expr) == Affine(((i, 1),), n_size // 2)
    for expr in (a * b, a // 2, a * size(n_size), a + offset, a % 3, high(a, b), a + half(b)):
        assert affine(expr.expr) is None


def test_at_least() -> None:
    assert at_least(d_size, 1) and not at_least(n_size, 1)
    assert at_least(n_size // 2 + 1, 1) and not at_least(n_size // 2, 1)
    assert at_least(n_size // 2, 1, [(size(n_size) >= 2).expr])
    assert at_least(sympy.Max(n_size - 3, 1), 1)
    assert at_least(d_size * (d_size + 1) / 2, 1)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(-3, 3), min_size=3, max_size=3), st.integers(-6, 6)),
        max_size=6,
    )
)
def test_elimination_is_sound(rows: list[tuple[list[int], int]]) -> None:
    box = [([1 if i == j else 0 for j in range(3)], 3) for i in range(3)]
    box += [([-1 if i == j else 0 for j in range(3)], 3) for i in range(3)]
    system = [(dict(enumerate(row)), constant) for row, constant in [*rows, *box]]
    if infeasible(system):
        for point in itertools.product(range(-3, 4), repeat=3):
            holds = [
                sum(c * v for c, v in zip(row, point, strict=True)) + constant >= 0
                for row, constant in rows
            ]
            assert not all(holds), point


# --- brute force ---------------------------------------------------------------------------------
SIZES: list[Size] = [
    1, 2, 3, 5, n_size, d_size, n_size + 1, n_size // 2, 2 * n_size, n_size * d_size,
    (n_size - 3) // 2 + 1, n_size % 3 + 1, sympy.Max(n_size - d_size, 1), n_size - d_size + 1,
    (n_size + 1) // d_size, d_size * (d_size + 1) / 2, n_size // d_size, sympy.Min(n_size, d_size),
]  # fmt: skip
INDICES = [
    Index(name, Dim(name, size)) for name, size in zip("abcdefghij", SIZES[:10], strict=True)
]


@st.composite
def integers(draw: st.DrawFn, indices: Sequence[Index], depth: int = 3) -> E:
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(
            st.one_of(
                st.sampled_from([E(IndexValue(index)) for index in indices]),
                st.integers(-2, 4).map(lift),
                st.sampled_from(SIZES).map(size),
            )
        )
    a, b = draw(integers(indices, depth - 1)), draw(integers(indices, depth - 1))
    kind = draw(st.sampled_from("++--*/%mMwhf"))
    match kind:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return draw(st.integers(1, 3)) * a if draw(st.booleans()) else a * b
        case "/":
            return a // (draw(st.integers(1, 4)) if draw(st.booleans()) else size(d_size))
        case "%":
            return a % (draw(st.integers(1, 4)) if draw(st.booleans()) else size(n_size))
        case "m":
            return low(a, b)
        case "M":
            return high(a, b)
        case "w":
            return given_that(draw(conditions(indices, 1)), a, b)
        case "h":
            return E(Apply("abs", (a.expr,), Dtype.INT))
        case _:
            return half(a)


@st.composite
def conditions(draw: st.DrawFn, indices: Sequence[Index], depth: int = 2) -> E:
    if depth == 0 or draw(st.booleans()):
        sign = draw(st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne"]))
        a, b = draw(integers(indices, 1)), draw(integers(indices, 1))
        return a._with(sign, b, Dtype.BOOL)
    a, b = draw(conditions(indices, depth - 1)), draw(conditions(indices, depth - 1))
    return draw(st.sampled_from([a & b, a | b, ~a, ~(a & b)]))


def value(expr: Expr, sizes: dict[str, int], at: dict[Index, int]) -> int:
    """Python's meaning of an integer expression; ZeroDivisionError as there."""
    match expr:
        case Literal(number):
            assert not isinstance(number, complex)
            return int(number)
        case IndexValue(index):
            return at[index]
        case SizeValue(size):
            return size_at(size, sizes)
        case Apply("floor", (Apply("div", (a, b)),)):
            return value(a, sizes, at) // value(b, sizes, at)
        case Apply("where", (c, a, b)):
            return value(a if value(c, sizes, at) else b, sizes, at)
        case Apply(function, args):
            values = [value(arg, sizes, at) for arg in args]
            return int(PYTHON[function](*values))
    raise AssertionError(expr)


PYTHON = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": min, "max": max, "abs": abs,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
}  # fmt: skip


def size_at(size: Size, sizes: dict[str, int]) -> int:
    return evaluate(size, {name: sizes[name] for name in symbols(size)})


def holds_everywhere(
    position: Expr, axis: Size, facts: Sequence[Expr], indices: Sequence[Index]
) -> bool:
    for d, n in itertools.product(range(1, 5), range(7)):
        sizes = {"n": n, "d": d}
        ranges = [range(max(0, size_at(index.dim.size, sizes))) for index in indices]
        for point in itertools.product(*ranges):
            at = dict(zip(indices, point, strict=True))
            try:
                if not all(value(fact, sizes, at) for fact in facts):
                    continue
                if not 0 <= value(position, sizes, at) < size_at(axis, sizes):
                    return False
            except ZeroDivisionError:
                continue
    return True


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_never_proves_too_much(data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.sampled_from(INDICES), min_size=1, max_size=2, unique=True))
    position = data.draw(integers(indices)).expr
    facts = [data.draw(conditions(indices)).expr for _ in range(data.draw(st.integers(0, 2)))]
    axis = data.draw(st.sampled_from(SIZES))
    if inside(position, axis, facts):
        assert holds_everywhere(position, axis, facts, indices)
