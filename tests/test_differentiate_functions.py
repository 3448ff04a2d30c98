"""Every function of the library: its derivatives in the graph against torch's, first and second."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from tensorlang import registry
from tensorlang.check.program import Axis, Dim, Index, Input, Program
from tensorlang.differentiate import gradient
from tensorlang.dtype import Dtype
from tensorlang.ir import nodes
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import App, Arg, Node, NodeId
from tensorlang.ir.reads import identity_read
from tensorlang.library import signature
from tests.differentiating import nodes_at
from tests.test_library import SAMPLES, grid, spelled
from tests.test_torch_nodes import SPAN

FUNCTIONS = registry.functions()
REALS = np.array([-1.3, -0.6, -0.25, 0.15, 0.4, 0.4, 0.85, 1.7])
KINKS = {"relu": [0.0], "abs": [0.0], "max": [0.4], "min": [0.4]}  # the other argument is 0.4 too
NUMBERS = (Dtype.REAL, Dtype.COMPLEX)


def typings() -> list[tuple[str, tuple[Dtype, ...]]]:
    out = []
    for name, row in FUNCTIONS.items():
        if name in ("dropout", "where"):
            continue
        for kinds in itertools.product(NUMBERS, repeat=row.arity[0]):
            dtype = row.dtype(kinds)
            if dtype in NUMBERS and signature.promoted(row, kinds) == kinds:
                out.append((name, kinds))
    return out


def graph_of(name: str, kinds: tuple[Dtype, ...], size: int) -> tuple[Graph, NodeId]:
    """A layer of one function, and the node of its value."""
    row = FUNCTIONS[name]
    dim = Dim("i", size)
    inputs = tuple(
        Input(f"X{k}", (Axis((Index("i", dim),)),), kind, SPAN) for k, kind in enumerate(kinds)
    )
    graph = Graph(Program("Test", "", None, (), (dim,), (), inputs, (), (), (), (), (), SPAN))
    for k, kind in enumerate(kinds):
        graph.inputs.append(graph.add(Node(nodes.Input(k), (), (size,), 1, kind)))
    dtype = row.dtype(kinds)
    assert isinstance(dtype, Dtype)
    reads = tuple(identity_read(leaf, 1) for leaf in graph.inputs)
    expr = App(name, tuple(Arg(k) for k in range(len(kinds))), dtype)
    return graph, graph.add(Node(nodes.Pointwise(expr), reads, (size,), 1, dtype))


def real(graph: Graph, node: NodeId) -> NodeId:
    """A real number of every cell: the value itself, or re - 2 im."""
    found = graph.node(node)
    if found.dtype is Dtype.REAL:
        return node
    parts = [App(part, (Arg(0),), Dtype.REAL) for part in ("real", "imag")]
    twice = App("mul", (nodes.Lit(-2.0, Dtype.REAL), parts[1]), Dtype.REAL)
    expr = App("add", (parts[0], twice), Dtype.REAL)
    read = identity_read(node, 1)
    return graph.add(Node(nodes.Pointwise(expr), (read,), found.shape, 1, Dtype.REAL))


def real_of(value: torch.Tensor) -> torch.Tensor:
    return value.real - 2 * value.imag if value.is_complex() else value


@pytest.mark.parametrize(("name", "kinds"), typings())
def test_derivatives_are_those_of_torch(name: str, kinds: tuple[Dtype, ...]) -> None:
    row = FUNCTIONS[name]
    samples = [SAMPLES[kind] if kind is Dtype.COMPLEX else REALS for kind in kinds]
    if name in KINKS and kinds[0] is Dtype.REAL:
        samples[0] = np.concatenate([samples[0], KINKS[name]])
    with np.errstate(all="ignore"):
        args = grid(samples)
        good = np.isfinite(np.asarray(row.numpy(*args), complex))
    args = [arg[good] for arg in args]
    leaves = [torch.tensor(arg, requires_grad=True) for arg in args]
    graph, value = graph_of(name, kinds, int(good.sum()))
    loss = real_of(spelled(row, *leaves))
    for k, leaf in enumerate(graph.inputs):
        ours = gradient(graph, real(graph, value), leaf)
        theirs = slopes(loss, leaves[k])
        compare(graph, ours, theirs, args)
        for j, other in enumerate(graph.inputs):
            second = gradient(graph, real(graph, ours), other)
            compare(graph, second, slopes(real_of(theirs), leaves[j]), args)


def slopes(value: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
    """The gradient of the sum, zeros where there is none."""
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(
        value.sum(), leaf, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return found


def compare(graph: Graph, node: NodeId, wanted: torch.Tensor, args: list[Any]) -> None:
    (got,) = nodes_at(graph, [node], args, {})
    want = wanted.resolve_conj().numpy(force=True)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def test_the_slope_of_a_product_needs_no_quotient() -> None:
    graph, _ = graph_of("mul", (Dtype.REAL, Dtype.REAL), 2)
    expr = App("mul", (Arg(0), Arg(0), Arg(1), Arg(0)), Dtype.REAL)
    reads = tuple(identity_read(leaf, 1) for leaf in graph.inputs)
    value = graph.add(Node(nodes.Pointwise(expr), reads, (2,), 1, Dtype.REAL))
    x, y = np.array([0.0, 2.0]), np.array([3.0, 5.0])
    once = gradient(graph, value, graph.inputs[0])
    twice = gradient(graph, once, graph.inputs[0])
    found = nodes_at(graph, [once, twice], [x, y], {})
    np.testing.assert_allclose(found, [3 * x**2 * y, 6 * x * y])
