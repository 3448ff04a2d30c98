"""Range checks of the indices that a kernel reads or lands by, before it runs: it has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.indexing import check_positions
from tensorlang.backends.torch.operand import Operand
from tensorlang.check.program import Boundary
from tensorlang.ir.nodes import Gather, Scatter, Subscript
from tensorlang.plan.plan import Region, Slot, Step
from tensorlang.size import Size


def check_indices(
    body: Body, region: Region, shapes: Mapping[Slot, tuple[Size, ...]], names: Mapping[Slot, str]
) -> list[tuple[Slot, Size]]:
    """Print a check for each; gives the index tensors and what they are checked against."""
    covered = []
    for step in region.regimes[0].steps:
        if isinstance(step, Step):
            for subscript, size, axis in _subscripts(body, step, shapes, names):
                if not isinstance(subscript, Gather) or subscript.boundary is not Boundary.CHECKED:
                    continue
                slot = subscript.read.node
                if slot in region.inputs:
                    value = body.values[slot]
                    labels = tuple(range(len(value.shape)))
                    index = Operand(value.text, labels, labels, value.dtype)
                    check_positions(body, subscript, index, size, axis)
                    covered.append((slot, size))
    return covered


def _subscripts(
    body: Body, step: Step, shapes: Mapping[Slot, tuple[Size, ...]], names: Mapping[Slot, str]
) -> Iterator[tuple[Subscript, Size, str]]:
    """What reads and targets of a step stand on, the size of the axis, and its name."""
    node = step.node
    for read in node.reads:
        for axis, subscript in enumerate(read.subscripts):
            yield subscript, shapes[read.node][axis], body.axis_text(read.node, axis)
    if isinstance(node.op, Scatter):
        for target in node.op.targets:
            for axis, subscript in enumerate(target):
                yield subscript, node.sizes[axis], f"axis {axis} of {names.get(step.out, 'value')}"
