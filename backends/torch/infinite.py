"""Values that a condition or an empty reduction may make infinite: their derivatives need care."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Lit, Node, Pointwise, Reduce, Softmax
from tensorlang.ir.reads import leaves
from tensorlang.plan.cost import made, used
from tensorlang.plan.plan import AnyStep, Slot, Step

_OF_NONE = (ReduceOp.MAX, ReduceOp.MIN, ReduceOp.LOGSUMEXP)


def infinite(steps: Sequence[AnyStep], before: set[Slot]) -> set[Slot]:
    """Slots that may hold infinity, `before` among them, if all else that they read is finite."""
    out = set(before)
    for step in steps:
        if (isinstance(step, Step) and _brings(step.node)) or out.intersection(used(step)):
            out.update(made(step))
    return out


def _brings(node: Node) -> bool:
    match node.op:
        case Pointwise(expr):
            literals = [leaf for leaf in leaves(expr) if isinstance(leaf, Lit)]
            return any(x.dtype is Dtype.REAL and math.isinf(float(x.value)) for x in literals)  # type: ignore[arg-type]
        case Reduce(op):
            return op in _OF_NONE
        case Softmax(log=log):
            return log and len(node.reads) > 1
    return False
