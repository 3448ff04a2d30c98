"""`--memory` bounds intermediates: what is beyond it is not taken where another way exists."""

from __future__ import annotations

import itertools

import pytest

from tensorlang.check.spec import spec_of_text
from tensorlang.driver import build
from tensorlang.explanation import explain_compiled
from tensorlang.options import Options
from tensorlang.order.prices import peak
from tensorlang.order.trees import Product
from tensorlang.plan.cost import at
from tensorlang.plan.plan import Plan
from tensorlang.plan.planner import plan
from tensorlang.plan.regimes import holds
from tensorlang.rewrite.pipeline import rewrite
from tests.rewriting import layer

CHAIN = "input X[n, m], A[m, i], B[i, b]\noutput Y[n, b] = X * A * B"
STAR = (
    "input X[n, i, j], A[i, r], B[j, r], C[k, r], D[l, r]\n"
    "output Y[n, k, l] = X[n, i, j] * A[i, r] * B[j, r] * C[k, r] * D[l, r]"
)
TRILINEAR = """
    input Q[n, c], K[n, c], L[n, c], V[n, c], U[n, c]
    A[n, n', n''] = softmax[n', n''](Q[n, c] * K[n', c] * L[n'', c])
    output Y[n, c] = A[n, n', n''] * V[n', c] * U[n'', c]
"""


def planned(text: str, options: Options) -> Plan:
    return plan(rewrite(layer(text), options)[0], options)


def intermediates(made: Plan, point: dict[str, int]) -> float:
    """Bytes of the peak of the regime that holds, inputs and outputs not counted."""
    (region,) = made.regions
    regime = next(r for r in region.regimes if all(holds(t, point) for t in r.thresholds))
    held = 0.0
    for slot in (*made.inputs, *made.outputs):
        size = 4.0
        for axis in made.shapes[slot]:
            size *= axis if isinstance(axis, int) else point[str(axis)]
        held += size
    return at(regime.cost.peak_bytes, point) - held


@pytest.mark.parametrize("memory", [64 * 1024, 1024**2])
@pytest.mark.parametrize(
    ("text", "point"),
    [
        (CHAIN, {"n": 64, "m": 64, "i": 4096, "b": 4096}),
        (CHAIN, {"n": 4096, "m": 4096, "i": 64, "b": 64}),
        (STAR, {"n": 1024, "i": 16, "j": 16, "k": 16, "l": 16, "r": 8}),
    ],
)
def test_an_order_within_the_bound_is_taken_where_there_is_one(
    text: str, point: dict[str, int], memory: int
) -> None:
    ranges = tuple((name, size, size) for name, size in point.items())
    bounded = planned(text, Options(ranges=ranges, memory=memory))
    free = planned(text, Options(ranges=ranges))
    tightest = planned(text, Options(ranges=ranges, memory=1))
    least = intermediates(tightest, point)
    assert least <= intermediates(bounded, point) <= max(memory, least)
    assert intermediates(bounded, point) <= max(memory, intermediates(free, point))


def test_a_bound_changes_the_order() -> None:
    point = {"n": 2000, "m": 100, "i": 10, "b": 100}
    ranges = tuple((name, size, size) for name, size in point.items())
    free = planned(CHAIN, Options(ranges=ranges))
    bounded = planned(CHAIN, Options(ranges=ranges, memory=50_000))
    assert intermediates(free, point) == 80_000
    assert intermediates(bounded, point) == 40_000


def test_every_regime_keeps_the_bound_where_an_order_does() -> None:
    ranges = tuple((name, 1, 2048) for name in ("n", "m", "i", "b"))
    made = planned(CHAIN, Options(ranges=ranges, memory=1024**2))
    for n, m, i, b in itertools.product((1, 45, 2048), repeat=4):
        point = {"n": n, "m": m, "i": i, "b": b}
        possible = 4 * min(n * i, m * b) <= 1024**2
        assert intermediates(made, point) <= 1024**2 or not possible, point


def test_an_attention_is_not_taken_in_a_form_that_needs_more() -> None:
    for ranges in ((("n", 4, 4), ("c", 512, 512)), (("n", 64, 64), ("c", 4, 4))):
        point = {name: size for name, size, _ in ranges}
        free = planned(TRILINEAR, Options(ranges=ranges))
        bounded = planned(TRILINEAR, Options(ranges=ranges, memory=1))
        assert intermediates(bounded, point) <= intermediates(free, point)


def test_the_report_says_whether_the_bound_holds() -> None:
    spec = spec_of_text("layer L():\n" + "\n".join(f"    {line}" for line in CHAIN.split("\n")))
    compiled = build(spec, {"L": {}}, Options(memory=1000))
    shapes = {"X": (64, 64), "A": (64, 64), "B": (64, 64)}
    assert "exceeded" in str(explain_compiled(compiled, "L", shapes))
    assert "give sizes" in str(explain_compiled(compiled, "L"))
    shapes = {"X": (2, 2), "A": (2, 2), "B": (2, 2)}
    assert "holds" in str(explain_compiled(compiled, "L", shapes))
    assert explain_compiled(compiled, "L", shapes).to_dict()["memory"].endswith("holds")


def test_the_peak_of_a_tree_counts_what_is_alive_together() -> None:
    product = Product(
        (frozenset({0}), frozenset({1}), frozenset({2}), frozenset({3})), frozenset({0, 1, 2, 3})
    )
    sizes = dict.fromkeys(range(4), 10)
    assert peak(product, ((0, 1), (2, 3), (4, 5)), sizes) == 4 * 200
    assert peak(product, ((0, 1), (2, 4), (3, 5)), sizes) == 4 * 1100
