"""Predicted beside measured: the plans that a layer may have, each timed on this machine.

The plans of one size take turns, so that what else the machine does hits all of them.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from tensorlang.check.program import Program
from tensorlang.draw import draw_inputs
from tensorlang.driver import Compiled
from tensorlang.explanation.costs import Scope
from tensorlang.explanation.facts import Explanation
from tensorlang.explanation.seconds import predicted
from tensorlang.explanation.shapes import bind_shapes
from tensorlang.explanation.text import seconds_text
from tensorlang.module import execute
from tensorlang.plan.alternatives import alternatives
from tensorlang.plan.plan import Plan
from tensorlang.profiling import wait
from tensorlang.requests import BadRequest

_SECONDS = 0.4  # for the plans of one size
_LEAST_ROUNDS = 5
Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Measured:
    """One plan at given sizes, of calls in training or (`kept`) in eval() with kept weights.

    Seconds of a forward call without grad: what the profile says, the least of those timed.
    `chosen`: it orders products as the layer itself does at these sizes.
    """

    sizes: tuple[tuple[str, int], ...]
    kept: bool
    trees: tuple[str, ...]
    chosen: bool
    predicted: float
    seconds: float


def measure(
    compiled: Compiled, layer: str, points: Sequence[Sizes], device: str = "cpu"
) -> list[Measured]:
    """Time the likeliest plans of one of the layers that were compiled, at all these sizes.

    Raises BadRequest where a size is missing, RuntimeError for a device that torch lacks.
    """
    where = torch.device(device)
    name = compiled.roots[layer]
    program = compiled.stages[name, ""].program
    out: list[Measured] = []
    for sizes in points:
        missing = [dim.name for dim in program.dynamic if dim.name not in sizes]
        if missing:
            open_ = ", ".join(_called(dim) for dim in missing)
            raise BadRequest(f"seconds are of given sizes: {open_} is open; give --at or shapes")
        for kept in (False, True) if _keeps(compiled, name) else (False,):
            out += _measured(compiled, layer, sizes, kept, where)
    return out


def points(
    compiled: Compiled,
    layer: str,
    shapes: Mapping[str, Sequence[int]],
    grid: Mapping[str, Sequence[int]],
) -> list[dict[str, int]]:
    """The sizes of these shapes of inputs, or all combinations of sizes of a grid.

    Raises BadRequest for a dim that is none or is fixed.
    """
    program = compiled.stages[compiled.roots[layer], ""].program
    if shapes and grid:
        raise BadRequest("give shapes of inputs or sizes of dims, not both")
    if shapes:
        return [bind_shapes(program, shapes)]
    dynamic = [dim.name for dim in program.dynamic]
    asked = {
        "..." if name == "batch" and name not in dynamic else name: sizes
        for name, sizes in grid.items()
    }
    for name in asked:
        if name not in dynamic:
            has = ", ".join(map(_called, dynamic)) or "none"
            raise BadRequest(f"{layer} has no dim {name} whose size a call gives; it has {has}")
    combined = itertools.product(*asked.values())
    return [dict(zip(asked, sizes, strict=True)) for sizes in combined]


def correlation(rows: Sequence[Measured]) -> float | None:
    """Spearman's rank correlation of predicted and measured seconds; None of too few."""
    if len({row.predicted for row in rows}) < 2 or len({row.seconds for row in rows}) < 2:
        return None
    return float(spearmanr([r.predicted for r in rows], [r.seconds for r in rows]).statistic)


def loss(rows: Sequence[Measured]) -> float | None:
    """How many times longer the chosen plans took than the fastest, on average (geometric)."""
    ratios = []
    for row in rows:
        if row.chosen:
            rivals = [r.seconds for r in rows if (r.sizes, r.kept) == (row.sizes, row.kept)]
            ratios.append(row.seconds / min(rivals))
    return statistics.geometric_mean(ratios) if ratios else None


def _keeps(compiled: Compiled, name: str) -> bool:
    regions = compiled.stages[name, ""].plan.regions
    return any(r.kept_cost is not None for region in regions for r in region.regimes)


def _measured(
    compiled: Compiled, layer: str, sizes: Sizes, kept: bool, device: torch.device
) -> Iterator[Measured]:
    name = compiled.roots[layer]
    stages = compiled.stages[name, ""]
    own = _trees(compiled, name, sizes, kept)
    found: dict[tuple[str, ...], Compiled] = {own: compiled}
    for plan in alternatives(stages.rewritten, compiled.options, sizes, kept):
        other = _with_plan(compiled, name, plan)
        found.setdefault(_trees(other, name, sizes, kept), other)
    inputs = [tensor.to(device) for tensor in _inputs(stages.program, sizes)]
    calls = [_call(one, layer, inputs, kept) for one in found.values()]
    for (trees, one), seconds in zip(found.items(), _timed(calls, device), strict=True):
        expected = predicted(Scope(one, name, "", sizes), kept)
        yield Measured(tuple(sizes.items()), kept, trees, trees == own, expected, seconds)


def _with_plan(compiled: Compiled, name: str, plan: Plan) -> Compiled:
    """The same file with another plan of one class."""
    stages = {**compiled.stages, (name, ""): replace(compiled.stages[name, ""], plan=plan)}
    units = tuple(
        replace(unit, plans={**unit.plans, "": plan}) if unit.class_name == name else unit
        for unit in compiled.units
    )
    return replace(compiled, stages=stages, units=units)


def _trees(compiled: Compiled, name: str, sizes: Sizes, kept: bool) -> tuple[str, ...]:
    """How products are ordered at these sizes."""
    orders = Explanation(Scope(compiled, name, "", sizes)).orders(kept)
    return tuple(f"{order.name} = {order.tree}" for order in orders if order.factors > 2)


# --- shown ---------------------------------------------------------------------------------------
HEAD = ("sizes", "weights", "plan", "predicted", "measured", "")


def _called(dim: str) -> str:
    return "batch" if dim == "..." else dim


def table(rows: Sequence[Measured]) -> list[tuple[str, ...]]:
    """A row of text for each; plans by their orders."""
    return [
        (
            ", ".join(f"{_called(name)} = {size}" for name, size in row.sizes),
            "kept" if row.kept else "formed",
            "; ".join(row.trees) or "the only one",
            seconds_text(row.predicted),
            seconds_text(row.seconds),
            "chosen" if row.chosen else "",
        )
        for row in rows
    ]


def summary(rows: Sequence[Measured]) -> str:
    """How well the figures rank plans and sizes, and what the choices cost."""
    rank, longer = correlation(rows), loss(rows)
    parts = [] if rank is None else [f"rank correlation of predicted and measured {rank:.3f}"]
    parts += [] if longer is None else [f"chosen plans took {longer:.3g} times the fastest"]
    return "; ".join(parts)


def to_dict(rows: Sequence[Measured]) -> dict[str, object]:
    """The same as data."""
    return {
        "plans": [
            {
                "sizes": dict(row.sizes),
                "kept": row.kept,
                "trees": list(row.trees),
                "chosen": row.chosen,
                "predicted": row.predicted,
                "measured": row.seconds,
            }
            for row in rows
        ],
        "rank_correlation": correlation(rows),
        "chosen_over_fastest": loss(rows),
    }


# --- calls ---------------------------------------------------------------------------------------
def _inputs(program: Program, sizes: Sizes) -> list[Tensor]:
    kinds = {"f": torch.float32, "c": torch.complex64}
    arrays = draw_inputs(program, sizes, np.random.default_rng(0))
    return [torch.as_tensor(a, dtype=kinds.get(a.dtype.kind)) for a in arrays]


def _call(
    compiled: Compiled, layer: str, inputs: Sequence[Tensor], kept: bool
) -> Callable[[], object]:
    emitted = execute(compiled, layer, {})
    where = inputs[0].device if inputs else None
    made: nn.Module = emitted.LAYERS[compiled.roots[layer]](device=where)
    made.load_state_dict(
        {key: 0.1 * torch.randn_like(value) for key, value in made.named_parameters()},
        strict=False,
    )
    made.train(not kept)
    return lambda: made(*inputs)


def _timed(calls: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """The least seconds of each, in turns."""
    least = [math.inf for _ in calls]
    with torch.no_grad():
        for call in calls:
            call()
        end = time.perf_counter() + _SECONDS
        for number in itertools.count():
            for place, call in enumerate(calls):
                wait(device)
                start = time.perf_counter()
                call()
                wait(device)
                least[place] = min(least[place], time.perf_counter() - start)
            if number >= _LEAST_ROUNDS and time.perf_counter() > end:
                return least
    raise AssertionError("the rounds end")
