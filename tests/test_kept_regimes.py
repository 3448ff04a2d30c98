"""In eval() without grad a formed weight costs nothing: other forms are best, at other sizes."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tensorlang as tl
from tensorlang.driver import Compiled
from tensorlang.options import Options
from tensorlang.order.grid import grid
from tensorlang.order.kept import kept_trees
from tensorlang.order.prices import price
from tensorlang.order.profile import PROFILES
from tensorlang.order.trees import Problem, Product, every_tree, pairs
from tensorlang.plan.kept import chosen_regimes
from tensorlang.plan.plan import Cost, Regime, Region
from tensorlang.plan.regimes import regime_at
from tensorlang.size import dynamic
from tests.test_kept_weights import counted

LINEAR = """
layer L(i = 256, r = 192):
    dim    o = i
    input  X[..., i]
    param  W[o, i] ~ kaiming as {form}
    param  bias[o] ~ normal
    output Y[..., o] = X[..., i] * W[o, i] + bias[o]
"""
TRAIN = """
layer L(a = 8, r = 6):
    dim    b = a, c = a, d = a
    input  X[n, (a b)]
    param  W[(c d), (a b)] ~ kaiming as tt(rank = r)
    output Y[n, (c d)] = X[n, (a b)] * W[(c d), (a b)]
"""
N = dynamic("n")


def region(compiled: Compiled) -> Region:
    (stages,) = compiled.stages.values()
    (found,) = stages.plan.regions
    return found


def names(regime: Regime) -> list[str]:
    return [step.name for step in regime.steps]  # type: ignore[union-attr]


def written(folder: Path, text: str, **fields: object) -> Path:
    path = folder / "layer.tl"
    path.write_text(text.format(**fields))
    return path


# --- what is planned ------------------------------------------------------------------------------
def test_a_kept_weight_is_used_where_training_takes_the_factors(tmp_path: Path) -> None:
    path = written(tmp_path, LINEAR, form="lowrank(rank = r)")
    regimes = region(tl.compile(path)).regimes
    assert names(regime_at(regimes, {"...": 100})) == ["X_W_i", "Y_dot", "Y"]
    assert names(regime_at(regimes, {"...": 100}, kept=True)) == ["W_o_W_i", "Y_dot", "Y"]


def test_a_form_of_training_alone_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, LINEAR, form="tucker(ranks = [r, r])")
    compiled = tl.compile(path)
    chain, weight = region(compiled).regimes
    assert not chain.serves(kept=True) and weight.serves(kept=True)
    assert "not kept and batch_size <= " in compiled.source


def test_factors_of_low_rank_are_used_although_a_weight_could_be_kept(tmp_path: Path) -> None:
    path = written(tmp_path, LINEAR, form="lowrank(rank = r)")
    (only,) = region(tl.compile(path, bind={"i": 1024, "r": 8})).regimes
    assert names(only) == ["X_W_i", "Y_dot", "Y"] and not only.asks


def test_the_same_trees_at_other_sizes_are_two_bounds_of_one_regime(tmp_path: Path) -> None:
    path = written(tmp_path, TRAIN)
    compiled = tl.compile(path, bind={"a": 16, "r": 6})
    first, _ = region(compiled).regimes
    assert first.kept is None and first.when(kept=True) != first.thresholds
    assert " if kept else " in compiled.source and compiled.source.count("def _weights") == 1


@pytest.mark.parametrize("profile", ["cpu", "h100"])
@pytest.mark.parametrize("rank", [4, 16, 64, 256])
def test_regimes_of_kept_weights_are_near_the_best(rank: int, profile: str) -> None:
    n, i, r, o = range(4)
    product = Product(tuple(map(frozenset, ((n, i), (i, r), (r, o)))), frozenset((n, o)))
    problem = Problem(product, (N, 512, rank, 512), frozenset((1, 2)))
    options = Options(profile=profile)
    chosen = chosen_regimes(["n"], [problem], options)
    free = Cost({}, {}, {})
    regimes = [Regime((), w.thresholds, free, w.kept, w.if_kept) for w, _ in chosen]
    for kept in (False, True):
        there = problem.kept if kept else frozenset()
        far = 0
        for point in grid(["n"], options):
            sizes = problem.at(point)
            cost = {t: price(product, t, sizes, PROFILES[profile], there) for t in every_tree(3)}
            taken = regime_at(regimes, point, kept)
            (tree,) = next(t for (_, t), r in zip(chosen, regimes, strict=True) if r is taken)
            far += cost[tree] > 1.15 * min(cost.values())
        assert far <= 1, kept


def test_trees_for_kept_operands_multiply_them_first() -> None:
    generator = np.random.default_rng(0)
    for count in (5, 6, 9, 12):
        operands = [frozenset((0, 1)), *(frozenset((k, k + 1)) for k in range(1, count))]
        product = Product(tuple(operands), frozenset((0, count)))
        sizes = {k: int(generator.integers(2, 40)) for k in range(count + 1)}
        kept = frozenset(range(1, count))
        for tree in kept_trees(product, kept, sizes, PROFILES["cpu"]):
            steps = list(pairs(product, tree))
            assert len(steps) == count - 1 and steps[-1].result == product.output
        first = kept_trees(product, kept, sizes, PROFILES["cpu"])[0]
        assert all(0 not in (a, b) for a, b in first[:-1])
    assert kept_trees(product, frozenset((3,)), sizes, PROFILES["cpu"]) == []


def test_a_kept_weight_lies_as_its_reader_wants_it(tmp_path: Path) -> None:
    layer = tl.load(written(tmp_path, TRAIN)).L(a=8, r=60).eval()
    x = torch.randn(3, 64)
    with torch.no_grad():
        layer(x)
        emitted = next(c for c in type(layer).__mro__ if "_weights" in vars(c))
        weight = layer._weights()
    assert weight.is_contiguous() and weight.shape == (8, 8, 8, 8)
    (line,) = (
        line for line in inspect.getsource(emitted.forward).splitlines() if "F.linear(X" in line
    )
    assert "permute" not in line and "transpose" not in line and ".mT" not in line


# --- what runs ------------------------------------------------------------------------------------
SHAPES = [(1,), (3,), (0,), (31,), (32,), (127,), (128,), (2, 5), (511,), (512,)]


@pytest.mark.parametrize("form", ["lowrank(rank = r)", "tucker(ranks = [r, r])"])
@pytest.mark.parametrize(("size", "rank"), [(64, 3), (64, 35), (64, 48), (256, 192)])
def test_every_call_gives_the_same(tmp_path: Path, form: str, size: int, rank: int) -> None:
    torch.manual_seed(0)
    layer = tl.load(written(tmp_path, LINEAR, form=form)).L(i=size, r=rank, dtype=torch.float64)
    for shape in SHAPES:
        x = torch.randn(*shape, size, dtype=torch.float64)
        with torch.no_grad():
            factors = {key: value.T for key, value in layer.W.named_parameters()}
            core = factors.get("core", torch.eye(rank, dtype=torch.float64)).T
            want = x @ factors["i"].T @ core.T @ factors["o"] + layer.bias
        for mode in (True, False):
            layer.train(mode)
            torch.testing.assert_close(layer(x), want)
            with torch.no_grad():
                torch.testing.assert_close(layer(x), want)
                torch.testing.assert_close(layer(x), want)


def test_trains_whose_bounds_differ_give_the_same(tmp_path: Path) -> None:
    layer = tl.load(written(tmp_path, TRAIN)).L(a=16, r=6, dtype=torch.float64)
    for n in (1, 31, 32, 127, 128):
        x = torch.randn(n, 256, dtype=torch.float64)
        want = layer.train()(x)
        with torch.no_grad():
            torch.testing.assert_close(layer.eval()(x), want)


def test_weights_are_formed_where_they_are_kept_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tl.load(written(tmp_path, LINEAR, form="lowrank(rank = r)")).L()
    calls, x = counted(layer, monkeypatch), torch.randn(100, 256)
    layer.train()(x).sum().backward()
    layer.eval()(x).sum().backward()
    assert calls == []
    with torch.no_grad():
        layer(x), layer(x)
    assert len(calls) == 1
    with torch.no_grad():
        layer.train()(x)
    assert len(calls) == 1


def test_traced_modules_keep_nothing(tmp_path: Path) -> None:
    layer: nn.Module = tl.load(written(tmp_path, LINEAR, form="lowrank(rank = r)")).L().eval()
    x = torch.randn(100, 256)
    with torch.no_grad():
        want = layer(x)
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), want)
        layer.W.o.mul_(2)
        torch.testing.assert_close(compiled(x), layer(x))
        torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


def test_a_layer_that_returns_its_weight_keeps_none(tmp_path: Path) -> None:
    text = """
layer L(i = 256, r = 192):
    dim    o = i
    input  X[n, i]
    param  W[o, i] ~ kaiming as lowrank(rank = r)
    output Y[n, o] = X[n, i] * W[o, i]
    output V[o, i] = 2 * W[o, i]
"""
    path = written(tmp_path, text)
    assert not any(regime.asks for regime in region(tl.compile(path)).regimes)
    layer, x = tl.load(path).L(dtype=torch.float64).eval(), torch.randn(9, 256, dtype=torch.float64)
    with torch.no_grad():
        layer(x)[1].zero_()
        got, weight = layer(x)
        torch.testing.assert_close(got, x @ weight.T / 2)
        assert weight.abs().sum() > 0


def test_a_bound_on_memory_is_kept_by_weights_too(tmp_path: Path) -> None:
    path = written(tmp_path, LINEAR, form="lowrank(rank = r)")
    bound = 256 * 256 * 4 - 1
    regimes = region(tl.compile(path, memory=bound)).regimes
    assert names(regime_at(regimes, {"...": 100}, kept=True)) == ["X_W_i", "Y_dot", "Y"]
