"""What a contraction would cost under its best tree, at small, middling and large sizes."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.ir.nodes import Node, Read
from tensorlang.ir.reads import read_indices
from tensorlang.options import Options
from tensorlang.order.grid import Point, ladder
from tensorlang.order.profile import PROFILES
from tensorlang.order.trees import Problem, Product, best_seconds
from tensorlang.size import Size, symbols


def points(sizes: Sequence[Size], options: Options) -> list[Point]:
    """All dynamic sizes small, middling, large together: quarters of their ranges."""
    names = sorted({name for size in sizes for name in symbols(size)})
    if not names:
        return [{}]
    ladders = {name: ladder(name, options, 5)[1:4] for name in names}
    return [{name: ladders[name][k] for name in names} for k in range(3)]


def seconds(
    reads: Sequence[Read], sizes: Sequence[Size], output: Sequence[int], options: Options
) -> list[float]:
    """Seconds at each of `points(sizes)`."""
    return [price(reads, sizes, output, point, options) for point in points(sizes, options)]


def price(
    reads: Sequence[Read],
    sizes: Sequence[Size],
    output: Sequence[int],
    point: Point,
    options: Options,
) -> float:
    operands = tuple(frozenset(read_indices(read)) for read in reads)
    problem = Problem(Product(operands, frozenset(output)), tuple(sizes))
    return best_seconds(problem, point, options)


def node_price(node: Node, point: Point, options: Options) -> float:
    return price(node.reads, node.sizes, range(node.rank), point, options)


def stream(moved: float, options: Options) -> float:
    """Seconds of a pass over so many bytes."""
    return PROFILES[options.profile].stream(moved)
