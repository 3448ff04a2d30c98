"""Every example: the rewritten graph and every regime of its plan keep the value of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tensorlang.check.check import check_layer
from tensorlang.check.spec import load_spec
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Call
from tensorlang.ir.verify import verify
from tensorlang.lower import lower
from tensorlang.options import Options
from tensorlang.plan.planner import plan
from tensorlang.reference import border
from tensorlang.rewrite.pipeline import names, rewrite
from tensorlang.size import evaluate
from tests.example_cases import CASES, LARGE, ONES, SMALL, Case, Sizes
from tests.graph_values import values
from tests.plan_values import settle

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SIZES = pytest.mark.parametrize("sizes", (SMALL, LARGE, ONES), ids=("small", "large", "ones"))


_GRAPHS: dict[str, Graph] = {}


def _graph(case: Case) -> Graph:
    if case.name not in _GRAPHS:
        _GRAPHS[case.name] = _lowered(case)
    return _GRAPHS[case.name]


def _lowered(case: Case) -> Graph:
    hypers = {k: tuple(v) if isinstance(v, list) else v for k, v in case.hypers.items()}
    return lower(check_layer(load_spec(case.path), case.layer, hypers))


def _params(graph: Graph, seed: int) -> dict[str, Any]:
    """Values for the layer's params and its sub-layers', by the names of the state_dict."""
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {}

    def fill(program: Any, prefix: str) -> None:
        for param in program.params:
            shape = tuple(int(axis.size) for axis in param.axes)
            out[prefix + param.name] = rng.normal(size=shape) / 2
        for sub in program.subs:
            stages = [""] if sub.count is None else [f".{k}" for k in range(sub.count)]
            for stage in stages:
                fill(sub.program, f"{prefix}{sub.name}{stage}.")

    fill(graph.program, "")
    return out


@EVERY
@SIZES
def test_rewriting_keeps_the_value(case: Case, sizes: Sizes) -> None:
    if sizes is ONES and not case.ones:
        pytest.skip("some sizes must be larger")
    graph = _graph(case)
    rewritten, _ = rewrite(graph, Options())
    verify(rewritten)
    inputs = [np.asarray(tensor) for tensor in case.draw(sizes)]
    params = _params(graph, 1)
    for ours, theirs in zip(
        values(rewritten, inputs, params), values(graph, inputs, params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@EVERY
def test_rewriting_a_second_time_changes_nothing(case: Case) -> None:
    once, _ = rewrite(_graph(case), Options())
    again, applied = rewrite(once, Options())
    assert applied == ()
    assert [again.node(k) for k in again.alive()] == [once.node(k) for k in once.alive()]


@EVERY
def test_every_rewrite_can_be_left_out(case: Case) -> None:
    graph = _graph(case)
    inputs = [np.asarray(tensor) for tensor in case.draw(SMALL)]
    params = _params(graph, 1)
    expected = values(graph, inputs, params)
    for without in (*((name,) for name in names()), tuple(names())):
        rewritten, _ = rewrite(graph, Options(without=without))
        for ours, theirs in zip(values(rewritten, inputs, params), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@EVERY
@SIZES
@pytest.mark.parametrize("rewriting", (True, False), ids=("rewritten", "as-lowered"))
def test_every_regime_of_the_plan_has_the_value_of_the_graph(
    case: Case, sizes: Sizes, rewriting: bool
) -> None:
    if sizes is ONES and not case.ones:
        pytest.skip("some sizes must be larger")
    graph = _graph(case)
    if any(isinstance(graph.node(k).op, Call) for k in graph.alive()):
        pytest.skip("sub-layers have plans of their own")
    inputs = [np.asarray(tensor) for tensor in case.draw(sizes)]
    params = _params(graph, 1)
    expected = values(graph, inputs, params)
    if rewriting:
        graph, _ = rewrite(graph, Options())
    ours = plan(graph, Options())
    bound = border.bind(graph.program, inputs)
    leaves: dict[int, Any] = dict(zip(ours.inputs, bound.inputs, strict=True))
    leaves |= {slot: params[name] for name, slot in ours.params}
    for region in ours.regions:
        for regime in region.regimes:
            found = settle(ours, regime, leaves, bound.sizes)
            _compare(ours, found, expected, bound.sizes)


def _compare(ours: Any, found: Mapping[int, Any], expected: Any, sizes: Any) -> None:
    for slot, theirs in zip(ours.outputs, expected, strict=True):
        shape = tuple(evaluate(size, sizes) for size in ours.shapes[slot])
        np.testing.assert_allclose(found[slot], theirs.reshape(shape), rtol=1e-9, atol=1e-11)
