"""Gradients in the graph of every example, before and after rewriting, against its oracle's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tensorlang.backends.torch import emit
from tensorlang.check.program import Equation, Input, Literal, Param, Program
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes as ir
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Call, NodeId
from tensorlang.lower import lower
from tensorlang.options import Options
from tensorlang.plan.plan import Unit
from tensorlang.plan.planner import plan
from tensorlang.rewrite.pipeline import rewrite
from tests.differentiating import Given, leaves, nodes_at, pulled, waves
from tests.example_cases import CASES, ONES, SMALL, Case, Sizes
from tests.test_examples import _params, _program

POLYNOMIALS = ("Linear", "Trilinear", "TTLinear", "CGProduct", "GauntProduct", "FLoRALinear")


def whole(case: Case) -> bool:
    """Whether a layer is one graph: it calls no other."""
    graph = lower(_program(case))
    return not any(isinstance(graph.node(k).op, Call) for k in graph.alive())


WHOLE = [case for case in CASES if whole(case)]


class Sides:
    """One example on one draw: our gradients, and torch's of the oracle, order by order."""

    def __init__(self, case: Case, sizes: Sizes) -> None:
        program = _program(case)
        drawn, params = case.draw(sizes), _params(case)
        self.graph = lower(program)
        self.given: Given = ([x.numpy() for x in drawn], {k: v.numpy() for k, v in params.items()})
        inputs = [x.requires_grad_(x.is_floating_point()) for x in drawn]
        named = {k: v.requires_grad_() for k, v in params.items()}
        self.leaves: list[Tensor] = []
        for node in leaves(self.graph):
            op = self.graph.node(node).op
            self.leaves.append(inputs[op.position] if isinstance(op, ir.Input) else named[op.name])  # type: ignore[union-attr]
        value = case.oracle(named, case.hypers, *inputs)
        self.values: Sequence[Tensor] = value if isinstance(value, tuple) else (value,)
        self.nodes: list[NodeId] = list(self.graph.outputs)

    def differentiate(self, phase: float) -> None:
        """From values to the gradients of their weighted sum."""
        weights = nodes_at(
            self.graph, [waves(self.graph, node, phase) for node in self.nodes], *self.given
        )
        loss = torch.stack(
            [
                (y * torch.as_tensor(w).reshape(y.shape)).sum()
                for y, w in zip(self.values, weights, strict=True)
            ]
        ).sum()
        every = leaves(self.graph)
        found = pulled(self.graph, self.nodes, phase)
        grads: Sequence[Tensor] = [torch.zeros_like(leaf) for leaf in self.leaves]
        if loss.requires_grad:
            grads = torch.autograd.grad(
                loss, self.leaves, create_graph=True, allow_unused=True, materialize_grads=True
            )
        for leaf, grad in zip(every, grads, strict=True):
            if leaf not in found:
                assert not grad.any()
        kept = [(found[k], g) for k, g in zip(every, grads, strict=True) if k in found]
        self.nodes, self.values = [k for k, _ in kept], [g for _, g in kept]

    def compare(self, graph: Graph, nodes: Sequence[NodeId]) -> None:
        for got, want in zip(nodes_at(graph, nodes, *self.given), self.values, strict=True):
            wanted = want.numpy(force=True).reshape(got.shape)
            np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_gradients_of_first_and_second_order(case: Case) -> None:
    for sizes in (SMALL, ONES) if case.ones else (SMALL,):
        sides = Sides(case, sizes)
        for order in range(2):
            sides.differentiate(0.3 + order)
            sides.compare(sides.graph, sides.nodes)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_rewriting_keeps_the_gradients(case: Case) -> None:
    sides = Sides(case, SMALL)
    sides.differentiate(0.3)
    sides.graph.outputs = list(sides.nodes)
    rewritten, _ = rewrite(sides.graph, Options())
    sides.compare(rewritten, rewritten.outputs)


@pytest.mark.parametrize(
    "case", [c for c in WHOLE if c.layer in POLYNOMIALS], ids=lambda case: case.name
)
def test_third_order_of_polynomials(case: Case) -> None:
    sides = Sides(case, SMALL)
    for order in range(3):
        sides.differentiate(0.3 + order)
    sides.compare(sides.graph, sides.nodes)


# --- gradients as modules ------------------------------------------------------------------------
def declared(program: Program, graph: Graph, leaf: NodeId) -> Input | Param:
    op = graph.node(leaf).op
    if isinstance(op, ir.Input):
        return program.inputs[op.position]
    assert isinstance(op, ir.Param)
    return next(param for param in program.params if param.name == op.name)


def module(case: Case, order: int) -> Any:
    """A module whose outputs are the gradients, of this order."""
    program = _program(case)
    graph = lower(program)
    outputs = list(graph.outputs)
    for depth in range(order):
        found = pulled(graph, outputs, 0.3 + depth)
        outputs = list(found.values())
    if not outputs:
        return None
    equations = []
    for leaf in found:
        tensor = declared(program, graph, leaf)
        name, zero = f"d_{tensor.name}".replace(".", "_"), Literal(0.0, Dtype.REAL)
        equations.append(Equation(name, tensor.axes, tensor.dtype, zero, tensor.span))
    names = tuple(equation.name for equation in equations)
    graph.program = replace(program, body=(*program.body, *equations), outputs=names)
    graph.outputs = outputs
    planned = plan(rewrite(graph, Options())[0], Options())
    text = emit([Unit("Gradients", graph.program, {"": planned}, ())], "test", Options())
    space: dict[str, Any] = {}
    exec(compile(text, "<emitted>", "exec"), space)
    made = space["Gradients"]().double()
    made.load_state_dict(_params(case))
    return made


def check_module(case: Case, order: int) -> None:
    made = module(case, order)
    if made is None:
        return
    for sizes in (SMALL, ONES) if case.ones else (SMALL,):
        sides = Sides(case, sizes)
        for depth in range(order):
            sides.differentiate(0.3 + depth)
        got = made(*map(torch.as_tensor, sides.given[0]))
        for ours, theirs in zip(
            got if isinstance(got, tuple) else (got,), sides.values, strict=True
        ):
            wanted = theirs.detach().reshape(ours.shape)
            torch.testing.assert_close(ours.detach(), wanted, rtol=1e-8, atol=1e-9)


OWN = [case for case in WHOLE if not _program(case).subs]  # whose params are its own


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.name)
def test_gradients_are_planned_and_printed(case: Case) -> None:
    check_module(case, 1)


@pytest.mark.slow
def test_second_gradients_are_planned_and_printed(request: pytest.FixtureRequest) -> None:
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("minutes; asked for with -m slow")
    for case in OWN:
        check_module(case, 2)
