"""Plans that a planner weighs at given sizes: the likeliest orders of products, each as a plan."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.graph import Graph
from tensorlang.options import Options
from tensorlang.order.grid import Point
from tensorlang.order.kept import kept_trees
from tensorlang.order.prices import price
from tensorlang.order.profile import profile_of
from tensorlang.order.search import candidates
from tensorlang.order.trees import Problem, Tree
from tensorlang.plan.plan import Plan
from tensorlang.plan.planner import plan_in_orders, products

_MOST_EACH = 4  # orders of one product
_SLOWEST = 20.0  # times the cheapest


def alternatives(
    graph: Graph, options: Options, point: Point, kept: bool, most: int = 5
) -> list[Plan]:
    """Plans in the order of their price at a point, at most so many.

    Each differs from the first in the order of one product. `kept`: for calls that keep what is
    made of parameters alone.
    """
    problems = products(graph, options)
    if not kept:
        problems = [replace(problem, kept=frozenset()) for problem in problems]
    priced = [_priced(problem, options, point)[:_MOST_EACH] for problem in problems]
    least = [trees[0] for trees in priced]
    settings = {tuple(tree for _, tree in least): 0.0}
    for place, trees in enumerate(priced):
        for seconds, tree in trees[1:]:
            orders = [t for _, t in least]
            orders[place] = tree
            settings.setdefault(tuple(orders), seconds - least[place][0])
    ordered = sorted(settings, key=lambda orders: settings[orders])
    return [plan_in_orders(graph, options, orders) for orders in ordered[:most]]


def _priced(problem: Problem, options: Options, point: Point) -> list[tuple[float, Tree]]:
    """Orders of a product, cheapest first, without those that nobody would wait for."""
    sizes, profile = problem.at(point), profile_of(options.profile)
    found = candidates(problem.product, sizes, profile, finder=options.path_finder)
    found += kept_trees(problem.product, problem.kept, sizes, profile)
    trees = dict.fromkeys(found)
    both = [(price(problem.product, t, sizes, profile, problem.kept), t) for t in trees]
    slowest = _SLOWEST * min(seconds for seconds, _ in both)
    return sorted((e for e in both if e[0] <= slowest), key=lambda entry: entry[0])
