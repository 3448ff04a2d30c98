"""The plans that a region holds: how each orders its products, what it costs, when it is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tensorlang.explanation.costs import Count, Scope
from tensorlang.explanation.products import Contraction
from tensorlang.explanation.words import count_text
from tensorlang.order.profile import profile_of
from tensorlang.plan.cost import made
from tensorlang.plan.plan import AnyStep, Regime, Region, Threshold
from tensorlang.plan.seconds import seconds
from tensorlang.plan.slots import typed_shapes
from tensorlang.plan.text import threshold_text

Trees = Callable[[Sequence[AnyStep]], tuple[Contraction, ...]]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the plans of a region: when it is taken, its cost and how it orders products.

    `kept`: for calls in eval() without grad, which keep what is made of parameters alone; nothing
    is saved for a backward pass there. `seconds` as the profile predicts, where sizes are known.
    """

    when: str
    kept: bool
    chosen: bool
    flops: Count
    bytes: Count
    peak_bytes: Count
    saved_bytes: Count
    seconds: float | None
    orders: tuple[Contraction, ...]

    @property
    def trees(self) -> tuple[str, ...]:
        return tuple(f"{order.name} = {order.tree}" for order in self.orders)


def choices(scope: Scope, region: Region, trees: Trees) -> tuple[Choice, ...]:
    """All plans of a region; none where there is one, for all calls."""
    both = any(regime.kept_cost is not None for regime in region.regimes)
    if len(region.regimes) == 1 and not both:
        return ()
    every = [*_choices(scope, region, trees, kept=False)]
    return (*every, *(_choices(scope, region, trees, kept=True) if both else ()))


def _choices(scope: Scope, region: Region, trees: Trees, kept: bool) -> Iterator[Choice]:
    serving = [regime for regime in region.regimes if regime.serves(kept)]
    taken = scope.regime(region.regimes, kept)
    known = all(isinstance(size, int) for size in scope.sizes.values())
    for regime in serving:
        cost = regime.kept_cost if kept and regime.kept_cost is not None else regime.cost
        bounds = [threshold_text(t) for t in regime.when(kept)]
        always = "any size" if len(serving) == 1 else "otherwise"
        yield Choice(
            " and ".join(bounds).replace("...", "batch") or always,
            kept,
            known and regime is taken,
            scope.value(cost.flops),
            scope.value(cost.bytes),
            scope.value(cost.peak_bytes),
            0 if kept else scope.value(cost.saved_bytes),
            regime_seconds(scope, regime, kept) if known else None,
            tuple(found for found in trees(regime.steps) if found.factors > 2),
        )


def regime_seconds(scope: Scope, regime: Regime, kept: bool) -> float:
    """What the profile predicts at these sizes."""
    shapes = typed_shapes(scope.plan)
    point = {name: size for name, size in scope.sizes.items() if isinstance(size, int)}
    profile = profile_of(scope.compiled.options.profile)
    free = scope.kept(regime) if kept else frozenset()
    steps = [step for step in regime.steps if not free.intersection(made(step))]
    return sum(seconds(step, shapes, point, profile) for step in steps)


def flips(scope: Scope, region: Region, kept: bool) -> tuple[str, ...]:
    """Sizes at which the choice flips; of a product of sizes also each, the others as given."""
    serving = [regime for regime in region.regimes if regime.serves(kept)]
    bounds = [threshold for regime in serving for threshold in regime.when(kept)]
    return tuple(dict.fromkeys(_flip(scope, threshold) for threshold in bounds))


def _flip(scope: Scope, threshold: Threshold) -> str:
    parts = [(monomial, c) for monomial, c in threshold.form if monomial]
    if len(parts) > 1:
        return threshold_text(threshold).replace("...", "batch").replace(">=", "=")
    ((names, sign),) = parts
    bound = -sum(c for monomial, c in threshold.form if not monomial) * sign
    least = bound if sign > 0 else bound + 1  # of the side with the larger sizes
    text = count_text(scope.value({names: 1}))
    sizes = {name: scope.sizes[name] for name, _ in names}
    if all(not isinstance(size, int) for size in sizes.values()):
        return f"{text} = {least:,}"
    product = " · ".join(_called(name) for name in sizes)
    known = {name: size for name, size in sizes.items() if isinstance(size, int)}
    whole = math.prod(known.values())
    alone = [f"{_called(n)} = {-(-least * known[n] // max(1, whole)):,}" for n in known]
    here = f", here {' or '.join(alone)}" if len(known) == len(sizes) > 1 else ""
    return f"{product} = {least:,}{here}"


def _called(name: str) -> str:
    return "batch" if name == "..." else name
