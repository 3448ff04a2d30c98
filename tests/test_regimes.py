"""Few regimes cover the grid: near the best nearly everywhere, told apart by integers."""

from __future__ import annotations

import pytest

from tensorlang.options import Options
from tensorlang.order.grid import grid
from tensorlang.order.prices import price
from tensorlang.order.profile import PROFILES
from tensorlang.order.search import candidates
from tensorlang.order.trees import Problem, Product
from tensorlang.plan.regimes import holds, regimes
from tensorlang.size import dynamic

N, M = dynamic("n"), dynamic("m")


def problem(equation: str, **sizes: object) -> Problem:
    """A product as torch.einsum writes it, sizes by letter."""
    operands, output = equation.split("->")
    numbers = {letter: number for number, letter in enumerate(sizes)}
    terms = tuple(frozenset(numbers[x] for x in term) for term in operands.split(","))
    product = Product(terms, frozenset(numbers[x] for x in output))
    return Problem(product, tuple(sizes.values()))  # type: ignore[arg-type]


GRID = dict.fromkeys("ijkl", 32)
CASES = {
    f"{name}, rank {rank}": problem(equation, **sizes, r=rank)
    for rank in (8, 64, 256)
    for name, equation, sizes in (
        ("lowrank", "ni,ir,ro->no", {"n": N, "i": 1024, "o": 1024}),
        ("cp", "nij,ir,jr,kr,lr->nkl", {"n": N, **GRID}),
        ("tt", "nij,ikr,rjl->nkl", {"n": N, **GRID}),
        ("chain of two sizes", "ni,ir,rm->nm", {"n": N, "m": M, "i": 512}),
    )
}


@pytest.mark.parametrize("profile", ["cpu", "h100"])
@pytest.mark.parametrize("name", CASES)
def test_regimes_are_few_and_near_the_best(name: str, profile: str) -> None:
    ours, options = CASES[name], Options(profile=profile)
    names = sorted({str(size) for size in ours.sizes if not isinstance(size, int)})
    chosen = regimes(names, [ours], options)
    assert len(chosen) <= 4
    assert chosen[-1][0] == ()
    far, points = 0, grid(names, options)
    slack = 1.15 if len(names) == 1 else 1.5  # a third regime is kept only for half the time
    for point in points:
        sizes = ours.at(point)
        (tree,) = next(
            trees for thresholds, trees in chosen if all(holds(t, point) for t in thresholds)
        )
        trees = candidates(ours.product, sizes, PROFILES[profile])
        best = min(price(ours.product, other, sizes, PROFILES[profile]) for other in trees)
        far += price(ours.product, tree, sizes, PROFILES[profile]) > slack * best
    assert far <= 0.05 * len(points)
    for thresholds, _ in chosen:
        for threshold in thresholds:
            assert all(isinstance(coefficient, int) for _, coefficient in threshold.form)


def test_two_sizes_are_told_apart_by_what_the_orders_cost() -> None:
    """(X · A) · B where 256 n (512 + m) is at most 512 m (256 + n), multiply-adds of either."""
    ours = CASES["chain of two sizes, rank 256"]
    (((threshold,), (tree,)), _) = regimes(["m", "n"], [ours], Options(profile="cpu"))
    assert dict(threshold.form) == {
        (("m", 1),): 512,
        (("m", 1), ("n", 1)): 1,
        (("n", 1),): -512,
    }
    assert tree == ((0, 1), (2, 3))


def test_one_size_is_compared_with_a_number() -> None:
    for name, ours in CASES.items():
        if "two sizes" not in name:
            for thresholds, _ in regimes(["n"], [ours], Options(profile="cpu")):
                assert all(len(threshold.form) == 2 for threshold in thresholds)
