"""Orders of products with trained factors are priced by both passes, others by the forward one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensorlang.driver import compile_file
from tensorlang.options import Options
from tensorlang.order.prices import Prices, mask, price
from tensorlang.order.profile import PROFILES
from tensorlang.order.training import Training, trained
from tensorlang.order.trees import Problem, Product
from tensorlang.plan.planner import products

SIZES = {0: 7, 1: 64, 2: 5, 3: 32}  # n, i, r, o
PRODUCT = Product((frozenset({0, 1}), frozenset({1, 2}), frozenset({2, 3})), frozenset({0, 3}))
FLOPS = PROFILES["flops"]


@pytest.mark.parametrize("tree", [((0, 1), (2, 3)), ((1, 2), (0, 3))])
@pytest.mark.parametrize(
    ("grads", "times"), [((), 1), ((0, 1, 2), 3)], ids=["no gradient", "all gradients"]
)
def test_arithmetic_of_both_passes(tree, grads: tuple[int, ...], times: int) -> None:
    forward = price(PRODUCT, tree, SIZES, FLOPS)
    assert trained(PRODUCT, tree, SIZES, FLOPS, frozenset(grads)) == pytest.approx(times * forward)


def test_only_what_needs_a_gradient_is_paid_for() -> None:
    """X · A with a gradient of X alone, then that times B: one gradient a step."""
    tree = ((0, 1), (2, 3))
    forward = price(PRODUCT, tree, SIZES, FLOPS)
    assert trained(PRODUCT, tree, SIZES, FLOPS, frozenset({0})) == pytest.approx(2 * forward)
    last = 2.0 * 7 * 5 * 32 / FLOPS.flops  # B alone: only the last step goes back
    assert trained(PRODUCT, tree, SIZES, FLOPS, frozenset({2})) == pytest.approx(forward + last)


def test_the_gradient_of_a_product_that_broadcasts_is_as_large_as_the_product() -> None:
    """A[i, r] * B[j, r]: the gradient of A passes over (i, j, r) twice."""
    profile = PROFILES["cpu"]
    sizes = {0: 512, 1: 512, 2: 64}
    a, b, out = mask(frozenset({0, 2})), mask(frozenset({1, 2})), mask(frozenset({0, 1, 2}))
    forward = Prices(sizes, profile).step(a, b, out)
    assert Training(sizes, profile).gradient(out, b, a) > 1.2 * forward


def problems(folder: Path, text: str) -> list[Problem]:
    path = folder / "layer.tl"
    path.write_text(f"layer Layer(i = 8, r = 2, o = 8):\n{text}")
    options = Options()
    compiled = compile_file(str(path), "torch", {}, None, options)
    return products(compiled.stages["Layer", ""].rewritten, options)


CASES = {
    "two trained factors": ("A[i, r], B[r, o] ~ normal(std = 1)", "", {0, 1, 2}),
    "one is frozen": ("A[i, r] ~ normal(std = 1)", "frozen param B[r, o] ~ normal(std = 1)", set()),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_count_where_factors_are_trained(name: str, tmp_path: Path) -> None:
    params, more, wanted = CASES[name]
    text = f"    input  X[n, i]\n    param  {params}\n"
    text += f"    {more}\n" if more else ""
    (found,) = problems(tmp_path, text + "    output Y[n, o] = X[n, i] * A[i, r] * B[r, o]\n")
    assert found.grads == wanted


def test_an_input_without_numbers_has_no_gradient(tmp_path: Path) -> None:
    text = """    input  X[n, i]: int
    param  A[i, r], B[r, o] ~ normal(std = 1)
    output Y[n, o] = X[n, i] * A[i, r] * B[r, o]
"""
    (found,) = problems(tmp_path, text)
    assert len(found.grads) == 2 and len(found.product.operands) == 3
