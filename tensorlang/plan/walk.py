"""The walk from a graph to steps: products as trees of pairs, attentions one step, calls together.

It is repeated for every regime of sizes, under the trees of that regime.
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
    Iota,
    Node,
    NodeId,
    Param,
    Pointwise,
    Read,
)
from tensorlang.ir.reads import leaves, read_indices, redirect, redirect_read, rename_read
from tensorlang.options import Options
from tensorlang.plan.attention import Match, attentions, bias_expression, rename_scalar
from tensorlang.plan.builder import Builder, Names, Target, Trees, is_simple
from tensorlang.plan.naming import value_names
from tensorlang.plan.plan import (
    Attention,
    AttentionStep,
    Slot,
)
from tensorlang.source import Span


@dataclass(frozen=True, slots=True)
class Draft:
    """What every regime starts from."""

    graph: Graph
    alive: tuple[NodeId, ...]
    matches: Mapping[NodeId, Match]
    absorbed: frozenset[NodeId]
    slots: Mapping[NodeId, Slot]
    names: Mapping[NodeId, str]
    calls: Mapping[tuple[str, str, tuple[Read, ...]], tuple[NodeId, ...]]


def drafted(graph: Graph, fused: bool, options: Options) -> Draft:
    """Slots and names of all values; attentions are single steps if `fused`, else spelled out."""
    alive = graph.alive()
    readers = alive_readers(graph, alive)
    matches = attentions(graph, alive, readers, options) if fused else {}
    absorbed = frozenset(node for match in matches.values() for node in match.absorbed)
    known = leaves_of(graph, alive)
    steps = [node for node in alive if node not in absorbed and node not in known]
    slots = {node: slot for slot, node in enumerate([*known, *steps])}
    names = value_names(graph, [*known, *steps], alive, readers)
    calls = _calls(graph, steps)
    return Draft(graph, tuple(steps), matches, absorbed, slots, names, calls)


def renumbered(draft: Draft, free: int) -> tuple[Draft, int]:
    """The draft with fresh slots from `free` on, for all but leaves and outputs."""
    kept = {*leaves_of(draft.graph, list(draft.slots)), *draft.graph.outputs}
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


def leaves_of(graph: Graph, alive: Sequence[NodeId]) -> dict[NodeId, None]:
    """Inputs, params and consts: all inputs and params, alive or not."""
    consts = [node for node in alive if isinstance(graph.node(node).op, Const)]
    return dict.fromkeys((*graph.inputs, *graph.params.values(), *consts))


def build(draft: Draft, trees: Trees, free: int) -> Builder:
    """Walk once: all steps, with products in the order that `trees` gives."""
    graph = draft.graph
    kinds = Param | Const
    weights = frozenset(s for n, s in draft.slots.items() if isinstance(graph.node(n).op, kinds))
    names = Names()
    for name in draft.names.values():
        names.fresh(name)
    kept = set(weights)
    frozen = {param.name for param in graph.program.params if param.frozen}
    params = ((name, draft.slots[node]) for name, node in graph.params.items())
    trained = frozenset(slot for name, slot in params if name not in frozen)
    given = (draft.slots[n] for n in graph.inputs if graph.node(n).dtype >= Dtype.REAL)
    grads = {*trained, *given}
    builder = Builder(trees, weights, kept, trained, grads, free, names, dict(draft.slots))
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


def _target(draft: Draft, identity: NodeId) -> Target:
    spans = draft.graph.provenance(identity).spans
    return Target(draft.slots[identity], draft.names[identity], spans)


def _plain(draft: Draft, builder: Builder, identity: NodeId) -> None:
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


def _call(draft: Draft, builder: Builder, identity: NodeId) -> tuple[NodeId, ...]:
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


def _attend(draft: Draft, builder: Builder, identity: NodeId, match: Match) -> None:
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
    builder.grads.add(slot)
    builder.named[slot] = name
    if direct:
        return
    attended = Read(slot, tuple(At(index) for index in out_axes))
    reads = [attended, *(slotted(read) for read in match.others)]
    output = tuple(range(node.rank))
    builder.contract(reads, sizes, output, node.dtype, target, node.op.coefficient)


def _bias(
    draft: Draft, builder: Builder, match: Match, name: str, spans: tuple[Span, ...]
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
