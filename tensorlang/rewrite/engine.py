"""Walks a graph for the rules: one copy a pass, operands first, each node until no rule applies.

A rule is a function of a node and its site that returns an equal node (or the id of one), or None
for "does not apply". Rules decide, the engine walks; what no output needs is not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Call, Input, Node, NodeId, Param
from tensorlang.ir.reads import redirect
from tensorlang.options import Options
from tensorlang.rewrite.finite import Finite
from tensorlang.source import Span

_MOST_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Applied:
    """One application of a rule: its name, what it did, what that saved ("" if not counted)."""

    rule: str
    what: str
    saved: str
    spans: tuple[Span, ...]


class Site:
    """The graph that a pass writes, and what a rule may ask about the node at hand."""

    def __init__(self, source: Graph, options: Options, rules: Sequence[Row]) -> None:
        self.options = options
        self.graph = Graph(source.program)
        self.finite = Finite(self.graph)
        self.applied: list[Applied] = []
        self.changed = False
        self.products: dict[Hashable, Node] = {}
        self._rules = rules
        self._uses: dict[NodeId, int] = {}
        self._spans: tuple[Span, ...] = ()
        self._said: list[tuple[str, str]] = []
        self._subject = ""

    def node(self, identity: NodeId) -> Node:
        return self.graph.node(identity)

    def uses(self, identity: NodeId) -> int:
        """How many nodes and outputs of the graph before this pass read a node."""
        return self._uses.get(identity, 1)

    def add(self, node: Node) -> NodeId:
        """Add a node, itself rewritten by the rules of this pass."""
        return self._settle(node, (), ())[0]

    def stored(self, node: Node) -> NodeId | None:
        """The id of an equal node that the graph before this pass had too."""
        identity = self.graph.find(node)
        return identity if identity in self._uses else None

    def did(self, what: str, saved: str = "") -> None:
        """Say what the rule that is about to return a node does, with `{}` for where."""
        self._said.append((what, saved))

    def copy(self, source: Graph) -> None:
        """Fill the new graph from `source`."""
        alive = source.alive()
        uses: dict[NodeId, int] = {}
        for reader in alive:
            for operand in source.operands(reader):
                uses[operand] = uses.get(operand, 0) + 1
        for output in source.outputs:
            uses[output] = uses.get(output, 0) + 1
        moved: dict[NodeId, NodeId] = {}
        leaves = dict.fromkeys((*source.inputs, *source.params.values()))
        for identity in sorted({*alive, *leaves}):
            node = redirect(source.node(identity), moved.__getitem__)
            origin = source.provenance(identity)
            self._spans = origin.spans
            self._subject = origin.names[0] if origin.names else ""
            new, rules = self._settle(node, origin.names, origin.spans)
            self.graph.note(new, rules=(*origin.rules, *rules))
            self._uses[new] = self._uses.get(new, 0) + uses.get(identity, 0)
            moved[identity] = new
        self.graph.inputs = [moved[node] for node in source.inputs]
        self.graph.params = {name: moved[node] for name, node in source.params.items()}
        self.graph.outputs = [moved[node] for node in source.outputs]

    def _settle(
        self, node: Node, names: tuple[str, ...], spans: tuple[Span, ...]
    ) -> tuple[NodeId, list[str]]:
        """Rewrite one node until no rule applies, and add it."""
        done: list[str] = []
        if not isinstance(node.op, Input | Param | Call):
            for _ in range(_MOST_ROUNDS):
                result = self._once(node, done)
                if result is None:
                    break
                if isinstance(result, NodeId):
                    self.graph.note(result, names, spans)
                    return result, done
                node = result
            else:
                raise AssertionError(("rules go in circles", done[-4:], node))
        identity = self.graph.add(node, spans=spans or self._spans)
        self.graph.note(identity, names)
        return identity, done

    def _once(self, node: Node, done: list[str]) -> Node | NodeId | None:
        for row in self._rules:
            said, self._said = self._said, []
            result = row.rule(node, self)
            here, self._said = self._said, said
            if result is None:
                continue
            done.append(row.name)
            self.changed = True
            for what, saved in here:
                self.applied.append(Applied(row.name, self._where(what), saved, self._spans))
            return result
        return None

    def _where(self, what: str) -> str:
        return f"{self._subject}: {what}" if self._subject else what


Rule = Callable[[Node, Site], "Node | NodeId | None"]


@dataclass(frozen=True, slots=True)
class Row:
    """A rule by the name that `--without` takes, and why it stands where it stands."""

    name: str
    rule: Rule
    why: str


def apply(
    graph: Graph, rows: Sequence[Row], options: Options
) -> tuple[Graph, tuple[Applied, ...], bool]:
    """One pass: the new graph, what was done, and whether anything was."""
    site = Site(graph, options, rows)
    site.copy(graph)
    return site.graph, tuple(site.applied), site.changed
