"""The graph of one layer: append-only, hash-consed, its edges in a networkx.DiGraph.

Names and spans are a side table, united when equal nodes meet, and never part of equality.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from tensorlang.check.program import Program
from tensorlang.ir.canonical import canonical
from tensorlang.ir.nodes import Node, NodeId
from tensorlang.ir.reads import operands
from tensorlang.source import Span


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a node comes from: names in the source, spans, rewrites that made it; in order met."""

    names: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    rules: tuple[str, ...] = ()


class _Origin:
    """Provenance while it grows: dictionaries as ordered sets."""

    __slots__ = ("names", "rules", "spans")

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.spans: dict[Span, None] = {}
        self.rules: dict[str, None] = {}


class Graph:
    """Nodes are ids in order of adding, so operands have smaller ids than their readers.

    `inputs` holds the id of every input by position, `params` by name, `outputs` in order. Nodes
    that nothing needs any more stay; `alive` gives those that the outputs need.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nx: nx.DiGraph[NodeId] = nx.DiGraph()
        self.inputs: list[NodeId] = []
        self.params: dict[str, NodeId] = {}
        self.outputs: list[NodeId] = []
        self._nodes: list[Node] = []
        self._ids: dict[Node, NodeId] = {}
        self._origins: list[_Origin] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def add(
        self,
        node: Node,
        name: str | None = None,
        spans: Iterable[Span] = (),
        rules: Iterable[str] = (),
    ) -> NodeId:
        """The id of this node, which is new only if no equal node is there.

        Equal means up to names of bound indices, order of a Contract's factors, and order and
        repetition of a Pointwise's reads: what is stored is `canonical(node)`.
        """
        node = canonical(node)
        found = self._ids.get(node)
        if found is None:
            found = self._append(node)
        self.note(found, () if name is None else (name,), spans, rules)
        return found

    def find(self, node: Node) -> NodeId | None:
        """The id of an equal node, if there is one."""
        return self._ids.get(canonical(node))

    def _append(self, node: Node) -> NodeId:
        identity = len(self._nodes)
        reads = operands(node)
        assert all(0 <= operand < identity for operand in reads), (identity, node)
        self._nodes.append(node)
        self._ids[node] = identity
        self._origins.append(_Origin())
        self.nx.add_node(identity)
        self.nx.add_edges_from((operand, identity) for operand in reads)
        return identity

    def note(
        self,
        identity: NodeId,
        names: Iterable[str] = (),
        spans: Iterable[Span] = (),
        rules: Iterable[str] = (),
    ) -> None:
        """Add to a node's provenance."""
        origin = self._origins[identity]
        origin.names.update(dict.fromkeys(names))
        origin.spans.update(dict.fromkeys(spans))
        origin.rules.update(dict.fromkeys(rules))

    def node(self, identity: NodeId) -> Node:
        return self._nodes[identity]

    def provenance(self, identity: NodeId) -> Provenance:
        origin = self._origins[identity]
        return Provenance(tuple(origin.names), tuple(origin.spans), tuple(origin.rules))

    def operands(self, identity: NodeId) -> tuple[NodeId, ...]:
        """Nodes that this node reads, each once."""
        return tuple(self.nx.predecessors(identity))

    def readers(self, identity: NodeId) -> tuple[NodeId, ...]:
        """Nodes that read this node, alive or not, in order of adding."""
        return tuple(self.nx.successors(identity))

    def alive(self) -> list[NodeId]:
        """Ids that the outputs need, operands before readers."""
        seen = set(self.outputs)
        stack = list(self.outputs)
        while stack:
            for operand in self.nx.predecessors(stack.pop()):
                if operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        return sorted(seen)

    def generations(self) -> list[list[NodeId]]:
        """What `alive` gives, in layers: each node one below the lowest of its operands."""
        layers = nx.topological_generations(self.nx.subgraph(self.alive()))
        return [sorted(layer) for layer in layers]
