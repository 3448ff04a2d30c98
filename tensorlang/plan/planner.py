"""graph → plan: trees for each regime of sizes, the steps that a walk makes under them.

axes.py then chooses how values lie in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from tensorlang.plan.walk import Draft, build, drafted, leaves_of, renumbered
from tensorlang.size import Size, symbols
from tensorlang.source import Span


def plan(graph: Graph, options: Options) -> Plan:
    """Plan one layer: steps, their order, trees by size regime, axes in memory, expected cost."""
    ours = _planned(graph, options, fused=True)
    if options.memory is not None and _has_attention(ours):
        apart = _planned(graph, options, fused=False)
        ours = min((ours, apart), key=lambda made: _beyond(made, options))
    return _for_target(ours, options)


def products(graph: Graph, options: Options) -> list[Problem]:
    """The products of three or more tensors whose order a plan chooses."""
    problems: list[Problem] = []
    _collect(drafted(graph, fused=True, options=options), problems)
    return problems


def plan_in_orders(graph: Graph, options: Options, orders: Sequence[Tree]) -> Plan:
    """The plan that takes these orders for `products`, at all sizes."""
    draft = drafted(graph, fused=True, options=options)
    return _for_target(_assembled(draft, [(When(()), tuple(orders))], options), options)


def _for_target(ours: Plan, options: Options) -> Plan:
    if options.target == "triton":
        from tensorlang.plan.fuse import fuse  # only this target needs it

        fused: Plan = fuse(ours, options)
        return fused
    return ours


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


def _planned(graph: Graph, options: Options, fused: bool, keeps: bool = True) -> Plan:
    """A plan with one region; attentions are single steps if `fused`, else spelled out.

    If it `keeps` what is made of parameters alone, calls that do so have regimes of their own.
    """
    draft = drafted(graph, fused, options)
    problems: list[Problem] = []
    names = _collect(draft, problems)
    if not keeps:
        problems = [replace(problem, kept=frozenset()) for problem in problems]
    made = _assembled(draft, chosen_regimes(names, problems, options), options)
    (region,) = made.regions
    asked = any(regime.asks for regime in region.regimes)
    if asked and not any(weights_of(graph, draft.slots, r.steps) for r in region.regimes):
        return _planned(graph, options, fused, keeps=False)
    return made


def _assembled(
    draft: Draft, chosen: Sequence[tuple[When, Sequence[Tree]]], options: Options
) -> Plan:
    """A plan with one region that holds these regimes."""
    graph = draft.graph
    dynamic = [dim.name for dim in graph.program.dynamic]
    shapes: dict[Slot, tuple[Size, ...]] = {}
    made_regimes: list[Regime] = []
    free = len(draft.slots)
    for number, (when, trees) in enumerate(chosen):
        if number:  # a value may lie otherwise in another regime: only outputs keep their slots
            draft, free = renumbered(draft, free)
        builder = build(draft, _replay(trees), free)
        free = builder.free
        regime, sizes = _regime(draft, builder, when, options, dynamic)
        made_regimes.append(regime)
        shapes.update(sizes)
    region = Region(
        tuple(draft.slots[node] for node in _bound(graph, draft.alive)),
        tuple(dict.fromkeys(draft.slots[node] for node in graph.outputs)),
        tuple(made_regimes),
        "torch",
        "plain torch",
        _spans(graph, graph.outputs),
    )
    return _plan(draft, region, shapes)


# --- regimes -------------------------------------------------------------------------------------
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
    draft: Draft,
    builder: Builder,
    when: When,
    options: Options,
    dynamic: Sequence[str],
) -> tuple[Regime, dict[Slot, tuple[Size, ...]]]:
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
    steps, shapes = in_memory(steps, fixed, builder.shapes, weights & read)
    sizes = {slot: shape for slot, (shape, _) in shapes.items()}
    return expected(graph, draft.slots, steps, shapes, when, point), sizes


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
