"""What is made of parameters alone: values that a layer in eval() keeps while no parameter changes.

Layers that store params as factors or multiply them with each other keep values; a planner that
knows so forms weights freely.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from tensorlang.check.program import Program
from tensorlang.ir import nodes
from tensorlang.ir.nodes import Contract, Read
from tensorlang.ir.reads import leaves, operands, read_indices, read_operands
from tensorlang.plan.plan import AnyStep, Slot, Step
from tensorlang.size import Size

_COSTLY = nodes.Contract | nodes.Pointwise | nodes.Transform


def weight_steps(
    program: Program,
    steps: Sequence[AnyStep],
    params: Sequence[Slot],
    consts: Sequence[Slot],
    outputs: Sequence[Slot],
) -> tuple[list[Step], list[Slot]]:
    """Steps that read no input, and the parameters that they read; none where they cost nothing."""
    known = {*params, *consts}
    found: list[Step] = []
    read: dict[Slot, None] = {}
    for step in steps:
        if not isinstance(step, Step) or not is_weight(step.node, known):
            continue
        if step.out in outputs:  # callers may write into what they are given
            return [], []
        found.append(step)
        known.add(step.out)
        read.update((slot, None) for slot in operands(step.node) if slot in params)
    costly = [step for step in found if isinstance(step.node.op, _COSTLY)]
    if not program.factored:  # numbers and biases scaled are no weights
        costly = [s for s in found if isinstance(s.node.op, Contract) and len(s.node.reads) > 1]
    if not read or not costly:
        return [], []
    return found, list(read)


def is_weight(node: nodes.Node, known: Container[Slot]) -> bool:
    """Whether a node reads such values only and its sizes are known."""
    if not isinstance(node.op, _COSTLY | nodes.Merge):
        return False
    below = operands(node)
    return bool(below) and all(n in known for n in below) and not _random(node) and _static(node)


def is_weight_read(read: Read, sizes: Sequence[Size], known: Container[Slot]) -> bool:
    """Whether a factor of a product is such a value, over indices whose sizes are known."""
    return (
        all(node in known for node in read_operands(read))
        and all(isinstance(sizes[index], int) for index in read_indices(read))
        and all(isinstance(offset, int) for offset in _offsets(read))
    )


def _static(node: nodes.Node) -> bool:
    """Whether no size of an input occurs in it, as a size or as a value."""
    sizes = list(node.sizes)
    if isinstance(node.op, nodes.Pointwise):
        sizes += [leaf.size for leaf in leaves(node.op.expr) if isinstance(leaf, nodes.SizeOf)]
    sizes += [offset for read in node.reads for offset in _offsets(read)]
    return all(isinstance(size, int) for size in sizes)


def _offsets(read: Read) -> list[Size]:
    return [s.offset for s in read.subscripts if isinstance(s, nodes.Affine)]


def _random(node: nodes.Node) -> bool:
    return isinstance(node.op, nodes.Pointwise) and _drops(node.op.expr)


def _drops(expr: nodes.Scalar) -> bool:
    if not isinstance(expr, nodes.App):
        return False
    return expr.function == "dropout" or any(_drops(arg) for arg in expr.args)
