"""Names of values, for whoever reads the generated code: the source's, else after the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    Const,
    Contract,
    NodeId,
    Pointwise,
    Reduce,
    Scan,
    Softmax,
    Transform,
)
from tensorlang.plan.builder import Names


def value_names(
    graph: Graph,
    nodes: Sequence[NodeId],
    alive: Sequence[NodeId],
    readers: Mapping[NodeId, list[NodeId]],
) -> dict[NodeId, str]:
    """A unique name for every one of `nodes`; those that the source names come first."""
    own = _own(graph, nodes)
    root: dict[NodeId, str] = {}
    for node in sorted({*nodes, *alive}, reverse=True):
        reader = next((r for r in readers.get(node, ()) if r in root), None)
        named = own.get(node) or next(iter(graph.provenance(node).names), None)
        root[node] = named or ("value" if reader is None else root[reader])
    names = Names()
    out: dict[NodeId, str] = {}
    for node in nodes:
        if node in own:
            out[node] = names.fresh(own[node])
    for node in nodes:
        if node not in own:
            out[node] = names.fresh(f"{root[node]}_{_suffix(graph, node, readers)}")
    return out


def _own(graph: Graph, nodes: Sequence[NodeId]) -> dict[NodeId, str]:
    out = {node: graph.program.inputs[k].name for k, node in enumerate(graph.inputs)}
    out.update((node, name) for name, node in graph.params.items())
    for node in nodes:
        names = graph.provenance(node).names
        if node not in out and names:
            out[node] = names[0]
    return out


def _suffix(graph: Graph, node: NodeId, readers: Mapping[NodeId, list[NodeId]]) -> str:
    value = graph.node(node)
    for reader in readers.get(node, ()):
        op = graph.node(reader).op
        if isinstance(op, Softmax):
            return "mask" if value.dtype is Dtype.BOOL else "logits"
    match value.op:
        case Softmax():
            return "weights"
        case Contract():
            return "sum" if len(value.reads) == 1 else "dot"
        case Reduce(kind):
            return kind.value
        case Scan(scan):
            return scan.value
        case Transform(transform):
            return transform.value
        case Const():
            return "const"
        case Pointwise():
            if value.dtype is Dtype.BOOL:
                return "mask"
            return "position" if value.dtype is Dtype.INT else "term"
    return "value"
