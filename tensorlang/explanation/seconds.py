"""Seconds of an explained layer as its profile predicts them."""

from __future__ import annotations

from tensorlang.explanation.costs import Scope
from tensorlang.explanation.facts import Explanation
from tensorlang.explanation.regimes import regime_seconds
from tensorlang.explanation.words import step_name
from tensorlang.ir.nodes import Call
from tensorlang.order.profile import profile_of
from tensorlang.plan.plan import Step
from tensorlang.plan.seconds import seconds
from tensorlang.plan.slots import typed_shapes
from tensorlang.requests import BadRequest


def predicted(scope: Scope, kept: bool = False) -> float:
    """Seconds of a call, sub-layers included; `kept` where weights that are formed are kept."""
    total = 0.0
    for region in scope.plan.regions:
        regime = scope.regime(region.regimes, kept)
        total += regime_seconds(scope, regime, kept)
        for step in regime.steps:
            call = step.node.op if isinstance(step, Step) else None
            if isinstance(step, Step) and isinstance(call, Call) and call.output == 0:
                inner, stages = scope.callee(step)
                total += predicted(inner, kept) * (1 if stages is None else stages)
    return total


def priced(explanation: Explanation) -> list[tuple[str, float]]:
    """Name and predicted seconds of every step of the layer itself. Raises BadRequest."""
    scope, plan = explanation.scope, explanation.stages.plan
    shapes = typed_shapes(plan)
    point = {}
    for name, size in scope.sizes.items():
        if not isinstance(size, int):
            raise BadRequest(f"seconds are of given sizes: {name} is open; give the inputs' shapes")
        point[name] = size
    profile = profile_of(scope.compiled.options.profile)
    steps = [s for region in plan.regions for s in scope.regime(region.regimes).steps]
    return [(step_name(step), seconds(step, shapes, point, profile)) for step in steps]
