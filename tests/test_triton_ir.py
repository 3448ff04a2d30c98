"""The kernel IR: every rule of the validator has a kernel that breaks it; kernels run on numpy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tensorlang.backends.triton import attention, coverage, intervals
from tensorlang.backends.triton.attention_parts import Attention, Mask
from tensorlang.backends.triton.build import TRUE, add, call, integer, real, scale
from tensorlang.backends.triton.configs import pieces
from tensorlang.backends.triton.evaluate import run
from tensorlang.backends.triton.kernel_ir import (
    Atomic,
    Axis,
    AxisKind,
    Cast,
    Config,
    Const,
    Dot,
    DType,
    Expr,
    For,
    If,
    Iota,
    Kernel,
    Let,
    Load,
    Map,
    Part,
    Reduce,
    Reduction,
    Ref,
    Role,
    Stmt,
    Store,
    Tensor,
)
from tensorlang.backends.triton.print import launch_grid, to_triton
from tensorlang.backends.triton.tails import mask_tails
from tensorlang.backends.triton.text import to_text
from tensorlang.backends.triton.validate import problems, validate

ROW, COL, LANE = Iota("i"), Iota("j"), Iota("c")
N, M = Ref("N"), Ref("M")
CAUSAL = call("le", COL, ROW)
WINDOW = call("and", CAUSAL, call("lt", call("add", ROW, call("neg", COL)), integer(5)))
ACC, CT = DType.ACCUMULATE, DType.COMPUTE


def _kernel(
    *body: Stmt,
    axes: tuple[Axis, ...] = (),
    config: Config | None = None,
    tensors: tuple[Tensor, ...] = (),
) -> Kernel:
    """Rows i of X[N, M] to Y[N]."""
    own = (
        Axis("i", AxisKind.TILE, N, "BM"),
        Axis("j", AxisKind.CHUNK, M, "BN"),
        Axis("c", AxisKind.LANE, integer(24), 32),
    )
    named = {axis.name: axis for axis in (*own, *axes)}
    return Kernel(
        "k",
        "A kernel.",
        (
            Tensor("X", Role.IN, CT, (N, M)),
            Tensor("Q", Role.IN, CT, (N, integer(24))),
            Tensor("K", Role.IN, CT, (M, integer(24))),
            Tensor("Y", Role.OUT, CT, (N,)),
            Tensor("S", Role.ACC, ACC, (N,)),
            *tensors,
        ),
        ("N", "M"),
        tuple(named.values()),
        body,
        (config or Config((("BM", 16), ("BN", 16))),),
    )


def _x(dtype: DType = ACC, other: float = 0.0) -> Expr:
    return Cast(Load("X", (ROW, COL), None, other), dtype)


ZERO = Let("s", Const(0.0, ACC, ("i",)))
SUM = Let("s", call("add", Ref("s"), Reduce(Reduction.SUM, _x(), "j")))
LOOP = For("j", integer(0), M, ("s",), (SUM,))
STORE = Store("Y", (ROW,), Ref("s"))
RIGHT = mask_tails(_kernel(ZERO, LOOP, STORE))


def test_a_right_kernel_has_no_problem_and_sums_rows() -> None:
    validate(RIGHT)
    x = np.random.default_rng(0).standard_normal((19, 37))
    y = np.full(19, np.nan)
    empty = np.zeros((19, 24))
    run(
        RIGHT,
        {"X": x, "Y": y, "Q": empty, "K": np.zeros((37, 24)), "S": y.copy()},
        {"N": 19, "M": 37},
    )
    np.testing.assert_allclose(y, x.sum(1), rtol=1e-13)


def _with(**changes: object) -> Kernel:
    return replace(RIGHT, **changes)  # type: ignore[arg-type]


def _looped(*body: Stmt, carried: tuple[str, ...] = ("s",), **changes: object) -> Kernel:
    loop = replace(For("j", integer(0), M, carried, body), **changes)  # type: ignore[arg-type]
    return mask_tails(_kernel(ZERO, loop, STORE))


_Q = Let("q", Cast(Load("Q", (ROW, LANE)), CT))
_K = Let("k", Cast(Load("K", (COL, LANE)), CT))
_MAX = Let("m", Reduce(Reduction.MAX, _x(other=-math.inf), "j"))
_EXP = Let("p", call("exp2", call("sub", _x(), Ref("m"))))
_DOUBLE = Let("s", Cast(call("add", Ref("s"), Reduce(Reduction.SUM, _x(), "j")), DType.INT))

WRONG: dict[str, tuple[str, Kernel]] = {
    "no grid": ("11", mask_tails(_kernel(axes=(Axis("i", AxisKind.CHUNK, N, "BM"),)))),
    "block no power of two": ("1", _with(configs=(Config((("BM", 24), ("BN", 16))),))),
    "lane too long": ("1", mask_tails(_kernel(axes=(Axis("c", AxisKind.LANE, integer(40), 32),)))),
    "grid with a block": ("1", _kernel(axes=(Axis("g", AxisKind.GRID, N, 16),))),
    "too many cells": (
        "1",
        mask_tails(
            _kernel(
                Let("x", Const(0.0, ACC, ("i", "j"))), config=Config((("BM", 512), ("BN", 128)))
            )
        ),
    ),
    "dot of small blocks": (
        "1",
        replace(
            _looped(_Q, _K, Let("s", Reduce(Reduction.MAX, Dot(Ref("q"), Ref("k"), "c"), "j"))),
            configs=(Config((("BM", 16), ("BN", 8))),),
        ),
    ),
    "dot of rank 1": (
        "1",
        _looped(_Q, Let("t", Dot(Ref("q"), Cast(Ref("s"), CT), "c")), SUM),
    ),
    "load without mask": ("2", _kernel(ZERO, LOOP, STORE)),
    "sum of a tail that is not 0": (
        "2",
        _looped(Let("s", Reduce(Reduction.SUM, _x(other=1.0), "j"))),
    ),
    "maximum of a tail that is 0": ("2", _looped(Let("s", Reduce(Reduction.MAX, _x(), "j")))),
    "sum of an exponential of a tail": (
        "2",
        _looped(Let("s", Reduce(Reduction.SUM, call("exp", _x()), "j"))),
    ),
    "reduction over nothing": ("2", _looped(Let("s", Reduce(Reduction.SUM, Ref("s"), "j")))),
    "store by every iteration": ("3", _looped(SUM, STORE)),
    "store that forgets the grid": (
        "3",
        mask_tails(_kernel(ZERO, LOOP, STORE, axes=(Axis("g", AxisKind.GRID, N),))),
    ),
    "store of more than has place": ("3", mask_tails(_kernel(Store("Y", (ROW,), _x())))),
    "store to a collision": (
        "3",
        mask_tails(_kernel(ZERO, LOOP, Store("Y", (call("floordiv", ROW, integer(2)),), Ref("s")))),
    ),
    "atomic on a result": ("3", mask_tails(_kernel(ZERO, LOOP, Atomic("Y", (ROW,), Ref("s"))))),
    "name before it is bound": ("4", mask_tails(_kernel(STORE))),
    "carried changes its type": ("4", _looped(_DOUBLE)),
    "carried but not bound": ("4", _looped(SUM, carried=("s", "t"))),
    "bound twice": ("4", mask_tails(_kernel(ZERO, ZERO, LOOP, STORE))),
    "dot in float32": (
        "4",
        _looped(
            Let("q", Cast(Load("Q", (ROW, LANE)), ACC)),
            _K,
            Let("s", Reduce(Reduction.MAX, Dot(Ref("q"), Ref("k"), "c"), "j")),
        ),
    ),
    "load that is not cast": (
        "5",
        _looped(Let("s", Reduce(Reduction.SUM, Load("X", (ROW, COL)), "j"))),
    ),
    "arithmetic in storage": (
        "5",
        _looped(Let("s", Reduce(Reduction.SUM, Cast(call("mul", _x(CT), _x(CT)), ACC), "j"))),
    ),
    "loop that starts inside a block": ("7", _looped(SUM, lo=integer(1))),
    "loop that starts before 0": ("7", _looped(SUM, lo=integer(-4))),
    "loop that stops early": ("7", _looped(SUM, hi=call("floordiv", M, integer(2)))),
    "full loop past the end": ("7", _looped(SUM, full=True)),
    "maximum that may be -inf": (
        "8",
        _looped(_MAX, _EXP, Let("s", Reduce(Reduction.MAX, Ref("p"), "j"))),
    ),
    "condition that is a tile": ("9", mask_tails(_kernel(If(call("lt", ROW, N), (ZERO,))))),
    "bound that is a tile": ("9", _looped(SUM, hi=ROW)),
    "loop over a lane": (
        "9",
        mask_tails(_kernel(ZERO, For("c", integer(0), N, (), ()), STORE)),
    ),
    "too many registers": (
        "10",
        _with(configs=(Config((("BM", 16384), ("BN", 1)), warps=1),)),
    ),
    "store to an input": ("14", mask_tails(_kernel(ZERO, LOOP, Store("S", (ROW,), Ref("s"))))),
    "read of a result": (
        "14",
        mask_tails(_kernel(Let("y", Cast(Load("Y", (ROW,)), ACC)))),
    ),
    "index of another rank": (
        "14",
        mask_tails(_kernel(ZERO, LOOP, Store("Y", (ROW, LANE), Ref("s")))),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_validator_refuses(name: str) -> None:
    rule, kernel = WRONG[name]
    found = problems(kernel)
    assert any(problem.startswith(f"{rule}:") for problem in found), found


def test_a_full_loop_must_stay_inside_the_support() -> None:
    axis = Axis("j", AxisKind.CHUNK, M, "BN", support=CAUSAL)
    whole = call("mul", call("floordiv", M, Ref("BN")), Ref("BN"))
    kernel = _kernel(ZERO, replace(LOOP, hi=whole, full=True), STORE, axes=(axis,))
    assert any("outside its support" in p for p in coverage.problems(mask_tails(kernel)))


def test_two_programs_must_not_share_a_block() -> None:
    axes = (Axis("p", AxisKind.GRID, Ref("P")), Axis("i", AxisKind.CHUNK, N, "BM"))
    walk = For("i", scale(Iota("p"), 0), N, (), (Store("Y", (ROW,), Const(0.0, ACC, ("i",))),))
    kernel = replace(_kernel(walk, axes=axes), sizes=("N", "M", "P"))
    assert any(p.startswith("3:") for p in problems(mask_tails(kernel)))


# --- loop bounds ---------------------------------------------------------------------------------
CONDITIONS: dict[str, Expr | None] = {
    "none": None,
    "causal": CAUSAL,
    "window": WINDOW,
    "future": call("gt", COL, ROW),
    "shifted": call("le", call("add", COL, integer(-3)), ROW),
    "reversed": call("le", call("add", ROW, COL), call("add", N, integer(-1))),
    "band": call("eq", ROW, call("add", COL, integer(2))),
    "strided": call("le", call("mul", ROW, integer(2)), COL),
    "of the query alone": call("and", CAUSAL, call("gt", ROW, integer(2))),
    "either": call("or", CAUSAL, call("eq", COL, integer(0))),
    "never": call("and", call("lt", COL, ROW), call("gt", COL, ROW)),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_loops_cover_what_the_condition_lets_through(name: str) -> None:
    for kernel in attention.kernels(Attention("a", 1, 16, 16, 0.3, CONDITIONS[name])):
        assert not list(coverage.problems(kernel))


def test_affine_conditions_become_bounds() -> None:
    (edge,) = [s for s in intervals.segments(CAUSAL, "i", "BM", "j", "BN", M) if not s.full]
    assert "i_first" in repr(edge.hi)
    assert len(intervals.segments(WINDOW, "i", "BM", "j", "BN", M)) == 3
    assert len(intervals.segments(CONDITIONS["either"], "i", "BM", "j", "BN", M)) == 1


# --- attention on numpy --------------------------------------------------------------------------
def _attend(spec: Attention, n: int, m: int, keep: np.ndarray) -> None:  # type: ignore[type-arg]
    """Every kernel against float64 torch, forward and gradients."""
    rng = np.random.default_rng(0)
    b = (2, 1)[: spec.batch]
    q = rng.standard_normal((*b, n, spec.features))
    k = rng.standard_normal((*b, m, spec.features))
    v, g = rng.standard_normal((*b, m, spec.values)), rng.standard_normal((*b, n, spec.values))
    arrays = {"Q": q, "K": k, "V": v, "G": g, "M0": keep}
    arrays |= {"O": np.full_like(g, np.nan), "L": np.full((*b, n), np.nan)}
    arrays |= {"D": np.full((*b, n), np.nan)}
    arrays |= {f"D{x}": np.full_like(arrays[x], np.nan) for x in "QKV"}
    sizes = {f"B{i}": size for i, size in enumerate(b)} | {"N": n, "M": m}
    for kernel in attention.kernels(spec):
        run(kernel, {t.name: arrays[t.name] for t in kernel.tensors}, sizes, kernel.configs[-1])
    Q, K, V = (torch.tensor(arrays[x], requires_grad=True) for x in "QKV")
    logits = (Q @ K.mT * spec.scale).masked_fill(~torch.tensor(keep), -torch.inf)
    alive = torch.tensor(keep).any(-1, keepdim=True)
    P = torch.softmax(logits.masked_fill(~alive, 0.0), -1).masked_fill(~alive, 0.0)
    made = P @ V
    wanted = [made, *torch.autograd.grad(made, (Q, K, V), torch.tensor(g))]
    for name, want in zip(("O", "DQ", "DK", "DV"), wanted, strict=True):
        np.testing.assert_allclose(
            arrays[name], want.detach().numpy(), rtol=1e-11, atol=1e-12, err_msg=name
        )
    lse = torch.logsumexp(logits, -1) / math.log(2)
    want = torch.where(alive[..., 0], lse, torch.inf).detach().expand(*b, n)
    np.testing.assert_allclose(arrays["L"], want.numpy(), rtol=1e-11)


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (37, 37), (19, 35)])
def test_attention_kernels(name: str, n: int, m: int) -> None:
    i, j = np.mgrid[:n, :m]
    positions = {"i": i, "j": j}
    condition = CONDITIONS[name]
    keep = np.ones((n, m), bool) if condition is None else _truth(condition, positions, n)
    _attend(Attention("a", 2, 6, 6, 0.3, condition), n, m, keep)


def _truth(expr: Expr, at: dict[str, np.ndarray], n: int) -> np.ndarray:  # type: ignore[type-arg]
    match expr:
        case Iota(axis):
            return at[axis]
        case Const(value):
            return np.asarray(value)
        case Ref():
            return np.asarray(n)
        case Map(op, args):
            values = [_truth(arg, at, n) for arg in args]
            table = {
                "le": np.less_equal, "lt": np.less, "gt": np.greater, "eq": np.equal,
                "and": np.logical_and, "or": np.logical_or, "add": np.add, "mul": np.multiply,
                "neg": np.negative,
            }  # fmt: skip
            return np.asarray(table[op](*values))
    raise AssertionError(expr)


@pytest.mark.parametrize("size", [3, 16, 24, 48, 80])
def test_head_sizes_that_are_no_powers_of_two(size: int) -> None:
    _attend(Attention("a", 1, size, 20, 0.2, CAUSAL), 21, 21, np.tri(21, dtype=bool))


@pytest.mark.parametrize("scale_", [-0.4, 0.0])
def test_a_scale_that_is_not_positive(scale_: float) -> None:
    _attend(Attention("a", 0, 8, 8, scale_), 9, 20, np.ones((9, 20), bool))


def test_a_mask_read_per_cell_with_empty_rows() -> None:
    keep = np.random.default_rng(1).random((21, 34)) < 0.5
    keep[[0, 7, 20]] = False
    mask = Mask("M0", DType.BOOL, (ROW, COL), (N, M))
    condition = Cast(Load("M0", (ROW, COL)), DType.BOOL)
    _attend(Attention("a", 1, 8, 5, 0.3, condition, (mask,)), 21, 34, keep)
    both = call("and", condition, call("lt", COL, integer(20)))
    _attend(Attention("a", 1, 8, 5, 0.3, both, (mask,)), 21, 34, keep & (np.arange(34) < 20))


def test_pieces_of_a_head() -> None:
    assert pieces(96) == ((0, 64), (64, 32))
    assert pieces(80) == ((0, 64), (64, 16))
    assert pieces(6) == ((0, 16),)
    assert pieces(112) == ((0, 128),)


# --- evaluator and printers ----------------------------------------------------------------------
def test_the_evaluator_refuses_what_a_gpu_would_not_notice() -> None:
    n, m = 5, 7
    arrays = {"X": np.ones((n, m)), "Y": np.zeros(n), "Q": np.ones((n, 24))}
    arrays |= {"K": np.ones((m, 24)), "S": np.zeros(n)}
    sizes = {"N": n, "M": m}
    with pytest.raises(AssertionError, match="outside"):
        run(_kernel(ZERO, LOOP, STORE), arrays, sizes)
    with pytest.raises(AssertionError, match="stored twice"):
        run(_looped(SUM, STORE, STORE), arrays, sizes)


def test_atomics_add() -> None:
    arrays = {"X": np.ones((5, 7)), "Y": np.zeros(5), "Q": np.ones((5, 24)), "K": np.ones((7, 24))}
    arrays["S"] = np.zeros(5)
    kernel = mask_tails(_kernel(ZERO, LOOP, Atomic("S", (ROW,), Ref("s"))))
    for _ in range(2):
        run(kernel, arrays, {"N": 5, "M": 7})
    np.testing.assert_array_equal(arrays["S"], np.full(5, 14.0))
    assert "tl.atomic_add(" in to_triton(kernel)


def test_parts_split_a_position_row_major() -> None:
    axes = (Axis("i", AxisKind.TILE, N, "BM", (Part("a", integer(3)), Part("b", integer(4)))),)
    made = Tensor("Z", Role.OUT, CT, (integer(4), integer(3)))
    store = Store("Z", (Iota("b"), Iota("a")), Cast(ROW, ACC))
    kernel = mask_tails(_kernel(store, axes=axes, tensors=(made,)))
    assert not problems(kernel)
    z = np.zeros((4, 3))
    run(kernel, {"Z": z, "Y": np.zeros(12)}, {"N": 12, "M": 1})
    np.testing.assert_array_equal(z, np.arange(12).reshape(3, 4).T)


def test_printed_and_shown() -> None:
    text = to_triton(RIGHT)
    assert "tl.sum(" in text and "mask=" in text and "make_block_ptr" not in text
    compile(text, "kernel", "exec")
    assert launch_grid(RIGHT) == "((N + BM - 1) // BM)"
    assert "for j in 0 .. M carrying s:" in to_text(RIGHT)
    assert to_triton(RIGHT) == to_triton(RIGHT)


def test_integers_fold() -> None:
    assert add(integer(2), N, integer(-2)) == N
    assert scale(add(N, integer(1)), -1) == add(scale(N, -1), integer(-1))
    assert scale(N, 0) == integer(0)
    assert real(2) == Const(2.0, ACC)
    assert TRUE.value is True
