"""Recognises softmax-contractions: sum over k of softmax_k(scale * q·k + bias | mask) v.

Only tells what is there; the planner writes the steps. Leaves alone whatever it is not sure of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Contract,
    Iota,
    Lit,
    Node,
    NodeId,
    Pointwise,
    Read,
    Scalar,
    Semiring,
    Softmax,
)
from tensorlang.ir.reads import leaves, mentions, read_indices, rename_read, substitute
from tensorlang.options import Options
from tensorlang.plan.builder import is_simple
from tensorlang.plan.sides import sides
from tensorlang.rewrite.compose import scalar_indices
from tensorlang.rewrite.finite import Finite
from tensorlang.size import Size


@dataclass(frozen=True, slots=True)
class Match:
    """Everything in one index space `sizes`: that of the consumer, then the logits' summed indices.

    `queries`, `keys`, `values` are products; `others` multiply the result afterwards. `bias` is a
    scalar expression over `bias_reads`. `absorbed` are nodes that need no step of their own.
    """

    sizes: tuple[Size, ...]
    queries: tuple[Read, ...]
    keys: tuple[Read, ...]
    values: tuple[Read, ...]
    others: tuple[Read, ...]
    mask: Read | None
    bias: Scalar | None
    bias_reads: tuple[Read, ...]
    scale: float
    batch: tuple[int, ...]
    query: tuple[int, ...]
    key: tuple[int, ...]
    feature: tuple[int, ...]
    value: tuple[int, ...]
    absorbed: tuple[NodeId, ...]
    softmax: NodeId


@dataclass(frozen=True, slots=True)
class _Logits:
    core: NodeId
    read: Read
    scale: float
    bias: Scalar | None


def attentions(
    graph: Graph, alive: list[NodeId], readers: Mapping[NodeId, list[NodeId]], options: Options
) -> dict[NodeId, Match]:
    """Every attention of the graph, by the contraction that consumes the softmax."""
    out: dict[NodeId, Match] = {}
    finite = Finite(graph)
    for identity in alive:
        op = graph.node(identity).op
        if not isinstance(op, Softmax) or op.log:
            continue
        users = readers.get(identity, [])
        if len(users) == 1 and identity not in graph.outputs and users[0] not in out:
            match = _match(graph, identity, users[0], readers, finite, options)
            if match is not None:
                out[users[0]] = match
    return out


def _match(
    graph: Graph,
    softmax: NodeId,
    consumer: NodeId,
    readers: Mapping[NodeId, list[NodeId]],
    finite: Finite,
    options: Options,
) -> Match | None:
    soft, use = graph.node(softmax), graph.node(consumer)
    if not isinstance(soft.op, Softmax) or not isinstance(use.op, Contract):
        return None
    mine = [read for read in use.reads if read.node == softmax]
    if use.op.semiring is not Semiring.SUM_PRODUCT or len(mine) != 1 or use.dtype is not Dtype.REAL:
        return None
    if not is_simple(mine[0]) or isinstance(use.op.coefficient, complex):
        return None
    axes = [s.index for s in mine[0].subscripts if isinstance(s, At)]
    key = tuple(axes[axis] for axis in soft.op.axes)
    if not all(index in use.bound for index in key):
        return None
    rest = tuple(axes[axis] for axis in range(soft.rank) if axis not in soft.op.axes)
    others = [read for read in use.reads if read is not mine[0]]
    values = tuple(read for read in others if mentions(read, key))
    others = [read for read in others if not mentions(read, key)]
    if not values or not all(_kind(graph, read) is Dtype.REAL for read in (*values, *others)):
        return None

    # softmax's reads in the consumer's indices
    at = dict(enumerate(axes))
    logits = _logits(graph, soft.reads[0], readers)
    if logits is None:
        return None
    core = graph.node(logits.core)
    outer = graph.node(soft.reads[0].node)
    if not _plain_axes(soft.reads[0], soft.rank):
        return None
    into_outer = {
        axis: at[s.index] for axis, s in enumerate(soft.reads[0].subscripts) if isinstance(s, At)
    }
    bias_reads: tuple[Read, ...] = ()
    into_core = into_outer
    if logits.core != soft.reads[0].node:
        bias_reads = tuple(rename_read(read, into_outer) for read in outer.reads)
        if not is_simple(logits.read) or not _varies(logits.bias, outer, into_outer, key):
            return None
        into_core = {
            axis: into_outer[s.index]
            for axis, s in enumerate(logits.read.subscripts)
            if isinstance(s, At)
        }
    sizes = [*use.sizes]
    names = {axis: into_core[axis] for axis in range(core.rank)}
    for index in core.bound:
        names[index] = len(sizes)
        sizes.append(core.sizes[index])
    reads = [rename_read(read, names) for read in core.reads]
    queries, keys = sides(reads, key, rest, values, sizes, options)
    if not keys or not queries:
        return None
    on_key = {index for read in (*keys, *values) for index in read_indices(read)}
    batch = tuple(index for index in rest if index in on_key)
    on_query = dict.fromkeys(index for read in queries for index in read_indices(read))
    query = (
        *(index for index in on_query if index in rest and index not in on_key),
        *(index for index in rest if index not in on_key and index not in on_query),
    )
    if not query or not all(any(i in read_indices(read) for read in queries) for i in query):
        return None
    if not all(_held(i, keys) for i in key):
        return None
    on_keys = {index for read in keys for index in read_indices(read)}
    feature = tuple(
        names[index] for index in core.bound if names[index] in on_query and names[index] in on_keys
    )
    if not feature:
        return None
    later = {index for read in others for index in read_indices(read)} | set(range(use.rank))
    value = tuple(
        i
        for i in dict.fromkeys(i for read in values for i in read_indices(read))
        if i not in key and i not in batch and i in later
    )
    mask = None
    if len(soft.reads) > 1:
        mask = rename_read(soft.reads[1], at)
        computed = (*core.reads, *(r for r in use.reads if r is not mine[0]), *bias_reads)
        if not is_simple(mask) or not all(finite(read.node) for read in computed):
            return None
    absorbed = [softmax, *dict.fromkeys((soft.reads[0].node, logits.core))]
    return Match(
        tuple(sizes),
        queries,
        keys,
        values,
        tuple(others),
        mask,
        None if logits.bias is None else rename_scalar(logits.bias, into_outer),
        bias_reads,
        logits.scale,
        batch,
        query,
        key,
        feature,
        value,
        tuple(absorbed),
        softmax,
    )


def _varies(
    bias: Scalar | None, outer: Node, names: Mapping[int, int], key: tuple[int, ...]
) -> bool:
    """Whether a bias is not the same for all keys.

    Such a one cancels; as a mask it would only keep torch from its fused kernels.
    """
    if bias is None:
        return True
    return any(names[index] in key for index in scalar_indices(bias, outer.reads))


def _logits(graph: Graph, read: Read, readers: Mapping[NodeId, list[NodeId]]) -> _Logits | None:
    """The product q·k inside the logits, what scales it and what is added."""
    node = graph.node(read.node)
    if not _private(graph, read.node, readers) or node.dtype is not Dtype.REAL:
        return None
    match node.op:
        case Contract():
            scale = _scale(node)
            whole = Read(read.node, tuple(At(axis) for axis in range(node.rank)))
            return None if scale is None else _Logits(read.node, whole, scale, None)
        case Pointwise(expr):
            return _inside(graph, node, expr, readers)
    return None


def _inside(
    graph: Graph, node: Node, expr: Scalar, readers: Mapping[NodeId, list[NodeId]]
) -> _Logits | None:
    terms = expr.args if isinstance(expr, App) and expr.function == "add" else (expr,)
    found: _Logits | None = None
    others: list[Scalar] = []
    for term in terms:
        scaled = _scaled(term)
        logits = None
        if found is None and scaled is not None:
            factor, position = scaled
            read = node.reads[position]
            inner = graph.node(read.node)
            scale = _scale(inner)
            private = _private(graph, read.node, readers)
            if scale is not None and private and is_simple(read) and _whole(read, node.rank):
                logits = _Logits(read.node, read, factor * scale, None)
        if logits is None:
            others.append(term)
        else:
            found = logits
    if found is None:
        return None
    core = found.core
    for term in others:
        for leaf in leaves(term):
            if isinstance(leaf, Arg) and node.reads[leaf.position].node == core:
                return None
    bias = None
    if others:
        bias = others[0] if len(others) == 1 else App("add", tuple(others), node.dtype)
    return _Logits(found.core, found.read, found.scale, bias)


def _scaled(term: Scalar) -> tuple[float, int] | None:
    """(factor, position) of a term that is a number times a read."""
    match term:
        case Arg(position):
            return 1.0, position
        case App("neg", (inner,)):
            scaled = _scaled(inner)
            return None if scaled is None else (-scaled[0], scaled[1])
        case App("div", (inner, Lit(value))) if not isinstance(value, complex) and value:
            scaled = _scaled(inner)
            return None if scaled is None else (scaled[0] / float(value), scaled[1])
        case App("mul", args):
            factor = 1.0
            rest: list[Scalar] = []
            for arg in args:
                if isinstance(arg, Lit) and not isinstance(arg.value, complex):
                    factor *= float(arg.value)
                else:
                    rest.append(arg)
            scaled = _scaled(rest[0]) if len(rest) == 1 else None
            return None if scaled is None else (factor * scaled[0], scaled[1])
    return None


def rename_scalar(expr: Scalar, names: Mapping[int, int]) -> Scalar:
    """The same expression of other indices."""

    def move(leaf: Scalar) -> Scalar:
        return Iota(names[leaf.index]) if isinstance(leaf, Iota) else leaf

    return substitute(expr, move)


def bias_expression(bias: Scalar) -> tuple[Scalar, tuple[int, ...]]:
    """The bias with its reads renumbered, and which reads of the match it uses, in that order."""
    used: dict[int, int] = {}
    for leaf in leaves(bias):
        if isinstance(leaf, Arg):
            used.setdefault(leaf.position, len(used))

    def move(leaf: Scalar) -> Scalar:
        return Arg(used[leaf.position]) if isinstance(leaf, Arg) else leaf

    return substitute(bias, move), tuple(used)


def _scale(node: Node) -> float | None:
    """The coefficient of a real product over summed indices."""
    if not isinstance(node.op, Contract) or node.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if node.dtype is not Dtype.REAL or not node.bound or len(node.reads) < 2:
        return None
    coefficient = node.op.coefficient
    return None if isinstance(coefficient, complex) else float(coefficient)


def _private(graph: Graph, node: NodeId, readers: Mapping[NodeId, list[NodeId]]) -> bool:
    return len(readers.get(node, [])) == 1 and node not in graph.outputs


def _held(index: int, reads: tuple[Read, ...]) -> bool:
    return any(index in read_indices(read) for read in reads)


def _kind(graph: Graph, read: Read) -> Dtype:
    return graph.node(read.node).dtype


def _plain_axes(read: Read, rank: int) -> bool:
    return is_simple(read) and _whole(read, rank)


def _whole(read: Read, rank: int) -> bool:
    return len(read.subscripts) == rank
