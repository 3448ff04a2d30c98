"""The graphs of a layer on its page, before and after the rewrites: costs on nodes, a row each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from tensorlang.explanation.costs import Count, Scope
from tensorlang.explanation.text import compact
from tensorlang.ir.cost import Monomials, add, flops, scale, volume
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract, Node, NodeId
from tensorlang.ir.reads import read_indices
from tensorlang.ir.svg import to_inline_svg
from tensorlang.ir.text import NodePrinter, letters, node_names
from tensorlang.order.grid import middle
from tensorlang.order.profile import profile_of
from tensorlang.order.search import best
from tensorlang.order.trees import Problem, Product, pairs
from tensorlang.source import Span

if TYPE_CHECKING:
    from tensorlang.explanation.facts import Explanation

Links = Callable[[Sequence[Span]], str]
Costs = Mapping[NodeId, Count]


def graphs(e: Explanation, key: str, links: Links) -> Iterator[str]:
    """Both graphs, or the one where no rewrite applied."""
    before, after = _costs(e.scope, e.stages.graph), _costs(e.scope, e.stages.rewritten)
    most = max(map(e.scope.middling, (*before.values(), *after.values())), default=0.0)
    if e.stages.applied:
        said = f"Graph before the rewrites: {_total(before)} FLOPs"
        yield _figure(e, e.stages.graph, said, f"{key}b", before, most, links)
    said = "Graph after the rewrites" if e.stages.applied else "Graph"
    said = f"{said}: {_total(after)} FLOPs"
    yield _figure(e, e.stages.rewritten, said, f"{key}a", after, most, links)


def _figure(
    e: Explanation,
    graph: Graph,
    said: str,
    prefix: str,
    costs: Costs,
    most: float,
    links: Links,
) -> str:
    """A graph, and what each of its nodes computes; bars are FLOPs against the largest."""

    def count(node: NodeId) -> str:
        return compact(costs[node])

    def share(node: NodeId) -> float:
        return e.scope.middling(costs[node]) / most if most > 0 else 0.0

    names = node_names(graph)
    printer = NodePrinter(names.__getitem__)
    rows = []
    for identity in graph.alive():
        node = graph.node(identity)
        left = f"{names[identity]}[{', '.join(letters(range(node.rank)))}]"
        rows.append(
            f'<tr id="{prefix}{identity}"><td class="code">{escape(left)}</td>'
            f'<td class="code">{escape(printer.right(node))}</td>'
            f'<td class="number">{escape(count(identity))}</td>'
            f"<td>{links(graph.provenance(identity).spans)}</td></tr>"
        )
    head = '<th>value</th><th>is</th><th class="number">FLOPs</th><th>line</th>'
    return (
        f"<details open><summary>{escape(said)}</summary>"
        "<p>A product of several factors counts in its best order, a sub-layer at its own graph."
        " Bars are FLOPs. A node leads to its row.</p>"
        f'<div class="scroll">{to_inline_svg(graph, prefix, count, share)}</div>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


# --- costs ----------------------------------------------------------------------------------------
def _costs(scope: Scope, graph: Graph) -> Costs:
    return {n: scope.value(_flops(scope, graph.node(n))) for n in graph.alive()}


def _flops(scope: Scope, node: Node) -> Monomials:
    """FLOPs of a node; of a product in the order that is best at these or at middling sizes."""
    if not isinstance(node.op, Contract) or len(node.reads) < 3:
        return flops(node)
    operands = tuple(frozenset(read_indices(read)) for read in node.reads)
    problem = Problem(Product(operands, frozenset(range(node.rank))), node.sizes)
    options = scope.compiled.options
    point = {
        name: size if isinstance(size, int) else middle([name], options)[name]
        for name, size in scope.sizes.items()
    }
    tree, _ = best(problem.product, problem.at(point), profile_of(options.profile), thorough=False)
    steps = []
    for pair in pairs(problem.product, tree):
        indices = pair.left_indices | pair.right_indices
        each = 1 if indices == pair.result else 2
        steps.append(scale(volume(node.sizes[index] for index in sorted(indices)), each))
    return add(steps)


def _total(costs: Costs) -> str:
    total: Count = 0
    for count in costs.values():
        total = total + count
    return compact(total)
