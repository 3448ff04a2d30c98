"""What the slots of a plan hold."""

from __future__ import annotations

from tensorlang.dtype import Dtype
from tensorlang.plan.plan import AttentionStep, Plan, Slot, Step
from tensorlang.size import Size


def dtypes(plan: Plan) -> dict[Slot, Dtype]:
    """The dtype of every slot that is a leaf or made by a step."""
    out: dict[Slot, Dtype] = {slot: node.dtype for slot, node in plan.leaves.items()}
    for region in plan.regions:
        for regime in region.regimes:
            for step in regime.steps:
                match step:
                    case Step(out=slot, node=node):
                        out[slot] = node.dtype
                    case AttentionStep(out=slot):
                        out[slot] = Dtype.REAL
                    case _:
                        out.update((p.out, p.node.dtype) for p in step.projections)
    return out


def typed_shapes(plan: Plan) -> dict[Slot, tuple[tuple[Size, ...], Dtype]]:
    """Shape and dtype of the same; a regime that was left out may leave shapes behind."""
    kinds = dtypes(plan)
    return {slot: (plan.shapes[slot], kind) for slot, kind in kinds.items() if slot in plan.shapes}
