"""Regimes of calls that keep what is made of parameters alone, beside those of calls that don't.

Forming a weight costs nothing where it is kept, so another form may be the best at the same sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tensorlang.options import Options
from tensorlang.order.trees import Problem
from tensorlang.plan.plan import Threshold
from tensorlang.plan.regimes import Choice, Trees, regimes


@dataclass(frozen=True, slots=True)
class When:
    """The conditions of a regime, as it states them."""

    thresholds: tuple[Threshold, ...]
    kept: bool | None = None
    if_kept: tuple[Threshold, ...] | None = None


def chosen_regimes(
    names: Sequence[str], problems: Sequence[Problem], options: Options
) -> list[tuple[When, Trees]]:
    """Regimes of calls that keep what is made of parameters alone, and of those that don't."""
    made = regimes(names, [replace(p, kept=frozenset()) for p in problems], options)
    kept = made
    mixed = [_mixed(problem) for problem in problems]
    if any(len(problem.kept) > 1 for problem in mixed):
        kept = regimes(names, mixed, options)
    if kept == made:
        return [(When(thresholds), trees) for thresholds, trees in made]
    if len(kept) == len(made) == 2 and kept[0][1] == made[1][1]:
        kept = _turned(kept)
    if _alike(kept, made):
        return [
            (When(here, None, there), trees)
            for (here, trees), (there, _) in zip(made, kept, strict=True)
        ]
    if len(kept) == 1:
        made = made if made[-1][1] == kept[0][1] else _turned(made)
        if made[-1][1] == kept[0][1]:
            last = (When(()), made[-1][1])
            return [*((When(t, False), trees) for t, trees in made[:-1]), last]
    elif len(made) == 1:
        kept = kept if kept[-1][1] == made[0][1] else _turned(kept)
        if kept[-1][1] == made[0][1]:
            kept = kept[:-1]
    return [*((When(t, True), trees) for t, trees in kept), *((When(t), x) for t, x in made)]


def _mixed(problem: Problem) -> Problem:
    """What is kept as a whole is formed as in training; else nothing asks for a gradient."""
    whole = len(problem.kept) == len(problem.product.operands)
    return replace(problem, kept=frozenset()) if whole else replace(problem, grads=frozenset())


def _turned(two: list[Choice]) -> list[Choice]:
    """Two regimes in the other order; others as they are."""
    if len(two) != 2 or len(two[0][0]) != 1:
        return two
    ((threshold,), first), (_, last) = two
    bound = sum(c for monomial, c in threshold.form if not monomial)
    form = tuple((monomial, -c) for monomial, c in threshold.form if monomial)
    return [((Threshold((*form, ((), -bound - 1))),), last), ((), first)]  # -a - 1 >= 0: not a >= 0


def _alike(kept: list[Choice], made: list[Choice]) -> bool:
    """Whether the trees are the same and thresholds differ in their bounds only."""
    return [(t, [_sizes(x) for x in thresholds]) for thresholds, t in kept] == [
        (t, [_sizes(x) for x in thresholds]) for thresholds, t in made
    ]


def _sizes(threshold: Threshold) -> list[tuple[tuple[tuple[str, int], ...], int]]:
    return [(monomial, c) for monomial, c in threshold.form if monomial]
