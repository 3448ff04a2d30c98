"""For tests of rewrites and plans: a layer from text, its graphs, its value on random inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorlang.check.check import check_layer
from tensorlang.check.program import Program
from tensorlang.check.spec import spec_of_text
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Op
from tensorlang.ir.verify import verify
from tensorlang.lower import lower
from tensorlang.options import Options
from tensorlang.reference import border
from tensorlang.rewrite.engine import Applied
from tensorlang.rewrite.pipeline import rewrite
from tensorlang.size import evaluate
from tests.graph_values import values
from tests.plan_values import settle

SMALL = {"b": 2, "n": 5, "m": 3, "t": 7, "i": 4, "j": 3}
SIZES = (SMALL, {"b": 1, "n": 1, "m": 2, "t": 1, "i": 1, "j": 1}, {**SMALL, "n": 11, "b": 3})


def layer(body: str, **hypers: Any) -> Graph:
    """The graph of a layer whose statements these are."""
    lines = "\n".join(f"    {line.strip()}" for line in body.strip().splitlines())
    names = ", ".join(hypers)
    spec = spec_of_text(f"layer L({names}):\n{lines}\n")
    return lower(check_layer(spec, "L", hypers))


def drawn(
    program: Program, sizes: Mapping[str, int], seed: int = 0
) -> tuple[list[Any], dict[str, Any]]:
    """Inputs at these sizes and params; ints are 0 … 2."""
    rng = np.random.default_rng(seed)

    def draw(axes: Any, dtype: Dtype) -> Any:
        shape = tuple(evaluate(axis.size, sizes) for axis in axes)
        match dtype:
            case Dtype.BOOL:
                return rng.random(shape) < 0.6
            case Dtype.INT:
                return rng.integers(0, 3, shape)
            case Dtype.COMPLEX:
                return rng.normal(size=shape) + 1j * rng.normal(size=shape)
        return rng.normal(size=shape)

    inputs = [draw(given.axes, given.dtype) for given in program.inputs]
    return inputs, {param.name: draw(param.axes, param.dtype) for param in program.params}


def rewritten(graph: Graph, *without: str, **options: Any) -> tuple[Graph, tuple[Applied, ...]]:
    """The rewritten graph, verified and equal in value to the one given at several sizes."""
    out, applied = rewrite(graph, Options(without=without, **options))
    verify(out)
    for sizes in SIZES:
        inputs, params = drawn(graph.program, sizes)
        for ours, theirs in zip(
            values(out, inputs, params), values(graph, inputs, params), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12, equal_nan=False)
    return out, applied


def operations(graph: Graph, kind: type[Any]) -> list[Op]:
    """Operations of one kind among the nodes alive."""
    return [op for k in graph.alive() if isinstance(op := graph.node(k).op, kind)]


def rules(applied: Sequence[Applied]) -> set[str]:
    return {one.rule for one in applied}


def same_value(graph: Graph, plan: Any, sizes: Mapping[str, int]) -> None:
    """Every regime of the plan has the value of the graph."""
    inputs, params = drawn(graph.program, sizes)
    expected = values(graph, inputs, params)
    bound = border.bind(graph.program, inputs)
    leaves: dict[int, Any] = dict(zip(plan.inputs, bound.inputs, strict=True))
    leaves |= {slot: params[name] for name, slot in plan.params}
    for region in plan.regions:
        for regime in region.regimes:
            found = settle(plan, regime, leaves, bound.sizes)
            for slot, theirs in zip(plan.outputs, expected, strict=True):
                shape = tuple(evaluate(size, bound.sizes) for size in plan.shapes[slot])
                np.testing.assert_allclose(
                    found[slot], np.reshape(theirs, shape), rtol=1e-9, atol=1e-11
                )
