"""Orders along a line: the textbook's for chains of matrices, at most opt_einsum's for networks."""

from __future__ import annotations

import random
from functools import cache

import pytest
from opt_einsum.paths import DynamicProgramming

from tensorlang.order.line import along_a_line
from tensorlang.order.prices import Prices
from tensorlang.order.profile import PROFILES
from tensorlang.order.search import best
from tensorlang.order.trees import Product, tree_of
from tests.test_path_quality import matrix_product_state

FLOPS = PROFILES["flops"]


@pytest.mark.parametrize("count", [2, 3, 5, 9, 17])
def test_a_chain_of_matrices_in_the_textbooks_order(count: int) -> None:
    random.seed(count)
    sides = [random.randint(2, 40) for _ in range(count + 1)]

    @cache
    def least(start: int, stop: int) -> int:
        if stop == start + 1:
            return 0
        return min(
            least(start, k) + least(k, stop) + 2 * sides[start] * sides[k] * sides[stop]
            for k in range(start + 1, stop)
        )

    operands = [frozenset({k, k + 1}) for k in range(count)]
    random.shuffle(operands)
    product = Product(tuple(operands), frozenset({0, count}))
    prices = Prices(dict(enumerate(sides)), FLOPS)
    tree = along_a_line(product, prices)
    flops = prices.tree(product, tree) * FLOPS.flops
    assert len(tree) == count - 1
    assert flops == pytest.approx(least(0, count))


@pytest.mark.parametrize("sites", [12, 16])
def test_a_chain_beyond_exact_search(sites: int) -> None:
    product, sizes = matrix_product_state(sites)
    operands = list(product.operands)
    path = DynamicProgramming(minimize="flops")(operands, product.output, dict(sizes))
    prices = Prices(sizes, FLOPS)
    _, ours = best(product, sizes, FLOPS)
    assert ours <= prices.tree(product, tree_of(path, len(operands)))
    # the line alone is a start for improvement
    assert prices.tree(product, along_a_line(product, prices)) <= 2 * ours
