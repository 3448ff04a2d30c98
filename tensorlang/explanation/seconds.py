"""Seconds of the steps of an explained layer: predicted by its profile, and timed on the CPU."""

from __future__ import annotations

from tensorlang.explanation.facts import Explanation
from tensorlang.explanation.words import step_name
from tensorlang.order.profile import profile_of
from tensorlang.plan.seconds import seconds
from tensorlang.plan.slots import dtypes
from tensorlang.requests import BadRequest


def priced(explanation: Explanation) -> list[tuple[str, float]]:
    """Name and predicted seconds of every step of the layer itself. Raises BadRequest."""
    scope, plan = explanation.scope, explanation.stages.plan
    kinds = dtypes(plan)
    shapes = {slot: (shape, kinds[slot]) for slot, shape in plan.shapes.items()}
    point = {}
    for name, size in scope.sizes.items():
        if not isinstance(size, int):
            raise BadRequest(f"seconds are of given sizes: {name} is open; give the inputs' shapes")
        point[name] = size
    profile = profile_of(scope.compiled.options.profile)
    steps = [s for region in plan.regions for s in scope.regime(region.regimes).steps]
    return [(step_name(step), seconds(step, shapes, point, profile)) for step in steps]
