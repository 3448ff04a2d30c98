"""graph → plan: every node becomes steps, products become trees of pairs, attentions one step.

The walk is repeated for every regime of sizes; axes.py then chooses how values lie in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    Arg,
    At,
    Call,
    Const,
    Contract,
    Input,
    Iota,
    Node,
    NodeId,
    Param,
    Pointwise,
    Read,
)
from tensorlang.ir.reads import leaves, read_indices, redirect, redirect_read, rename_read
from tensorlang.options import Options
from tensorlang.order.grid import grid, middle
from tensorlang.order.profile import profile_of
from tensorlang.order.trees import Problem, Tree
from tensorlang.plan.attention import Match, attentions, bias_expression, rename_scalar
from tensorlang.plan.axes import in_memory
from tensorlang.plan.builder import Builder, Names, Target, Trees, is_simple
from tensorlang.plan.cost import at, made, used
from tensorlang.plan.expected import expected, weights_of
from tensorlang.plan.kept import When, chosen_regimes
from tensorlang.plan.naming import value_names
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    Plan,
    Regime,
    Region,
    Slot,
)
from tensorlang.plan.projections import merge_projections
from tensorlang.plan.regimes import regime_at
from tensorlang.size import Size, symbols
from tensorlang.source import Span


@dataclass(frozen=True, slots=True)
class _Draft:
    """What every regime starts from."""

    graph: Graph
    alive: tuple[NodeId, ...]
    matches: Mapping[NodeId, Match]
    absorbed: frozenset[NodeId]
    slots: Mapping[NodeId, Slot]
    names: Mapping[NodeId, str]
    calls: Mapping[tuple[str, str, tuple[Read, ...]], tuple[NodeId, ...]]


def plan(graph: Graph, options: Options) -> Plan:
    """Plan one layer: steps, their order, trees by size regime, axes in memory, expected cost."""
    ours = _planned(graph, options, fused=True)
    if options.memory is not None and _has_attention(ours):
        apart = _planned(graph, options, fused=False)
        ours = min((ours, apart), key=lambda made: _beyond(made, options))
    return _for_target(ours, options)


def products(graph: Graph) -> list[Problem]:
    """The products of three or more tensors whose order a plan chooses."""
    problems: list[Problem] = []
    _collect(_draft(graph, fused=True), problems)
    return problems


def plan_in_orders(graph: Graph, options: Options, orders: Sequence[Tree]) -> Plan:
    """The plan that takes these orders for `products`, at all sizes."""
    draft = _draft(graph, fused=True)
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
    draft = _draft(graph, fused)
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
    draft: _Draft, chosen: Sequence[tuple[When, Sequence[Tree]]], options: Options
) -> Plan:
    """A plan with one region that holds these regimes."""
    graph = draft.graph
    dynamic = [dim.name for dim in graph.program.dynamic]
    shapes: dict[Slot, tuple[Size, ...]] = {}
    made_regimes: list[Regime] = []
    free = len(draft.slots)
    for number, (when, trees) in enumerate(chosen):
        if number:  # a value may lie otherwise in another regime: only outputs keep their slots
            draft, free = _renumbered(draft, free)
        builder = _build(draft, _replay(trees), free)
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


# --- the walk ------------------------------------------------------------------------------------
def _draft(graph: Graph, fused: bool) -> _Draft:
    alive = graph.alive()
    readers = alive_readers(graph, alive)
    matches = attentions(graph, alive, readers) if fused else {}
    absorbed = frozenset(node for match in matches.values() for node in match.absorbed)
    leaves = _leaves(graph, alive)
    steps = [node for node in alive if node not in absorbed and node not in leaves]
    slots = {node: slot for slot, node in enumerate([*leaves, *steps])}
    names = value_names(graph, [*leaves, *steps], alive, readers)
    calls = _calls(graph, steps)
    return _Draft(graph, tuple(steps), matches, absorbed, slots, names, calls)


def _renumbered(draft: _Draft, free: int) -> tuple[_Draft, int]:
    kept = {*_leaves(draft.graph, list(draft.slots)), *draft.graph.outputs}
    slots = dict(draft.slots)
    for node in draft.alive:
        if node not in kept:
            slots[node], free = free, free + 1
    return replace(draft, slots=slots), free


def alive_readers(graph: Graph, alive: Sequence[NodeId]) -> dict[NodeId, list[NodeId]]:
    """Readers that are alive, in order."""
    out: dict[NodeId, list[NodeId]] = {}
    for node in alive:
        for operand in graph.operands(node):
            out.setdefault(operand, []).append(node)
    return out


def _leaves(graph: Graph, alive: Sequence[NodeId]) -> dict[NodeId, None]:
    """Inputs, params and consts: all inputs and params, alive or not."""
    consts = [node for node in alive if isinstance(graph.node(node).op, Const)]
    return dict.fromkeys((*graph.inputs, *graph.params.values(), *consts))


def _build(draft: _Draft, trees: Trees, free: int) -> Builder:
    graph = draft.graph
    kinds = Param | Const
    weights = frozenset(s for n, s in draft.slots.items() if isinstance(graph.node(n).op, kinds))
    names = Names()
    for name in draft.names.values():
        names.fresh(name)
    kept = set(weights)
    builder = Builder(trees, weights, kept, free, names, dict(draft.slots))
    for node, slot in draft.slots.items():
        builder.shapes[slot] = (graph.node(node).shape, graph.node(node).dtype)
        builder.named[slot] = draft.names[node]
    done: set[NodeId] = set()
    for identity in draft.alive:
        if identity in done:
            continue
        if isinstance(graph.node(identity).op, Call):
            done.update(_call(draft, builder, identity))
        elif identity in draft.matches:
            _attend(draft, builder, identity, draft.matches[identity])
        else:
            _plain(draft, builder, identity)
    return builder


def _target(draft: _Draft, identity: NodeId) -> Target:
    spans = draft.graph.provenance(identity).spans
    return Target(draft.slots[identity], draft.names[identity], spans)


def _plain(draft: _Draft, builder: Builder, identity: NodeId) -> None:
    node = redirect(draft.graph.node(identity), draft.slots.__getitem__)
    target = _target(draft, identity)
    if not isinstance(node.op, Contract) or not node.reads:
        builder.emit(node, target)
        return
    op, output, reads = node.op, tuple(range(node.rank)), list(node.reads)
    mentioned = {index for read in reads for index in read_indices(read)}
    if not mentioned.issuperset(range(len(node.sizes))):
        # an axis that no read has: the product first, then copies along it
        known = tuple(index for index in output if index in mentioned)
        name = builder.names.fresh(target.name)
        part = Target(None, name, target.spans)
        slot = builder.contract(
            reads, node.sizes, known, node.dtype, part, op.coefficient, op.semiring
        )
        whole = Read(slot, tuple(At(index) for index in known))
        assert all(index in mentioned for index in node.bound), node
        copied = Pointwise(Arg(0))
        builder.emit(Node(copied, (whole,), node.shape, node.rank, node.dtype), target)
        return
    builder.contract(reads, node.sizes, output, node.dtype, target, op.coefficient, op.semiring)


def _call(draft: _Draft, builder: Builder, identity: NodeId) -> tuple[NodeId, ...]:
    """All outputs of one call of a sub-layer, adjacent."""
    together = draft.calls[_call_key(draft.graph.node(identity))]
    for other in together:
        node = redirect(draft.graph.node(other), draft.slots.__getitem__)
        builder.emit(node, _target(draft, other))
    return together


def _call_key(node: Node) -> tuple[str, str, tuple[Read, ...]]:
    assert isinstance(node.op, Call), node
    return node.op.sub, node.op.signature, node.reads


def _calls(
    graph: Graph, nodes: Sequence[NodeId]
) -> dict[tuple[str, str, tuple[Read, ...]], tuple[NodeId, ...]]:
    """Outputs that are alive, by the call that gives them."""
    out: dict[tuple[str, str, tuple[Read, ...]], tuple[NodeId, ...]] = {}
    for identity in nodes:
        node = graph.node(identity)
        if isinstance(node.op, Call):
            out[_call_key(node)] = (*out.get(_call_key(node), ()), identity)
    return out


def _attend(draft: _Draft, builder: Builder, identity: NodeId, match: Match) -> None:
    """The steps of an attention: what forms q, k and v, the fused step, what multiplies it."""
    graph, target = draft.graph, _target(draft, identity)
    node = graph.node(identity)
    assert isinstance(node.op, Contract), node
    sizes = match.sizes
    spans = graph.provenance(match.softmax).spans
    base = draft.names[identity]

    def slotted(read: Read) -> Read:
        return redirect_read(read, draft.slots.__getitem__)

    def side(reads: Sequence[Read], kept: Sequence[int], name: str) -> Read:
        """One tensor over those of `kept` that the reads mention."""
        own = [slotted(read) for read in reads]
        mentioned = {index for read in own for index in read_indices(read)}
        if len(own) == 1 and mentioned <= set(kept) and is_simple(own[0]):
            return own[0]
        output = tuple(index for index in kept if index in mentioned)
        kind = max(graph.node(read.node).dtype for read in reads)
        into = Target(None, builder.names.fresh(f"{base}_{name}"), spans)
        slot = builder.contract(own, sizes, output, kind, into)
        return Read(slot, tuple(At(index) for index in output))

    q = side(match.queries, (*match.batch, *match.query, *match.feature), "queries")
    k = side(match.keys, (*match.batch, *match.key, *match.feature), "keys")
    v = side(match.values, (*match.batch, *match.key, *match.value), "values")
    mask = None if match.mask is None else slotted(match.mask)
    bias = _bias(draft, builder, match, f"{base}_bias", spans)
    out_axes = (*match.batch, *match.query, *match.value)
    whole = out_axes and set(out_axes) == set(range(node.rank)) and not match.others
    direct = whole and node.op.coefficient == 1
    slot = draft.slots[identity] if direct else builder.slot()
    if direct:
        out_axes = tuple(range(node.rank))
    name = base if direct else builder.names.fresh(f"{base}_attended")
    order = (*match.batch, *match.query, *match.key, *match.feature, *match.value)
    local = {index: position for position, index in enumerate(order)}

    def moved(read: Read) -> Read:
        return rename_read(read, local)

    def numbers(indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(local[index] for index in indices)

    attention = Attention(
        moved(q),
        moved(k),
        moved(v),
        None if mask is None else moved(mask),
        None if bias is None else moved(bias),
        match.scale,
        tuple(sizes[index] for index in order),
        numbers(match.batch),
        numbers(match.query),
        numbers(match.key),
        numbers(match.feature),
        numbers(match.value),
        numbers(out_axes),
    )
    builder.steps.append(AttentionStep(slot, attention, name, target.spans if direct else spans))
    builder.shapes[slot] = (tuple(sizes[index] for index in out_axes), node.dtype)
    builder.named[slot] = name
    if direct:
        return
    attended = Read(slot, tuple(At(index) for index in out_axes))
    reads = [attended, *(slotted(read) for read in match.others)]
    output = tuple(range(node.rank))
    builder.contract(reads, sizes, output, node.dtype, target, node.op.coefficient)


def _bias(
    draft: _Draft, builder: Builder, match: Match, name: str, spans: tuple[Span, ...]
) -> Read | None:
    """A step that forms what is added to the logits, over the indices that it mentions."""
    if match.bias is None:
        return None
    expr, positions = bias_expression(match.bias)
    reads = [redirect_read(match.bias_reads[k], draft.slots.__getitem__) for k in positions]
    mentioned = {i for read in reads for i in read_indices(read)}
    mentioned |= {leaf.index for leaf in leaves(expr) if isinstance(leaf, Iota)}
    axes = tuple(i for i in (*match.batch, *match.query, *match.key) if i in mentioned)
    local = {index: position for position, index in enumerate(axes)}
    node = Node(
        Pointwise(rename_scalar(expr, local)),
        tuple(rename_read(read, local) for read in reads),
        tuple(match.sizes[index] for index in axes),
        len(axes),
        Dtype.REAL,
    )
    slot = builder.emit(node, Target(None, builder.names.fresh(name), spans))
    return Read(slot, tuple(At(index) for index in axes))


# --- regimes -------------------------------------------------------------------------------------
def _collect(draft: _Draft, problems: list[Problem]) -> Sequence[str]:
    """Walk once to find the products whose order is to be chosen; returns the dynamic sizes."""

    def first(problem: Problem) -> Tree:
        problems.append(problem)
        count = len(problem.product.operands)
        return ((0, 1), *((number + 1, count + number - 1) for number in range(1, count - 1)))

    _build(draft, first, len(draft.slots))
    names = {name for problem in problems for size in problem.sizes for name in symbols(size)}
    return sorted(names)


def _replay(trees: Sequence[Tree]) -> Trees:
    """Give out trees in the order in which the walk asks for them."""
    left = iter(trees)
    return lambda problem: next(left)


def _regime(
    draft: _Draft,
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
    fixed = (*(draft.slots[node] for node in _leaves(graph, list(draft.slots))), *outputs)
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


def _plan(draft: _Draft, region: Region, shapes: dict[Slot, tuple[Size, ...]]) -> Plan:
    graph = draft.graph
    leaves = _leaves(graph, [n for n in draft.slots if isinstance(graph.node(n).op, Const)])
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
