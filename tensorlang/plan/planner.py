"""graph → plan: trees for each regime of sizes, the steps that a walk makes under them.

axes.py then chooses how values lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    Const,
    Input,
    NodeId,
    Param,
)
from tensorlang.options import Options
from tensorlang.order.grid import grid, middle
from tensorlang.order.profile import profile_of
from tensorlang.order.trees import Problem, Tree
from tensorlang.plan.axes import in_memory
from tensorlang.plan.builder import Builder, Trees
from tensorlang.plan.cost import at, made, used
from tensorlang.plan.expected import expected, weights_of
from tensorlang.plan.kept import When, chosen_regimes
from tensorlang.plan.plan import (
    AnyStep,
    AttentionStep,
    Plan,
    Regime,
    Region,
    Slot,
)
from tensorlang.plan.projections import merge_projections
from tensorlang.plan.regimes import regime_at
from tensorlang.plan.stored import Order, stored_orders
from tensorlang.plan.walk import Draft, build, drafted, leaves_of, renumbered
from tensorlang.size import Size, symbols
from tensorlang.source import Span

Stored = Mapping[str, Order]
"""Params whose axes lie otherwise than declared, by name."""


def plan(graph: Graph, options: Options, stored: Stored | None = None) -> Plan:
    """Plan one layer: steps, their order, trees by size regime, axes in memory, expected cost.

    `stored` says how params lie, by name, where that is settled.
    """

    def made(stored: Stored | None) -> Plan:
        ours = _planned(graph, options, True, stored)
        if options.memory is not None and _has_attention(ours):
            apart = _planned(graph, options, False, stored)
            ours = min((ours, apart), key=lambda made: _beyond(made, options))
        return ours

    return _for_target(made, options, stored)


def products(graph: Graph, options: Options) -> list[Problem]:
    """The products of three or more tensors whose order a plan chooses."""
    problems: list[Problem] = []
    _collect(drafted(graph, fused=True, options=options), problems)
    return problems


def plan_in_orders(graph: Graph, options: Options, orders: Sequence[Tree]) -> Plan:
    """The plan that takes these orders for `products`, at all sizes."""
    draft = drafted(graph, fused=True, options=options)
    regimes = [(When(()), tuple(orders))]
    return _for_target(lambda stored: _assembled(draft, regimes, options, stored), options)


def _for_target(
    made: Callable[[Stored | None], Plan], options: Options, stored: Stored | None = None
) -> Plan:
    """The plan for the target; kernels find params as they are declared."""
    ours = made(stored)
    if options.target != "triton":
        return ours
    from tensorlang.plan.fuse import fuse  # only this target needs it

    fused: Plan = fuse(ours, options)
    inside = {s for region in fused.regions if region.backend != "torch" for s in region.inputs}
    if stored is not None or inside.isdisjoint(fused.stored):
        return fused
    names = {name for name, slot in fused.params if slot in inside}
    return _for_target(
        made, options, {n: order for n, order in fused.stored_names().items() if n not in names}
    )


def _has_attention(made: Plan) -> bool:
    every = [regime for region in made.regions for regime in region.regimes]
    return any(isinstance(step, AttentionStep) for regime in every for step in regime.steps)


def _beyond(made: Plan, options: Options) -> int:
    """Points of the grid at which a plan needs more memory than it may."""
    assert options.memory is not None
    points = grid([dim.name for dim in made.program.dynamic], options)
    (region,) = made.regions
    count = 0
    for point in points:
        for kept in (False, True):
            regime = regime_at(region.regimes, point, kept)
            count += at(regime.cost.peak_bytes, point) > options.memory
    return count


def _planned(
    graph: Graph, options: Options, fused: bool, stored: Stored | None, keeps: bool = True
) -> Plan:
    """A plan with one region; attentions are single steps if `fused`, else spelled out.

    If it `keeps` what is made of parameters alone, calls that do so have regimes of their own.
    """
    draft = drafted(graph, fused, options)
    problems: list[Problem] = []
    names = _collect(draft, problems)
    if not keeps:
        problems = [replace(problem, kept=frozenset()) for problem in problems]
    made = _assembled(draft, chosen_regimes(names, problems, options), options, stored)
    (region,) = made.regions
    asked = any(regime.asks for regime in region.regimes)
    if asked and not any(weights_of(graph, draft.slots, r.steps) for r in region.regimes):
        return _planned(graph, options, fused, stored, keeps=False)
    return made


def _assembled(
    draft: Draft,
    chosen: Sequence[tuple[When, Sequence[Tree]]],
    options: Options,
    stored: Stored | None,
) -> Plan:
    """A plan with one region that holds these regimes; params lie as these want unless `stored`."""
    graph = draft.graph
    dynamic = [dim.name for dim in graph.program.dynamic]
    built: list[_Built] = []
    free = len(draft.slots)
    for number, (when, trees) in enumerate(chosen):
        if number:  # a value may lie otherwise in another regime: only outputs keep their slots
            draft, free = renumbered(draft, free)
        builder = build(draft, _replay(trees), free)
        free = builder.free
        built.append(_Built(draft, builder, when))
    params = {name: draft.slots[node] for name, node in graph.params.items()}
    orders = {params[name]: order for name, order in (stored or {}).items()}
    regimes, shapes = _regimes(built, options, dynamic, orders)
    if stored is None:
        orders = _stored(built, regimes, shapes, options)
        if orders:
            regimes, shapes = _regimes(built, options, dynamic, orders)
    region = Region(
        tuple(draft.slots[node] for node in _bound(graph, draft.alive)),
        tuple(dict.fromkeys(draft.slots[node] for node in graph.outputs)),
        regimes,
        "torch",
        "plain torch",
        _spans(graph, graph.outputs),
    )
    return replace(_plan(draft, region, shapes), stored=orders)


# --- regimes -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Built:
    """The steps of a regime before values are laid out in memory."""

    draft: Draft
    builder: Builder
    when: When


def _regimes(
    built: Sequence[_Built], options: Options, dynamic: Sequence[str], stored: Mapping[Slot, Order]
) -> tuple[tuple[Regime, ...], dict[Slot, tuple[Size, ...]]]:
    made: list[Regime] = []
    shapes: dict[Slot, tuple[Size, ...]] = {}
    for one in built:
        regime, sizes = _regime(one, options, dynamic, stored)
        made.append(regime)
        shapes.update(sizes)
    return tuple(made), shapes


def _stored(
    built: Sequence[_Built],
    regimes: Sequence[Regime],
    shapes: Mapping[Slot, tuple[Size, ...]],
    options: Options,
) -> dict[Slot, Order]:
    """How params lie, as the regimes want them."""
    draft = built[0].draft
    graph = draft.graph
    params = [draft.slots[node] for node in graph.params.values()]
    wide = [slot for slot in params if len(shapes[slot]) > 1]
    if not wide:
        return {}
    kept: list[Slot] = []
    typed: dict[Slot, tuple[tuple[Size, ...], Dtype]] = {}
    for one, regime in zip(built, regimes, strict=True):
        kept += [step.out for step in weights_of(graph, one.draft.slots, regime.steps)]
        typed.update((s, (shapes[s], kind)) for s, (_, kind) in one.builder.shapes.items())
    points = grid([dim.name for dim in graph.program.dynamic], options)
    profile = profile_of(options.profile)
    return stored_orders(regimes, wide, kept, typed, points, profile)


def _collect(draft: Draft, problems: list[Problem]) -> Sequence[str]:
    """Walk once to find the products whose order is to be chosen; returns the dynamic sizes."""

    def first(problem: Problem) -> Tree:
        problems.append(problem)
        count = len(problem.product.operands)
        return ((0, 1), *((number + 1, count + number - 1) for number in range(1, count - 1)))

    build(draft, first, len(draft.slots))
    names = {name for problem in problems for size in problem.sizes for name in symbols(size)}
    return sorted(names)


def _replay(trees: Sequence[Tree]) -> Trees:
    """Give out trees in the order in which the walk asks for them."""
    left = iter(trees)
    return lambda problem: next(left)


def _regime(
    built: _Built, options: Options, dynamic: Sequence[str], stored: Mapping[Slot, Order]
) -> tuple[Regime, dict[Slot, tuple[Size, ...]]]:
    draft, builder = built.draft, built.builder
    graph = draft.graph
    outputs = tuple(dict.fromkeys(draft.slots[node] for node in graph.outputs))
    profile = profile_of(options.profile)
    point = middle(dynamic, options)
    params = frozenset(draft.slots[node] for node in graph.params.values())
    steps = merge_projections(builder.steps, params, builder.shapes, profile, point)
    steps = needed(steps, outputs)
    fixed = (*(draft.slots[node] for node in leaves_of(graph, list(draft.slots))), *outputs)
    weights = {step.out for step in weights_of(graph, draft.slots, steps)}
    read = {slot for step in steps if not weights.intersection(made(step)) for slot in used(step)}
    steps, shapes = in_memory(steps, fixed, builder.shapes, weights & read, stored)
    sizes = {slot: shape for slot, (shape, _) in shapes.items()}
    return expected(graph, draft.slots, steps, shapes, built.when, point), sizes


def needed(steps: Sequence[AnyStep], outputs: Sequence[Slot]) -> list[AnyStep]:
    """Steps whose values reach an output, and all outputs of a call one of whose is needed."""
    wanted = set(outputs)
    kept: list[AnyStep] = []
    for step in reversed(steps):
        if any(slot in wanted for slot in made(step)):
            wanted.update(used(step))
            kept.append(step)
    return kept[::-1]


def _bound(graph: Graph, alive: Sequence[NodeId]) -> list[NodeId]:
    """Inputs, params and consts that steps read."""
    read = {operand for node in alive for operand in graph.operands(node)}
    read.update(graph.outputs)
    kinds = Input | Param | Const
    return [node for node in sorted(read) if isinstance(graph.node(node).op, kinds)]


def _plan(draft: Draft, region: Region, shapes: dict[Slot, tuple[Size, ...]]) -> Plan:
    graph = draft.graph
    leaves = leaves_of(graph, [n for n in draft.slots if isinstance(graph.node(n).op, Const)])
    consts = tuple(
        (draft.names[node], draft.slots[node], node)
        for node in leaves
        if isinstance(graph.node(node).op, Const)
    )
    return Plan(
        program=graph.program,
        inputs=tuple(draft.slots[node] for node in graph.inputs),
        params=tuple((name, draft.slots[node]) for name, node in graph.params.items()),
        consts=consts,
        regions=(region,),
        outputs=tuple(draft.slots[node] for node in graph.outputs),
        shapes=dict(sorted(shapes.items())),
        leaves={draft.slots[node]: graph.node(node) for node in leaves},
    )


def _spans(graph: Graph, nodes: Sequence[NodeId]) -> tuple[Span, ...]:
    return tuple(dict.fromkeys(s for node in nodes for s in graph.provenance(node).spans))
