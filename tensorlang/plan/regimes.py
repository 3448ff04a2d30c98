"""Which trees for which sizes: candidates priced on a grid, a few kept, thresholds fitted.

Two, or one, that stay within 15 % of the best on 95 % of the grid; up to four where two lose half.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tensorlang.ir.cost import add, scale, volume
from tensorlang.options import Options
from tensorlang.order.grid import Point, grid
from tensorlang.order.kept import kept_trees
from tensorlang.order.prices import peak, price, unkept
from tensorlang.order.profile import Profile, profile_of
from tensorlang.order.refine import refine
from tensorlang.order.search import candidates, small
from tensorlang.order.training import Training, trained
from tensorlang.order.trees import Problem, Product, Tree
from tensorlang.plan.plan import Monomials, Regime, Threshold

Trees = tuple[Tree, ...]
Choice = tuple[tuple[Threshold, ...], Trees]

_MOST = 4
_USUAL = 2
_SLACK = 1.15
_SLACK_BEYOND = 1.5  # what a third and a fourth regime must mend: code to read has a cost too
_SHARE = 0.95
_FEW_NAMES = 4  # sizes whose products are all tried as thresholds; of more only pairs
_BROKEN = 1e4  # how many times too slow a regime counts that is beyond the memory bound
_MENDED = 0.1  # of a regime's time, that a threshold on FLOPs must save on average
_MOST_TERMS = 4  # of such a threshold
_MANY = 32  # operands of a product that is searched at the middle of its sizes only
_MOST_TREES = 6  # distinct trees of one product that are carried
_LEAST = 1e-15  # seconds; what is kept costs none, and costs are compared by ratios


def regimes(names: Sequence[str], problems: Sequence[Problem], options: Options) -> list[Choice]:
    """Trees for every problem under each regime, its thresholds all to hold; the last has none."""
    if not problems:
        return [((), ())]
    points = grid(names, options)
    per_problem = [_trees(problem, points, options) for problem in problems]
    settings = _settings(problems, per_problem, points)
    seconds = [
        [_together(problems, setting, point, options) for point in points] for setting in settings
    ]
    kept = _cover(seconds)
    if len(kept) == 1:
        return [((), settings[kept[0]])]
    chosen = _fitted(kept, seconds, points, names)
    chosen = _by_flops(chosen, problems, settings, seconds, points, names)
    least = min(range(len(settings)), key=lambda k: (_broken([(k, ())], seconds, points), k))
    if _broken([(least, ())], seconds, points) < _broken(chosen, seconds, points):
        chosen = [(least, ())]
    return [(thresholds, settings[k]) for k, thresholds in chosen]


def regime_at(regimes: Sequence[Regime], point: Point, kept: bool = False) -> Regime:
    """The regime of a call at these sizes, which keeps what is made of parameters alone or not."""
    return next(
        regime
        for regime in regimes
        if regime.serves(kept) and all(holds(t, point) for t in regime.when(kept))
    )


def _trees(problem: Problem, points: Sequence[Point], options: Options) -> list[list[Tree]]:
    """Per point the trees of a product, cheapest first; those beyond the memory bound last.

    Of those the one with the least memory first.
    """
    pool: dict[Tree, None] = {}
    profile = profile_of(options.profile)
    wanted = _spread(points, 5 if len(problem.product.operands) <= _MANY else 1)
    for point in wanted:
        sizes = problem.at(point)
        found = _candidates(
            problem.product, tuple(sizes.items()), profile, options.path_finder
        ).copy()
        found += kept_trees(problem.product, problem.kept, sizes, profile)
        if problem.grads and len(problem.product.operands) > 4:  # of fewer all trees are there
            both = Training(sizes, profile)
            least = min(found, key=lambda tree: both.tree(problem.product, tree))
            found.append(refine(problem.product, least, both))
        if options.memory is not None:
            found += small(problem.product, found, sizes)
        pool.update(dict.fromkeys(found))
    out: list[list[Tree]] = []
    for point in points:
        keys = {
            tree: (
                _excess(problem, tree, point, options),
                _seconds(problem, tree, point, options),
            )
            for tree in pool
        }
        out.append(sorted(pool, key=keys.__getitem__)[:_MOST_TREES])
    return out


def _settings(
    problems: Sequence[Problem],
    per_problem: Sequence[list[list[Tree]]],
    points: Sequence[Point],
) -> list[Trees]:
    """The best tree of every product at each point, each combination once."""
    out: dict[Trees, None] = {}
    for k in range(len(points)):
        out[tuple(trees[k][0] for trees in per_problem)] = None
    return list(out)


def _cover(seconds: list[list[float]]) -> list[int]:
    """Few settings that are near the best nearly everywhere, greedily; a tie is the first."""
    count = len(seconds[0])
    least = [min(column) for column in zip(*seconds, strict=True)]
    now = [float("inf")] * count
    kept: list[int] = []
    while len(kept) < _MOST:
        slack = _SLACK if len(kept) < _USUAL else _SLACK_BEYOND
        near = sum(now[p] <= slack * least[p] for p in range(count))
        broken = sum(now[p] > _BROKEN * least[p] for p in range(count))
        if near >= _SHARE * count and not broken:
            break

        def regret(k: int, now: list[float] = now) -> tuple[int, int, float]:
            joined = [min(now[p], seconds[k][p]) for p in range(count)]
            broken = sum(joined[p] > _BROKEN * least[p] for p in range(count))
            far = sum(joined[p] > _SLACK * least[p] for p in range(count))
            return broken, far, sum(joined[p] / least[p] for p in range(count))

        choice = min((k for k in range(len(seconds)) if k not in kept), key=regret, default=None)
        if choice is None:
            break
        kept.append(choice)
        now = [min(now[p], seconds[choice][p]) for p in range(count)]
    return kept


# --- thresholds ----------------------------------------------------------------------------------
def _fitted(
    kept: list[int], seconds: list[list[float]], points: Sequence[Point], names: Sequence[str]
) -> list[tuple[int, tuple[Threshold, ...]]]:
    """A decision list: each regime but the last holds where one threshold does."""
    left = list(range(len(points)))
    out: list[tuple[int, tuple[Threshold, ...]]] = []
    rest = list(kept)
    loss = {k: [_loss(k, p, seconds) for p in range(len(points))] for k in kept}
    while len(rest) > 1 and left:
        cuts = []
        for k in rest:
            others = [loss[other] for other in rest if other != k]
            gain = [loss[k][p] - min(row[p] for row in others) for p in left]
            cut = _best_cut([points[p] for p in left], gain, names)
            if cut is not None:
                cuts.append((cut.gain, k, cut))
        gained, k, cut = min(cuts, key=lambda entry: entry[0], default=(0.0, -1, None))
        if cut is None or gained > -1e-6:
            break
        out.append((k, (cut.threshold,)))
        rest.remove(k)
        left = [p for p in left if not cut.holds(points[p])]
    everywhere = left or range(len(points))
    last = min(rest, key=lambda k: sum(loss[k][p] for p in everywhere))
    out.append((last, ()))
    return out


def _by_flops(
    chosen: list[tuple[int, tuple[Threshold, ...]]],
    problems: Sequence[Problem],
    settings: Sequence[Trees],
    seconds: list[list[float]],
    points: Sequence[Point],
    names: Sequence[str],
) -> list[tuple[int, tuple[Threshold, ...]]]:
    """Of two regimes in several sizes the one with fewer FLOPs, where that tells much better."""
    if len(chosen) != 2 or len(names) < 2:
        return chosen
    first, last = chosen[0][0], chosen[1][0]
    less = scale(_flops(problems, settings[first]), -1)
    form = add((_flops(problems, settings[last]), less))
    used = {name for monomial in form for name, _ in monomial}
    if not form or len(form) > _MOST_TERMS or not used <= set(names):
        return chosen
    shared = math.gcd(*form.values())
    threshold = Threshold(tuple((monomial, c // shared) for monomial, c in form.items()))
    other = [(first, (threshold,)), (last, ())]
    lost, less_lost = (_lost(one, seconds, points) for one in (chosen, other))
    return other if lost - less_lost > _MENDED * len(points) else chosen


def _flops(problems: Sequence[Problem], trees: Trees) -> Monomials:
    """Multiply-adds of these orders; those of what is kept are done before."""
    return add(
        volume(problem.sizes[index] for index in sorted(pair.left_indices | pair.right_indices))
        for problem, tree in zip(problems, trees, strict=True)
        for pair in unkept(problem, tree)
    )


def _lost(
    chosen: Sequence[tuple[int, tuple[Threshold, ...]]],
    seconds: list[list[float]],
    points: Sequence[Point],
) -> float:
    """The sum over the grid of how much longer than the best the regime takes that holds."""
    return sum(_loss(_held(chosen, point), p, seconds) for p, point in enumerate(points))


def _held(chosen: Sequence[tuple[int, tuple[Threshold, ...]]], point: Point) -> int:
    return next(k for k, thresholds in chosen if all(holds(t, point) for t in thresholds))


def _loss(setting: int, point: int, seconds: list[list[float]]) -> float:
    """How much longer than the best, as a ratio that does not run away."""
    ratio = seconds[setting][point] / min(row[point] for row in seconds)
    return _BROKEN if ratio > _BROKEN else min(10.0, ratio)


def _broken(
    chosen: Sequence[tuple[int, tuple[Threshold, ...]]],
    seconds: list[list[float]],
    points: Sequence[Point],
) -> int:
    """Points at which the regime that holds is beyond the memory bound, and another is not."""
    count = 0
    for p, point in enumerate(points):
        count += _loss(_held(chosen, point), p, seconds) >= _BROKEN
    return count


def holds(threshold: Threshold, point: Point) -> bool:
    """Whether a threshold holds at a point."""
    total = 0
    for monomial, coefficient in threshold.form:
        total += coefficient * math.prod(point[name] ** power for name, power in monomial)
    return total >= 0


@dataclass(frozen=True, slots=True)
class _Cut:
    """A product of sizes at least `bound`, or below it; what the regime loses where it holds."""

    names: tuple[str, ...]
    bound: int
    above: bool
    gain: float

    @property
    def threshold(self) -> Threshold:
        monomial = tuple((name, 1) for name in self.names)
        if self.above:
            return Threshold(((monomial, 1), ((), -self.bound)))
        return Threshold(((monomial, -1), ((), self.bound - 1)))

    def holds(self, point: Point) -> bool:
        return (_value(point, self.names) >= self.bound) is self.above


def _best_cut(points: Sequence[Point], gain: Sequence[float], names: Sequence[str]) -> _Cut | None:
    """The threshold on a size or a product of sizes on one side of which the gain is best.

    Thresholds are at powers of two where one lies between two values of the grid.
    """
    best: _Cut | None = None
    most = len(names) if len(names) <= _FEW_NAMES else 2
    for count in range(1, most + 1):
        for chosen in itertools.combinations(names, count):
            by_value: dict[int, float] = {}
            for point, here in zip(points, gain, strict=True):
                value = _value(point, chosen)
                by_value[value] = by_value.get(value, 0.0) + here
            total, below = sum(by_value.values()), 0.0
            for low, high in itertools.pairwise(sorted(by_value)):
                below += by_value[low]
                for above, gained in ((True, total - below), (False, below)):
                    if best is None or gained < best.gain - 1e-9:
                        best = _Cut(chosen, _between(low, high), above, gained)
    return best


def _value(point: Point, names: Sequence[str]) -> int:
    out = 1
    for name in names:
        out *= point[name]
    return out


def _between(a: int, b: int) -> int:
    """A round number in (a, b]: near the geometric middle, a power of two if there is one."""
    middle = math.isqrt(a * b)
    power: int = 1 << max(0, middle.bit_length() - 1)
    for candidate in (power, 2 * power):
        if a < candidate <= b:
            return candidate
    return max(a + 1, min(b, middle))


# --- prices --------------------------------------------------------------------------------------
def _together(problems: Sequence[Problem], setting: Trees, point: Point, options: Options) -> float:
    """Seconds of all products; beyond the memory bound so many that any other is preferred."""
    both = list(zip(problems, setting, strict=True))
    seconds = _LEAST + sum(_seconds(problem, tree, point, options) for problem, tree in both)
    excess = max(_excess(problem, tree, point, options) for problem, tree in both)
    return seconds if excess == 0 else (seconds + excess) * 1e6


def _excess(problem: Problem, tree: Tree, point: Point, options: Options) -> float:
    """Bytes of intermediates beyond the bound."""
    if options.memory is None:
        return 0.0
    return max(0.0, peak(problem.product, tree, problem.at(point)) - options.memory)


def _seconds(problem: Problem, tree: Tree, point: Point, options: Options) -> float:
    sizes = tuple(problem.at(point).items())
    return _price(problem, tree, sizes, profile_of(options.profile))


@lru_cache(maxsize=1024)
def _candidates(
    product: Product, sizes: tuple[tuple[int, int], ...], profile: Profile, finder: str
) -> list[Tree]:
    return candidates(product, dict(sizes), profile, finder=finder)


@lru_cache(maxsize=65536)
def _price(
    problem: Problem, tree: Tree, sizes: tuple[tuple[int, int], ...], profile: Profile
) -> float:
    if problem.grads:
        return trained(problem.product, tree, dict(sizes), profile, problem.grads)
    return price(problem.product, tree, dict(sizes), profile, problem.kept)


def _spread(points: Sequence[Point], count: int) -> list[Point]:
    """A few points from all over the grid: its ends, its middle."""
    if len(points) <= count:
        return list(points)
    return [points[round(k * (len(points) - 1) / (count - 1))] for k in range(count)]
