"""What a contraction would cost under its best tree, at small, middling and large sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlang.ir.nodes import Node, Read
from tensorlang.ir.reads import read_indices
from tensorlang.options import Options
from tensorlang.order.grid import Point, ladder
from tensorlang.order.profile import profile_of
from tensorlang.order.search import best_seconds
from tensorlang.order.trees import Problem, Product
from tensorlang.size import Size, symbols

_GAIN = 0.95


def points(sizes: Sequence[Size], options: Options) -> list[Point]:
    """All dynamic sizes small, middling, large together: quarters of their ranges."""
    names = sorted({name for size in sizes for name in symbols(size)})
    if not names:
        return [{}]
    ladders = {name: ladder(name, options, 5)[1:4] for name in names}
    return [{name: ladders[name][k] for name in names} for k in range(3)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds before and after a rewrite, at each of some points."""

    before: tuple[float, ...]
    after: tuple[float, ...]

    def cheaper(self, margin: float = _GAIN) -> list[bool]:
        """Where the rewrite pays, by default by more than the error of such figures."""
        return [new < margin * old for old, new in zip(self.before, self.after, strict=True)]

    def mostly(self, margin: float = _GAIN) -> bool:
        """Whether it pays at more than half of the points."""
        return 2 * sum(self.cheaper(margin)) > len(self.before)

    def together(self) -> bool:
        """Whether it pays in the sum of all points: where it scales better, by the large ones."""
        return sum(self.after) < _GAIN * sum(self.before)

    def saved(self) -> str:
        """The most that is saved, for the report."""
        most = max(old / new for old, new in zip(self.before, self.after, strict=True))
        return f"up to {most:.3g} times less" if most > 1 else ""


def compared(
    where: Sequence[Point],
    before: Callable[[Point], float],
    after: Callable[[Point], float],
) -> Comparison:
    """Price both at all points."""
    return Comparison(tuple(map(before, where)), tuple(map(after, where)))


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
    return profile_of(options.profile).stream(moved)
