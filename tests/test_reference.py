"""The reference evaluator on programs written by hand, against plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tensorlang import reference
from tensorlang.check.program import (
    Affine,
    AffineAt,
    Along,
    AlongOp,
    Apply,
    At,
    Axis,
    Boundary,
    ComputedAt,
    Const,
    Contribution,
    Dim,
    Equation,
    Expr,
    Group,
    Index,
    IndexValue,
    Initialiser,
    Input,
    Literal,
    Output,
    Param,
    Program,
    Read,
    Reduce,
    ReduceOp,
    Scatter,
    ScatterOp,
    SizeValue,
    Statement,
    Sub,
    SubCall,
    Subscript,
    Table,
    Transform,
    TransformOp,
)
from tensorlang.dtype import Dtype
from tensorlang.reference import chunks
from tensorlang.size import Size, dynamic
from tensorlang.source import Source, Span

HERE = Span(Source("hand.tl", ""), 0, 0)
RNG = np.random.default_rng(0)
N = Dim("n", dynamic("n"))
D = Dim("d", 3)
n, n1, d, d1 = Index("n", N), Index("n'", N), Index("d", D), Index("d'", D)
batch = Index("...", Dim("...", dynamic("...")), ellipsis=True)


def axes(*indices: Index | tuple[Index, ...]) -> tuple[Axis, ...]:
    return tuple(Axis(i if isinstance(i, tuple) else (i,)) for i in indices)


def real(name: str, *indices: Index | tuple[Index, ...], dtype: Dtype = Dtype.REAL) -> Input:
    return Input(name, axes(*indices), dtype, HERE)


def at(tensor: str, *subscripts: Index | Subscript, dtype: Dtype = Dtype.REAL) -> Read:
    plain = tuple(At(s) if isinstance(s, Index) else s for s in subscripts)
    return Read(tensor, plain, dtype)


def apply(function: str, *args: Expr, dtype: Dtype = Dtype.REAL) -> Apply:
    return Apply(function, args, dtype)


def condition(function: str, *args: Expr) -> Apply:
    return Apply(function, args, Dtype.BOOL)


def number(value: float) -> Literal:
    return Literal(value, Dtype.INT if isinstance(value, int) else Dtype.REAL)


def affine(offset: Size, *terms: tuple[Index, int], boundary: Boundary) -> AffineAt:
    return AffineAt(Affine(terms, offset), boundary)


def total(op: str, indices: Sequence[Index], body: Expr, where: Expr | None = None) -> Reduce:
    dtype = Dtype.INT if op in ("argmax", "argmin", "count") else Dtype.REAL
    return Reduce(ReduceOp(op), tuple(indices), where, body, dtype)


def layer(
    inputs: Sequence[Input],
    body: Sequence[Statement],
    *outputs: str,
    params: Sequence[Param] = (),
    consts: Sequence[Const] = (),
    subs: Sequence[Sub] = (),
    dims: Sequence[Dim] = (),
) -> Program:
    return Program(
        layer="Hand",
        signature="",
        docstring=None,
        hypers=(),
        dims=(N, D, *dims),
        dynamic=(N,),
        inputs=tuple(inputs),
        params=tuple(params),
        consts=tuple(consts),
        subs=tuple(subs),
        body=tuple(body),
        outputs=outputs or ("Y",),
        span=HERE,
    )


def equation(indices: Sequence[Index | tuple[Index, ...]], body: Expr, name: str = "Y") -> Equation:
    return Equation(name, axes(*indices), Dtype.REAL, body, HERE)


def run(inputs: Sequence[Input], out: Sequence[Any], body: Expr, *arrays: Any, **rest: Any) -> Any:
    program = layer(inputs, [equation(out, body)], **rest)
    return reference.evaluate(program, arrays, {})[0]


X, A, W = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 5)), RNG.standard_normal((3, 3))
x = at("X", n, d)
x1 = at("X", n1, d)
before = condition("le", IndexValue(n1), IndexValue(n))


# --- pointwise, reads ----------------------------------------------------------------------------
def test_the_order_of_axes_on_the_left_is_the_order_of_the_output() -> None:
    got = run([real("X", n, d)], [d, n], apply("exp", x), X)
    np.testing.assert_allclose(got, np.exp(X).T)


def test_a_term_without_an_index_is_broadcast() -> None:
    body = apply("add", x, at("g", d), IndexValue(n), SizeValue(N.size))
    got = run([real("X", n, d), real("g", d)], [n, d], body, X, W[0])
    np.testing.assert_allclose(got, X + W[0] + np.arange(5)[:, None] + 5)


def test_the_diagonal() -> None:
    got = run([real("A", n, n1)], [n], at("A", n, n), A)
    np.testing.assert_array_equal(got, np.diag(A))


def test_groups_split_and_merge_row_major() -> None:
    h = Index("h", Dim("h", 2))
    split = run([real("X", n, (h, d))], [h, d, n], at("X", n, Group((h, d))), np.hstack([X, -X]))
    np.testing.assert_array_equal(split, np.stack([X, -X]).transpose(0, 2, 1))
    merged = run([real("X", n, d)], [d, (n, h)], apply("add", x, IndexValue(h)), X)
    np.testing.assert_array_equal(merged, np.stack([X, X + 1], 1).reshape(10, 3).T)


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        (Boundary.WRAP, [3, 4, 0, 1, 2]),
        (Boundary.CLAMP, [0, 0, 0, 1, 2]),
        (Boundary.REFLECT, [2, 1, 0, 1, 2]),
    ],
)
def test_boundaries_bring_a_position_inside(boundary: Boundary, expected: list[int]) -> None:
    shifted = at("X", affine(-2, (n, 1), boundary=boundary), d)
    np.testing.assert_array_equal(run([real("X", n, d)], [n, d], shifted, X), X[expected])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_reflect_folds_as_often_as_needed(size: int) -> None:
    far = Index("f", Dim("f", 17))
    body = at("X", affine(-8, (far, 1), boundary=Boundary.REFLECT), d)
    got = run([real("X", n, d)], [far, d], body, X[:size])
    padded = np.pad(np.arange(size), (8, 9 - size), mode="reflect" if size > 1 else "edge")
    np.testing.assert_array_equal(got, X[padded])


def test_else_is_the_value_of_the_whole_read() -> None:
    shifted = Read(
        "X",
        (affine(-1, (n, 1), boundary=Boundary.ELSE), affine(1, (d, 1), boundary=Boundary.ELSE)),
        Dtype.REAL,
        Literal(7.0, Dtype.REAL),
    )
    expected = np.full((5, 3), 7.0)
    expected[1:, :2] = X[:-1, 1:]
    np.testing.assert_array_equal(run([real("X", n, d)], [n, d], shifted, X), expected)


def test_else_over_an_empty_tensor() -> None:
    body = Read(
        "X",
        (affine(0, (n1, 1), boundary=Boundary.ELSE), At(d)),
        Dtype.REAL,
        Literal(7.0, Dtype.REAL),
    )
    m = Index("m", Dim("m", 4))
    body = Read("X", (affine(0, (m, 1), boundary=Boundary.ELSE), At(d)), Dtype.REAL, body.otherwise)
    got = run([real("X", n, d)], [m, d], body, X[:0])
    np.testing.assert_array_equal(got, np.full((4, 3), 7.0))


# --- gather --------------------------------------------------------------------------------------
pick = at("pick", n, dtype=Dtype.INT)
GATHER = [real("X", n1, d), real("pick", n, dtype=Dtype.INT)]


def test_gather() -> None:
    positions = np.array([4, 0, 0, 2, 3])
    body = at("X", ComputedAt(pick, Boundary.CHECKED), d)
    np.testing.assert_array_equal(run(GATHER, [n, d], body, X, positions), X[positions])


def test_a_position_out_of_range_is_an_index_error_that_names_it() -> None:
    body = at("X", ComputedAt(pick, Boundary.CHECKED), d)
    with pytest.raises(IndexError, match=r"position 99 .* axis 0 .* of X, of size 5, .* pick"):
        run(GATHER, [n, d], body, X, np.array([4, 0, 99, -7, 3]))


def test_a_masked_cell_is_not_gathered() -> None:
    good = condition("lt", pick, number(5))
    body = at("X", ComputedAt(pick, Boundary.CHECKED), d)
    positions = np.array([4, 0, 99, 7, 3])
    expected = np.where(positions < 5, X[positions % 5].sum(1), -1)
    chosen = apply("where", good, total("sum", [d], body), number(-1))
    np.testing.assert_allclose(run(GATHER, [n], chosen, X, positions), expected)
    summed = total("sum", [n, d], body, good)
    np.testing.assert_allclose(run(GATHER, [], summed, X, positions), X[[4, 0, 3]].sum())


# --- reductions ----------------------------------------------------------------------------------
def test_a_matrix_product() -> None:
    body = total("sum", [d], apply("mul", x, at("W", d, d1)))
    got = run([real("X", n, d), real("W", d, d1)], [n, d1], body, X, W)
    np.testing.assert_allclose(got, X @ W)


def test_a_sum_over_an_index_that_the_body_lacks() -> None:
    body = total("sum", [n1], x)
    np.testing.assert_allclose(run([real("X", n, d)], [n, d], body, X), 5 * X)


PLAIN: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "norm": np.linalg.norm,
    "var": np.var,
    "std": np.std,
    "logsumexp": lambda v: np.log(np.exp(v).sum()),
    "argmax": np.argmax,
    "argmin": np.argmin,
}
EMPTY = {"max": -math.inf, "min": math.inf, "logsumexp": -math.inf, "prod": 1.0}


@pytest.mark.parametrize("op", PLAIN)
def test_a_conditioned_reduction(op: str) -> None:
    body = total(op, [n1], at("A", n, n1), before)
    got = run([real("A", n, n1)], [n], body, A)
    np.testing.assert_allclose(got, [PLAIN[op](A[k, : k + 1]) for k in range(5)])


@pytest.mark.parametrize("op", PLAIN)
@pytest.mark.parametrize("size", [0, 4])
def test_a_reduction_over_no_cell_is_its_identity(op: str, size: int) -> None:
    never = condition("lt", IndexValue(n1), number(0))
    body = total(op, [n1], at("A", n1, d), never if size else None)
    got = run([real("A", n1, d)], [d], body, A[:size, :3])
    np.testing.assert_array_equal(got, np.full(3, EMPTY.get(op, 0.0)))


def test_masked_cells_may_hold_anything() -> None:
    positive = condition("gt", x, number(0))
    body = total("sum", [n, d], apply("log", x), positive)
    got = run([real("X", n, d)], [], body, np.where(abs(X) < 0.3, math.inf, X).clip(max=5))
    values = np.where(abs(X) < 0.3, 5, X)
    np.testing.assert_allclose(got, np.log(values[values > 0]).sum())


def test_argmax_takes_the_first_and_skips_masked_cells() -> None:
    values = np.array([[-math.inf, -math.inf, 3.0], [1.0, 1.0, 0.0]])
    m = Index("m", Dim("m", 2))
    late = condition("ge", IndexValue(d), number(1))
    early = condition("lt", IndexValue(d), number(2))
    for where, expected in ((None, [2, 0]), (late, [2, 1]), (early, [0, 0])):
        body = total("argmax", [d], at("V", m, d), where)
        np.testing.assert_array_equal(run([real("V", m, d)], [m], body, values), expected)


def test_count_any_all() -> None:
    true = Literal(True, Dtype.BOOL)
    positive = condition("gt", x, number(0))
    inputs = [real("X", n, d)]
    got = run(inputs, [n], total("count", [d], true, positive), X)
    np.testing.assert_array_equal(got, (X > 0).sum(1))
    for op, plain in (("any", np.any), ("all", np.all)):
        body = Reduce(ReduceOp(op), (d,), None, positive, Dtype.BOOL)
        got = run(inputs, [n], apply("where", body, number(1), number(0)), X)
        np.testing.assert_array_equal(got, plain(X > 0, axis=1))


# --- operators that keep their indices, transforms -----------------------------------------------
def _softmax(v: Any) -> Any:
    e = np.exp(v - v.max())
    return e / e.sum()


def test_a_conditioned_softmax_whose_empty_row_is_zero() -> None:
    strictly = condition("lt", IndexValue(n1), IndexValue(n))
    body = Along(AlongOp.SOFTMAX, (n1,), strictly, at("A", n, n1), Dtype.REAL)
    got = run([real("A", n, n1)], [n, n1], body, A * 1000)
    expected = np.zeros((5, 5))
    for k in range(1, 5):
        expected[k, :k] = _softmax(1000 * A[k, :k])
    np.testing.assert_allclose(got, expected)


def test_log_softmax() -> None:
    body = Along(AlongOp.LOG_SOFTMAX, (n, d), None, x, Dtype.REAL)
    got = run([real("X", n, d)], [n, d], body, X)
    np.testing.assert_allclose(got, X - np.log(np.exp(X).sum()))


def test_a_softmax_over_two_indices_in_a_contraction() -> None:
    softmax = Along(AlongOp.SOFTMAX, (n1, d), None, apply("mul", at("A", n, n1), x1), Dtype.REAL)
    body = total("sum", [n1, d], apply("mul", softmax, x1))
    got = run([real("X", n1, d), real("A", n, n1)], [n], body, X, A)
    expected = [(_softmax(A[k][:, None] * X) * X).sum() for k in range(5)]
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("op", ["cumsum", "cumprod"])
def test_scans(op: str) -> None:
    body = Along(AlongOp(op), (n,), None, x, Dtype.REAL)
    got = run([real("X", n, d)], [n, d], body, X)
    np.testing.assert_allclose(got, getattr(np, op)(X, axis=0))


def test_transforms_act_on_the_indices_that_they_name() -> None:
    k = Index("k", N)
    fft = Transform(TransformOp.FFT, (n,), (k,), (x,), Dtype.COMPLEX)
    body = apply("real", fft)
    np.testing.assert_allclose(
        run([real("X", n, d)], [k, d], body, X), np.fft.fft(X, axis=0).real, atol=1e-14
    )
    batched = at("B", n1, n, d)
    many = np.stack([A + 9 * np.eye(5)] * 3, -1)
    solve = Transform(TransformOp.SOLVE, (n1, n), (n,), (batched, x1), Dtype.REAL)
    got = run([real("B", n1, n, d), real("X", n1, d)], [n, d], solve, many, X)
    np.testing.assert_allclose(got, np.linalg.solve(A + 9 * np.eye(5), X))


def test_concat_with_a_piece_that_lacks_a_batch_index() -> None:
    f = Index("f", Dim("f", 3 + N.size))
    op = Transform(TransformOp.CONCAT, (d, n1), (f,), (x, at("v", n1)), Dtype.REAL)
    got = run([real("X", n, d), real("v", n1)], [f, n], op, X, A[0])
    np.testing.assert_array_equal(got, np.hstack([X, np.tile(A[0], (5, 1))]).T)


# --- statements ----------------------------------------------------------------------------------
def test_scatter_combines_what_lands_on_a_cell() -> None:
    E = Dim("e", dynamic("e"))
    e = Index("e", E)
    dst = ComputedAt(at("dst", e, dtype=Dtype.INT), Boundary.CHECKED)
    inputs = [real("X", n, d), real("M", e, d), real("dst", e, dtype=Dtype.INT)]
    landing = Contribution((dst, At(d)), (e,), at("M", e, d), HERE)
    messages, targets = RNG.standard_normal((7, 3)) - 5, np.array([0, 2, 2, 4, 0, 0, 2])
    combine: dict[str, Callable[..., Any]] = {"sum": np.sum, "max": np.max, "min": np.min}
    for op in ScatterOp:
        statement = Scatter("Y", axes(n, d), Dtype.REAL, op, (landing,), HERE)
        (got,) = reference.evaluate(layer(inputs, [statement]), [X, messages, targets], {})
        plain = combine[op.value]
        for k in range(5):
            rows = messages[targets == k]
            expected = plain(rows, axis=0) if len(rows) else np.zeros(3)
            np.testing.assert_allclose(got[k], expected)
    statement = Scatter("Y", axes(n, d), Dtype.REAL, ScatterOp.SUM, (landing, landing), HERE)
    (twice,) = reference.evaluate(layer(inputs, [statement]), [X, messages, targets], {})
    np.testing.assert_allclose(twice[2], 2 * messages[targets == 2].sum(0))
    with pytest.raises(IndexError, match=r"position 5 .* of Y, of size 5, .* dst"):
        reference.evaluate(layer(inputs, [statement]), [X, messages, targets + 1], {})


def test_a_scatter_drops_what_lands_outside() -> None:
    shifted = affine(-2, (n1, 1), boundary=Boundary.ELSE)
    landing = Contribution((shifted, At(d)), (n1,), at("X", n1, d), HERE)
    statement = Scatter("Y", axes(n, d), Dtype.REAL, ScatterOp.SUM, (landing,), HERE)
    (got,) = reference.evaluate(layer([real("X", n, d)], [statement]), [X], {})
    np.testing.assert_array_equal(got, np.vstack([X[2:], np.zeros((2, 3))]))


def test_consts_are_tables_or_expressions_of_earlier_ones() -> None:
    table = Const("c", axes(d), Dtype.INT, Table((1, 2, 4)), HERE)
    square = Const("s", axes(d), Dtype.REAL, apply("mul", at("c", d), at("c", d)), HERE)
    body = apply("mul", x, at("s", d))
    got = run([real("X", n, d)], [n, d], body, X, consts=[table, square])
    np.testing.assert_allclose(got, X * [1, 4, 16])


def _callee(a: Index, b: Index) -> Program:
    weight = Param(
        "W", axes(d), Dtype.REAL, Initialiser("ones", ()), frozen=False, fan_in=1, span=HERE
    )
    body = apply("mul", at("Z", a, b), at("W", b if b.dim.size == 3 else d))
    return layer([real("Z", a, b)], [equation([a, b], body)], params=[weight])


def _calling(count: int | None) -> Program:
    m = Index("m", Dim("m", dynamic("m")))
    callee = _callee(m, d)
    sub = Sub("f", "F", (), count, callee, HERE)
    call = SubCall("f", callee, ("X",), (Output("Y", axes(n, d), Dtype.REAL),), HERE)
    return layer([real("X", n, d)], [call], subs=[sub])


def test_a_call_finds_its_params_under_its_name() -> None:
    (got,) = reference.evaluate(_calling(None), [X], {"f.W": W[0]})
    np.testing.assert_allclose(got, X * W[0])


def test_a_stack_threads_its_input() -> None:
    (got,) = reference.evaluate(_calling(2), [X], {"f.0.W": W[0], "f.1.W": W[1]})
    np.testing.assert_allclose(got, X * W[0] * W[1])
    (same,) = reference.evaluate(_calling(0), [X], {})
    np.testing.assert_array_equal(same, X)


# --- the border ----------------------------------------------------------------------------------
def test_the_ellipsis_stands_for_any_axes() -> None:
    inputs = [real("X", batch, d), real("Z", d, batch)]
    body = apply("add", at("X", batch, d), at("Z", d, batch))
    program = layer(inputs, [equation([batch, d], body)])
    for shape in ((), (2,), (2, 1, 4), (0, 3)):
        left, right = RNG.standard_normal((*shape, 3)), RNG.standard_normal((3, *shape))
        (got,) = reference.evaluate(program, [left, right], {})
        np.testing.assert_array_equal(got, left + np.moveaxis(right, 0, -1))
    with pytest.raises(ValueError, match=r"\.\.\. is \(2, 3\) in X and \(3, 2\) in Z"):
        reference.evaluate(program, [np.zeros((2, 3, 3)), np.zeros((3, 3, 2))], {})
    with pytest.raises(ValueError, match=r"index d has size 3 and size 4 in X"):
        reference.evaluate(program, [np.zeros((2, 4)), np.zeros((3, 2))], {})


def test_a_wrong_shape_names_the_index_the_sizes_and_the_inputs() -> None:
    program = layer([real("X", n, d), real("Z", n)], [equation([n], at("Z", n))])
    with pytest.raises(ValueError, match="index n has size 5 in X and size 4 in Z"):
        reference.evaluate(program, [X, X[:4, 0]], {})
    with pytest.raises(ValueError, match=r"Z has axes \[n\], given an array of shape \(5, 1\)"):
        reference.evaluate(program, [X, X[:, :1]], {})
    with pytest.raises(ValueError, match="takes X, Z; 1 inputs given"):
        reference.evaluate(program, [X], {})


def test_wrong_kinds_of_number_and_missing_params() -> None:
    program = layer([real("i", n, dtype=Dtype.INT)], [equation([n], at("i", n, dtype=Dtype.INT))])
    with pytest.raises(ValueError, match="input i is int, given float64"):
        reference.evaluate(program, [X[:, 0]], {})
    with pytest.raises(ValueError, match="param W is missing"):
        reference.evaluate(_callee(n, d), [X], {})
    with pytest.raises(ValueError, match=r"param W has shape \(3,\), given \(4,\)"):
        reference.evaluate(_callee(n, d), [X], {"W": np.zeros(4)})


def test_computed_sizes_are_bound_divided_and_checked() -> None:
    h = Index("h", Dim("h", dynamic("h")))
    inner = Dim("m", N.size - 3)
    m = Index("m", inner)
    body = at("X", affine(1, (m, 1), boundary=Boundary.INSIDE), Group((h, d)))
    program = layer([real("X", n, (h, d))], [equation([m, h, d], body)], dims=[inner])
    (got,) = reference.evaluate(program, [np.hstack([X, -X])], {})
    np.testing.assert_array_equal(got, np.stack([X, -X], 1)[1:3])
    with pytest.raises(ValueError, match=r"\(h d\) of X has size 4, not a multiple of 3"):
        reference.evaluate(program, [A[:, :4]], {})
    with pytest.raises(ValueError, match=r"dim m = n - 3 is 0 for n = 3"):
        reference.evaluate(program, [X[:3]], {})


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    softmax = Along(AlongOp.SOFTMAX, (n1,), before, at("A", n, n1), Dtype.REAL)
    shifted = at("X", affine(-2, (n, 1), boundary=Boundary.CLAMP), d1)
    product = apply("mul", softmax, at("X", n1, d), shifted, IndexValue(n))
    body = total("sum", [n1], product)
    inputs = [real("A", n, n1), real("X", n1, d)]
    whole = run(inputs, [n, d, d1], body, A, X)
    for cap in (1, 7, 40):
        monkeypatch.setattr(chunks, "CELLS", cap)
        np.testing.assert_allclose(run(inputs, [n, d, d1], body, A, X), whole)
    kept = run([real("A", n, n1)], [n1, n], softmax, A)
    monkeypatch.undo()
    np.testing.assert_allclose(run([real("A", n, n1)], [n1, n], softmax, A), kept)
