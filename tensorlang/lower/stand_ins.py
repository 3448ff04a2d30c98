"""Stand-ins for tensors give way to what they stand for."""

from __future__ import annotations

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import NodeId
from tensorlang.ir.reads import redirect


def substituted(graph: Graph, root: NodeId, place: NodeId, by: NodeId) -> NodeId:
    """The node with all reads of `place`, direct or not, replaced by reads of `by`."""
    needed = {root}
    stack = [root]
    while stack:
        for operand in graph.operands(stack.pop()):
            if operand not in needed and operand >= place:
                needed.add(operand)
                stack.append(operand)
    moved = {place: by}
    for identity in sorted(needed - {place}):
        node = graph.node(identity)
        if any(moved.get(operand, operand) != operand for operand in graph.operands(identity)):
            origin = graph.provenance(identity)
            new = redirect(node, lambda k: moved.get(k, k))
            moved[identity] = graph.add(new, spans=origin.spans, rules=origin.rules)
    return moved.get(root, root)
