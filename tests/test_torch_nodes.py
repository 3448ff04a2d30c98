"""Every kind of node as torch code, against brute force over its index grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tensorlang.backends.torch import emit
from tensorlang.check.program import (
    Axis,
    Boundary,
    Dim,
    Index,
    Input,
    Program,
    ReduceOp,
    ScatterOp,
)
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes
from tensorlang.ir.nodes import Affine, App, Arg, At, Gather, Group, Iota, Lit, Node, Read, SizeOf
from tensorlang.options import Options
from tensorlang.plan.plan import Cost, Plan, Regime, Region, Step, Unit
from tensorlang.size import Size, dynamic, evaluate
from tensorlang.source import Source, Span
from tests.node_values import node_value

SPAN = Span(Source("nodes.tl", "Y = X\n"), 0, 5)
n, m, k, b = (dynamic(name) for name in "nmkb")
R, INT, B = Dtype.REAL, Dtype.INT, Dtype.BOOL
INSIDE, ELSE, WRAP, CLAMP, REFLECT, CHECKED = Boundary
Given = tuple[tuple[Size, ...], Dtype]


def _plan(given: list[Given], node: Node) -> Unit:
    """A layer whose inputs are `given` and whose output is the node; reads name inputs.

    A last input brings all sizes.
    """
    inputs = []
    given = [*given, ((n, m, k, b), INT)]
    for number, (shape, dtype) in enumerate(given):
        axes = tuple(Axis((Index(f"i{number}{a}", Dim(str(s), s)),)) for a, s in enumerate(shape))
        inputs.append(Input(f"X{number}", axes, dtype, SPAN))
    out = Axis((Index("o", Dim("o", 1)),))
    from tensorlang.check.program import Equation, Literal

    body = (Equation("Y", (out,), node.dtype, Literal(0, R), SPAN),)
    names = sorted(
        {
            s.name
            for shape, _ in given
            for z in shape
            if not isinstance(z, int)
            for s in z.free_symbols
        }
    )
    program = Program(
        "Test",
        "",
        None,
        (),
        (),
        tuple(Dim(x, dynamic(x)) for x in names),
        tuple(inputs),
        (),
        (),
        (),
        body,
        ("Y",),
        SPAN,
    )
    slot = len(given)
    step = Step(slot, node, "Y", (SPAN,))
    regime = Regime((step,), (), Cost({}, {}, {}))
    region = Region(tuple(range(slot)), (slot,), (regime,), "torch", "", (SPAN,))
    plan = Plan(program, tuple(range(slot)), (), (), (region,), (slot,), {}, {})
    return Unit("Test", program, {"": plan}, ())


def _check(
    given: list[Given], node: Node, sizes: list[dict[str, int]], below: int | str = 3
) -> str:
    text = emit([_plan(given, node)], "test", Options())
    space: dict[str, Any] = {}
    exec(compile(text, "<emitted>", "exec"), space)
    module = space["Test"]()
    rng = np.random.default_rng(0)
    for size in sizes:
        arrays = {}
        for number, (shape, dtype) in enumerate(given):
            ints = tuple(z if isinstance(z, int) else evaluate(z, size) for z in shape)
            if dtype is INT:
                arrays[number] = rng.integers(0, size.get(below, below), ints)  # type: ignore[call-overload]
            elif dtype is B:
                arrays[number] = rng.random(ints) < 0.6
            else:
                arrays[number] = rng.standard_normal(ints)
        brings = torch.zeros([size.get(name, 1) for name in "nmkb"], dtype=torch.int64)
        got = module(*(torch.as_tensor(a) for a in arrays.values()), brings)
        want = node_value(node, arrays, size)
        assert got.shape == want.shape, (text, got.shape, want.shape)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-12, err_msg=text)
        if node.dtype is R:
            assert got.dtype == torch.float64 or not any(d is R for _, d in given), text
    return text


ARG = Arg(0)


def pointwise(
    reads: list[Read], sizes: tuple[Size, ...], expr: Any = ARG, dtype: Dtype = R
) -> Node:
    return Node(nodes.Pointwise(expr), tuple(reads), sizes, len(sizes), dtype)


def app(name: str, *args: Any, dtype: Dtype = R) -> App:
    return App(name, args, dtype)


def aff(offset: Size, *terms: tuple[int, int], boundary: Boundary = INSIDE) -> Affine:
    return Affine(terms, offset, boundary)


SIZES = [{"n": 5, "m": 4, "k": 3, "b": 2}, {"n": 7, "m": 1, "k": 2, "b": 3}]
ONES = [*SIZES, {"n": 1, "m": 1, "k": 1, "b": 1}]

READS: dict[str, tuple[tuple[Size, ...], Read, tuple[Size, ...]]] = {
    "transpose": ((n, m), Read(0, (At(1), At(0))), (m, n)),
    "three axes": ((n, m, k), Read(0, (At(1), At(2), At(0))), (k, n, m)),
    "broadcast": ((n,), Read(0, (At(1),)), (m, n, k)),
    "two apart": ((n, k), Read(0, (At(0), At(2))), (n, m, k)),
    "diagonal": ((n, n), Read(0, (At(0), At(0))), (n,)),
    "diagonal in batch": ((n, b, n), Read(0, (At(1), At(0), At(1))), (b, n)),
    "group": ((6 * n,), Read(0, (Group((0, 1)),)), (n, 6)),
    "group swapped": ((6 * n, m), Read(0, (Group((2, 0)), At(1))), (6, m, n)),
    "fixed": ((n, m), Read(0, (aff(0), At(0))), (m,)),
    "fixed last": ((n, m), Read(0, (At(0), aff(m - 1))), (n,)),
    "flip": ((n,), Read(0, (aff(n - 1, (0, -1)),)), (n,)),
    "shift": ((n, m), Read(0, (aff(-1, (0, 1), boundary=ELSE), At(1)), 0.0), (n, m)),
    "far shift": ((n,), Read(0, (aff(-9, (0, 1), boundary=ELSE),), 2.5), (n,)),
    "ahead": ((n,), Read(0, (aff(2, (0, 1), boundary=ELSE),), 0.0), (n,)),
    "longer": ((4,), Read(0, (aff(0, (0, 1), boundary=ELSE),), 0.0), (n,)),
    "inside": ((n + 2,), Read(0, (aff(1, (0, 1)),)), (n,)),
    "stride": ((3 * n,), Read(0, (aff(1, (0, 3)),)), (n,)),
    "windows": ((n + 2, m), Read(0, (aff(0, (0, 1), (2, 1)), At(1))), (n, m, 3)),
    "dilated windows": ((n + 4,), Read(0, (aff(0, (0, 1), (1, 2)),)), (n, 3)),
    "strided windows": ((2 * n + 1, m), Read(0, (aff(0, (0, 2), (2, 1)), At(1))), (n, m, 3)),
    "padded windows": (
        (n, m),
        Read(0, (aff(-1, (0, 1), (2, 1), boundary=ELSE), At(1)), 0.0),
        (n, m, 3),
    ),
    "wrap": ((n,), Read(0, (aff(-3, (0, 2), boundary=WRAP),)), (m,)),
    "clamp": ((n,), Read(0, (aff(-3, (0, 2), boundary=CLAMP),)), (m,)),
    "reflect": ((n,), Read(0, (aff(-3, (0, 2), boundary=REFLECT),)), (m,)),
    "sum of indices wraps": ((n,), Read(0, (aff(0, (0, 1), (1, 1), boundary=WRAP),)), (n, n)),
    "shared index": ((n, m), Read(0, (aff(0, (0, 1), (1, 1), boundary=ELSE), At(1)), 0.0), (n, m)),
    "padded both": (
        (n, m),
        Read(0, (aff(-1, (0, 1), boundary=ELSE), aff(1, (1, 1), boundary=ELSE)), 0.0),
        (n, m),
    ),
}


@pytest.mark.parametrize("name", READS)
def test_reads(name: str) -> None:
    shape, read, sizes = READS[name]
    _check([(shape, R)], pointwise([read], sizes), ONES)
    # the same read of ints keeps the dtype
    _check(
        [(shape, INT)],
        pointwise(
            [Read(0, read.subscripts, None if read.fill is None else int(read.fill))],
            sizes,
            dtype=INT,
        ),
        SIZES,
    )


GATHERS: dict[str, tuple[list[Given], Read, tuple[Size, ...], int | str]] = {
    "rows": (
        [((n, m), R), ((k,), INT)],
        Read(0, (Gather(Read(1, (At(0),)), CHECKED), At(1))),
        (k, m),
        "n",
    ),
    "embedding": (
        [((7, m), R), ((b, n), INT)],
        Read(0, (Gather(Read(1, (At(0), At(1))), CHECKED), At(2))),
        (b, n, m),
        7,
    ),
    "batched": (
        [((b, n, m), R), ((b, k), INT)],
        Read(0, (At(0), Gather(Read(1, (At(0), At(1))), CHECKED), At(2))),
        (b, k, m),
        "n",
    ),
    "else": (
        [((n, m), R), ((k,), INT)],
        Read(0, (Gather(Read(1, (At(0),)), ELSE), At(1)), 1.5),
        (k, m),
        20,
    ),
    "wrapped": (
        [((m, n), R), ((k, b), INT)],
        Read(0, (At(2), Gather(Read(1, (At(0), At(1))), WRAP))),
        (k, b, m),
        20,
    ),
    "two": (
        [((n, m), R), ((k,), INT)],
        Read(0, (Gather(Read(1, (At(0),)), WRAP), Gather(Read(1, (At(0),)), REFLECT))),
        (k,),
        20,
    ),
    "shifted positions": (
        [((n,), R), ((k,), INT)],
        Read(0, (Gather(Read(1, (aff(-1, (0, 1), boundary=ELSE),), 0), CLAMP),)),
        (k,),
        20,
    ),
}


@pytest.mark.parametrize("name", GATHERS)
def test_gathers(name: str) -> None:
    given, read, sizes, below = GATHERS[name]
    _check(given, pointwise([read], sizes), ONES, below)


def test_a_gather_out_of_range_names_tensor_axis_and_value() -> None:
    given, read, sizes, _ = GATHERS["rows"]
    space: dict[str, Any] = {}
    exec(emit([_plan(given, pointwise([read], sizes))], "test", Options()), space)
    with pytest.raises(IndexError, match=r"X1 has the index -2, out of range for axis i00 of X0"):
        space["Test"]()(torch.zeros(3, 2), torch.tensor([0, -2, 5]), torch.zeros(3, 2, 3, 1))


X, Z = Arg(0), Arg(1)
EXPRESSIONS: dict[str, Any] = {
    "affine": app("add", app("mul", Lit(2.0, R), X), app("neg", Z)),
    "quotient": app("mul", X, app("div", Z, app("add", app("mul", X, X), Lit(1.0, R)))),
    "difference": app("add", X, app("neg", app("add", Z, Lit(1.0, R)))),
    "choice": app("where", app("lt", X, Z, dtype=B), X, Lit(0.0, R)),
    "one hot": app("where", app("eq", Iota(0), Iota(1), dtype=B), Lit(1.0, R), Lit(0.0, R)),
    "iota": app("cos", app("mul", app("to_real", Iota(0)), X)),
    "size": app("mul", X, app("log", app("to_real", SizeOf(n + 1)))),
    "half": app("div", X, app("to_real", SizeOf(2 * n + 1))),
    "bool": app("mul", app("to_real", app("le", Iota(1), Iota(0), dtype=B)), X),
    "and": app(
        "where",
        app(
            "and",
            app("gt", X, Lit(0.0, R), dtype=B),
            app("not", app("gt", Z, Lit(0.5, R), dtype=B), dtype=B),
            dtype=B,
        ),
        X,
        Z,
    ),
    "max": app("max", X, Lit(0.25, R)),
    "power": app("pow", app("neg", X), Lit(2, INT)),
    "negative power": app("pow", app("add", app("mul", X, X), Lit(1.0, R)), Lit(-0.5, R)),
    "repeated": app("mul", app("exp", app("add", X, Z)), app("exp", app("add", X, Z))),
    "mod": app("mod", X, Lit(0.75, R)),
    "frac": app("frac", app("add", X, Z)),
    "sigmoid": app("sigmoid", app("silu", X)),
    "constant": app("mul", Lit(2.0, R), Lit(3.0, R)),
    "only an axis": app("to_real", Iota(1)),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_pointwise(name: str) -> None:
    given: list[Given] = [((n, m), R), ((m,), R)]
    reads = [Read(0, (At(0), At(1))), Read(1, (At(1),))]
    _check(given, pointwise(reads, (n, m), EXPRESSIONS[name]), ONES)


def test_a_long_sum_is_split_and_a_deep_expression_named() -> None:
    given: list[Given] = [((n,), R)]
    terms = [app("mul", Lit(float(i), R), X) for i in range(3000)]
    text = _check(given, pointwise([Read(0, (At(0),))], (n,), app("add", *terms)), SIZES)
    assert max(map(len, text.splitlines())) <= 100
    deep: Any = X
    for i in range(90):
        deep = app("sin", app("add", deep, Lit(float(i), R)))
    _check(given, pointwise([Read(0, (At(0),))], (n,), deep), SIZES)


def contract(
    reads: list[Read],
    sizes: tuple[Size, ...],
    rank: int,
    coefficient: Any = 1,
    semiring: Any = nodes.Semiring.SUM_PRODUCT,
) -> Node:
    return Node(nodes.Contract(coefficient, semiring), tuple(reads), sizes, rank, R)


def whole(node: int, *axes: int) -> Read:
    return Read(node, tuple(At(axis) for axis in axes))


CONTRACTS: dict[str, tuple[list[Given], Node]] = {
    "sum": ([((n, m), R)], contract([whole(0, 1, 0)], (m, n), 1)),
    "sum of all": ([((n, m), R)], contract([whole(0, 0, 1)], (n, m), 0, 0.5)),
    "repeated": ([((n,), R)], contract([whole(0, 0)], (n, m), 1, 2)),
    "linear": (
        [((b, n), R), ((m, n), R)],
        contract([whole(0, 0, 2), whole(1, 1, 2)], (b, m, n), 2),
    ),
    "linear, columns": (
        [((b, n), R), ((n, m), R)],
        contract([whole(0, 0, 2), whole(1, 2, 1)], (b, m, n), 2),
    ),
    "heads": (
        [((b, n, 6), R), ((6, 2, 3), R)],
        contract([whole(0, 0, 2, 4), whole(1, 4, 1, 3)], (b, 2, n, 3, 6), 4),
    ),
    "out of heads": (
        [((b, 2, n, 3), R), ((2, 3, 6), R)],
        contract([whole(0, 0, 3, 1, 4), whole(1, 3, 4, 2)], (b, n, 6, 2, 3), 3),
    ),
    "batched": (
        [((b, n, k), R), ((b, m, k), R)],
        contract([whole(0, 0, 1, 3), whole(1, 0, 2, 3)], (b, n, m, k), 3),
    ),
    "batched, swapped": (
        [((b, n, k), R), ((b, m, k), R)],
        contract([whole(0, 0, 2, 3), whole(1, 0, 1, 3)], (b, m, n, k), 3),
    ),
    "dot": ([((b, n), R), ((b, n), R)], contract([whole(0, 0, 1), whole(1, 0, 1)], (b, n), 1)),
    "matrix-vector": (
        [((b, n, k), R), ((b, k), R)],
        contract([whole(0, 0, 1, 2), whole(1, 0, 2)], (b, n, k), 2),
    ),
    "outer": ([((n,), R), ((m,), R)], contract([whole(0, 1), whole(1, 0)], (m, n), 2, -1.5)),
    "hadamard": ([((n, m), R), ((m, n), R)], contract([whole(0, 0, 1), whole(1, 1, 0)], (n, m), 2)),
    "scalar": ([((n,), R), ((n,), R)], contract([whole(0, 0), whole(1, 0)], (n,), 0)),
    "one side summed alone": (
        [((b, n), R), ((n, m), R)],
        contract([whole(0, 0, 1), whole(1, 1, 2)], (b, n, m), 1),
    ),
    "many": (
        [((b, n, m, k), R), ((k, b, m, n), R)],
        contract([whole(0, 0, 1, 2, 3), whole(1, 3, 0, 2, 4)], (b, n, m, k, n), 2),
    ),
    "missing axis": ([((n,), R), ((n,), R)], contract([whole(0, 1), whole(1, 1)], (m, n), 1)),
    "max-plus": (
        [((n, k), R), ((k, m), R)],
        contract([whole(0, 0, 2), whole(1, 2, 1)], (n, m, k), 2, 1, nodes.Semiring.MAX_PLUS),
    ),
    "shifted": (
        [((n, k), R), ((k, m), R)],
        contract(
            [Read(0, (aff(-1, (0, 1), boundary=ELSE), At(2)), 0.0), whole(1, 2, 1)], (n, m, k), 2
        ),
    ),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_contractions(name: str) -> None:
    given, node = CONTRACTS[name]
    sizes = ONES if "max" in name else [*ONES, {"n": 3, "m": 2, "k": 2, "b": 0}]
    _check(given, node, sizes)


def conv(
    offset: Size, stride: int, dilation: int, boundary: Boundary, count: Size, width: int = 3
) -> Node:
    """Y[b, o, x] = X[b, i, stride x + dilation u + offset] W[o, i, u] over (b, o, x, i, u)."""
    data = Read(
        0,
        (At(0), At(3), aff(offset, (2, stride), (4, dilation), boundary=boundary)),
        0.0 if boundary is ELSE else None,
    )
    return contract([data, whole(1, 1, 3, 4)], (b, 5, count, 2, width), 3)


import sympy  # noqa: E402

HALF = sympy.floor((n - 1) / sympy.Integer(2)) + 1
CONVOLUTIONS: dict[str, tuple[Size, Node, int]] = {
    "valid": (n + 2, conv(0, 1, 1, INSIDE, n), 3),
    "offset": (n + 4, conv(1, 1, 1, INSIDE, n), 3),
    "strided": (2 * n + 1, conv(0, 2, 1, INSIDE, n), 3),
    "same": (n, conv(-1, 1, 1, ELSE, n), 3),
    "causal": (n, conv(-2, 1, 1, ELSE, n), 3),
    "ahead": (n, conv(1, 1, 1, ELSE, n), 3),
    "dilated": (n, conv(-2, 1, 2, ELSE, n), 3),
    "even": (n, conv(-1, 1, 1, ELSE, n, 2), 2),
    "strided same": (n, conv(-1, 2, 1, ELSE, HALF), 3),
    "wrap": (n, conv(-2, 1, 2, WRAP, n), 3),
    "clamp": (n, conv(-1, 2, 1, CLAMP, HALF), 3),
    "reflect": (n, conv(-1, 1, 1, REFLECT, n), 3),
    "other length": (n, conv(-1, 1, 1, ELSE, m), 3),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    size, node, width = CONVOLUTIONS[name]
    text = _check([((b, 2, size), R), ((5, 2, width), R)], node, ONES)
    assert "F.conv1d" in text


def test_convolution_in_two_dimensions_with_groups() -> None:
    # Y[g, x, y, o] = X[g, i, x + u - 1, y + v] W[g, o, u, v, i]
    sizes = (2, n, m, 5, 3, 3, 2)
    data = Read(
        0, (At(0), At(6), aff(-1, (1, 1), (4, 1), boundary=ELSE), aff(0, (2, 1), (5, 1))), 0.0
    )
    node = contract([data, whole(1, 0, 3, 4, 5, 6)], sizes, 4)
    text = _check([((2, 2, n, m + 2), R), ((2, 5, 3, 3, 2), R)], node, ONES)
    assert "F.conv2d" in text and "groups=2" in text


@pytest.mark.parametrize("op", [ReduceOp.MAX, ReduceOp.MIN, ReduceOp.PROD, ReduceOp.LOGSUMEXP])
@pytest.mark.parametrize("axes", [(1, 2), (2, 1, 0)])
def test_reductions(op: ReduceOp, axes: tuple[int, ...]) -> None:
    rank = 3 - len(axes) + (1 if len(axes) == 2 else 0)
    del rank
    node = Node(
        nodes.Reduce(op), (whole(0, *axes, *(() if len(axes) == 3 else (0,))),), (n, m, k), 1, R
    )
    _check(
        [((n, m, k) if len(axes) == 3 else (m, k, n), R)] if len(axes) == 2 else [((k, m, n), R)],
        node,
        ONES,
    )


def test_reductions_over_no_cell() -> None:
    for op in (ReduceOp.MAX, ReduceOp.MIN, ReduceOp.PROD, ReduceOp.LOGSUMEXP):
        node = Node(nodes.Reduce(op), (whole(0, 1, 0),), (n, m), 1, R)
        _check([((m, n), R)], node, [{"n": 2, "m": 0}, {"n": 0, "m": 2}])


def test_any_all_argmax() -> None:
    for op in (ReduceOp.ANY, ReduceOp.ALL):
        _check([((n, m), B)], Node(nodes.Reduce(op), (whole(0, 0, 1),), (n, m), 1, B), ONES)
    _check(
        [((n, m), R)], Node(nodes.Reduce(ReduceOp.ARGMAX), (whole(0, 0, 1),), (n, m), 1, INT), ONES
    )


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("axes", [(1,), (0,), (0, 2), (1, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_softmax(axes: tuple[int, ...], log: bool, masked: bool) -> None:
    reads = (whole(0, 1, 0, 2), *((whole(1, 2, 1),) if masked else ()))
    node = Node(nodes.Softmax(axes, log), reads, (n, m, k), 3, R)
    _check([((m, n, k), R), ((k, m), B)], node, ONES)


@pytest.mark.parametrize("op", list(nodes.ScanOp))
def test_scans(op: nodes.ScanOp) -> None:
    _check([((m, n), R)], Node(nodes.Scan(op, 0), (whole(0, 1, 0),), (n, m), 2, R), ONES)


EDGE = Gather(Read(1, (At(2),)), CHECKED)
SCATTERS: dict[str, tuple[list[Given], Node, int | str]] = {
    "edges": (
        [((k, m), R), ((k,), INT)],
        Node(nodes.Scatter(ScatterOp.SUM, ((EDGE, At(1)),)), (whole(0, 2, 1),), (n, m, k), 2, R),
        "n",
    ),
    "last axis": (
        [((k, m), R), ((k,), INT)],
        Node(
            nodes.Scatter(ScatterOp.SUM, ((At(0), Gather(Read(1, (At(2),)), CHECKED)),)),
            (whole(0, 2, 0),),
            (m, n, k),
            2,
            R,
        ),
        "n",
    ),
    "max": (
        [((k, m), R), ((k,), INT)],
        Node(nodes.Scatter(ScatterOp.MAX, ((EDGE, At(1)),)), (whole(0, 2, 1),), (n, m, k), 2, R),
        "n",
    ),
    "min of a vector": (
        [((k,), R), ((k,), INT)],
        Node(
            nodes.Scatter(ScatterOp.MIN, ((Gather(Read(1, (At(1),)), CHECKED),),)),
            (whole(0, 1),),
            (n, k),
            1,
            R,
        ),
        "n",
    ),
    "two contributions": (
        [((k, m), R), ((k,), INT)],
        Node(
            nodes.Scatter(ScatterOp.MAX, ((EDGE, At(1)), (Gather(Read(1, (At(2),)), WRAP), At(1)))),
            (whole(0, 2, 1), whole(0, 2, 1)),
            (n, m, k),
            2,
            R,
        ),
        "n",
    ),
    "batched": (
        [((b, k), R), ((b, k), INT)],
        Node(
            nodes.Scatter(ScatterOp.SUM, ((At(0), Gather(Read(1, (At(0), At(2))), CHECKED)),)),
            (whole(0, 0, 2),),
            (b, n, k),
            2,
            R,
        ),
        "n",
    ),
    "two axes": (
        [((k,), R), ((k,), INT)],
        Node(
            nodes.Scatter(
                ScatterOp.SUM,
                ((Gather(Read(1, (At(2),)), WRAP), Gather(Read(1, (At(2),)), REFLECT)),),
            ),
            (whole(0, 2),),
            (n, m, k),
            2,
            R,
        ),
        20,
    ),
    "drop": (
        [((k, m), R), ((k,), INT)],
        Node(
            nodes.Scatter(ScatterOp.SUM, ((Gather(Read(1, (At(2),)), ELSE), At(1)),)),
            (whole(0, 2, 1),),
            (n, m, k),
            2,
            R,
        ),
        9,
    ),
    "drop on two": (
        [((k,), R), ((k,), INT)],
        Node(
            nodes.Scatter(
                ScatterOp.SUM, ((Gather(Read(1, (At(2),)), ELSE), aff(-1, (2, 1), boundary=ELSE)),)
            ),
            (whole(0, 2),),
            (n, m, k),
            2,
            R,
        ),
        9,
    ),
    "affine": (
        [((k, m), R)],
        Node(
            nodes.Scatter(ScatterOp.SUM, ((aff(0, (2, 1)), At(1)),)),
            (whole(0, 2, 1),),
            (k, m, k),
            2,
            R,
        ),
        2,
    ),
}


@pytest.mark.parametrize("name", SCATTERS)
def test_scatters(name: str) -> None:
    given, node, below = SCATTERS[name]
    _check(given, node, ONES, below)
