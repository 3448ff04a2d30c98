"""The planner: trees of products, regimes, attention, projections, axes in memory, costs."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract, Pointwise
from tensorlang.options import Options
from tensorlang.order.grid import grid, middle
from tensorlang.order.prices import price
from tensorlang.order.profile import PROFILES
from tensorlang.order.search import best, candidates
from tensorlang.order.trees import Product, pairs
from tensorlang.plan.cost import at
from tensorlang.plan.plan import AttentionStep, Plan, ProjectionsStep, Step, Threshold
from tensorlang.plan.planner import plan
from tensorlang.plan.text import threshold_text, to_text
from tensorlang.rewrite.pipeline import rewrite
from tests.rewriting import SIZES, layer, same_value

CPU = PROFILES["cpu"]


def planned(graph: Graph, **options: object) -> Plan:
    """The plan of a rewritten layer, equal in value to it at several sizes."""
    chosen = Options(**options)  # type: ignore[arg-type]
    ours = plan(rewrite(graph, chosen)[0], chosen)
    for sizes in SIZES:
        same_value(graph, ours, sizes)
    return ours


def steps(ours: Plan) -> list[object]:
    return [s for region in ours.regions for regime in region.regimes for s in regime.steps]


def kinds(ours: Plan) -> list[str]:
    return [
        type(s.node.op).__name__ if isinstance(s, Step) else type(s).__name__ for s in steps(ours)
    ]


# --- order ---------------------------------------------------------------------------------------
CHAIN = Product((frozenset({0, 1}), frozenset({1, 2}), frozenset({2, 3})), frozenset({0, 3}))


def test_a_chain_of_matrices_is_multiplied_from_its_thin_end() -> None:
    thin = {0: 1, 1: 500, 2: 500, 3: 500}
    assert best(CHAIN, thin, CPU)[0] == ((0, 1), (2, 3))
    assert best(CHAIN, {0: 500, 1: 500, 2: 500, 3: 1}, CPU)[0] == ((1, 2), (0, 3))


def test_the_best_candidate_is_the_best_of_all_trees_of_five() -> None:
    rng = random.Random(1)
    for _ in range(20):
        operands = tuple(frozenset(rng.sample(range(6), rng.randint(1, 3))) for _ in range(5))
        mentioned = frozenset().union(*operands)
        product = Product(operands, frozenset(rng.sample(sorted(mentioned), 2)))
        sizes = {index: rng.choice((1, 2, 7, 40, 300)) for index in range(6)}
        _, seconds = best(product, sizes, CPU)
        least = min(price(product, tree, sizes, CPU) for tree in _every_tree(5))
        assert seconds <= 1.3 * least, (product, sizes)


def _every_tree(count: int) -> list[tuple[tuple[int, int], ...]]:
    def grow(live: tuple[int, ...], tree: tuple[tuple[int, int], ...]) -> None:
        if len(live) == 1:
            out.append(tree)
        for a, b in itertools.combinations(live, 2):
            rest = tuple(k for k in live if k not in (a, b))
            grow((*rest, count + len(tree)), (*tree, (a, b)))

    out: list[tuple[tuple[int, int], ...]] = []
    grow(tuple(range(count)), ())
    return out


def test_a_tree_sums_an_index_with_its_last_factor() -> None:
    shared = Product((frozenset({0, 1}), frozenset({1, 2}), frozenset({1})), frozenset({0, 2}))
    first, second = pairs(shared, ((0, 1), (2, 3)))
    assert 1 in first.result
    assert second.result == {0, 2}


def test_searching_leaves_the_random_state_as_it_was() -> None:
    product = Product(tuple(frozenset({k, k + 1}) for k in range(8)), frozenset({0, 8}))
    random.seed(5)
    state = random.getstate()
    first = candidates(product, dict.fromkeys(range(9), 10), CPU)
    assert random.getstate() == state
    random.seed(6)
    assert candidates(product, dict.fromkeys(range(9), 10), CPU) == first


# --- products ------------------------------------------------------------------------------------
def test_every_contraction_has_at_most_two_operands() -> None:
    ours = planned(
        layer("input A[n, i], B[i, j], C[j, m], v[m]\noutput Y[n] = A * B * C[j, m] * v[m]")
    )
    for step in steps(ours):
        if isinstance(step, Step) and isinstance(step.node.op, Contract):
            assert len(step.node.reads) <= 2


def test_a_coefficient_lands_on_the_smallest_intermediate() -> None:
    ours = planned(
        layer(
            "input A[n, i], B[i, b]\n"
            "param c[b] ~ ones\n"
            "dim b = 3\n"
            "output Y[n] = 2 * A * B[i, b] * c[b]"
        )
    )
    scaled = [
        s.node
        for s in steps(ours)
        if isinstance(s, Step) and isinstance(s.node.op, Contract) and s.node.op.coefficient == 2
    ]
    assert {node.rank for node in scaled} == {1}


def test_what_one_operand_alone_sums_is_summed_first() -> None:
    ours = planned(
        layer("input A[n, i, j], B[n, m]\noutput Y[n, m] = sum[i, j](A[n, i, j] * B[n, m])")
    )
    first = next(s for s in steps(ours) if isinstance(s, Step))
    assert len(first.node.reads) == 1
    assert first.node.rank == 1


# --- regimes -------------------------------------------------------------------------------------
LOWRANK = (
    "input X[n, i]\n"
    "dim i = 64, r = 8, o = 64\n"
    "param A[o, r], B[r, i] ~ kaiming\n"
    "output Y[n, o] = X * B * A"
)


def test_one_regime_where_one_order_is_best_everywhere() -> None:
    ours = planned(
        layer(LOWRANK.replace("i = 64, r = 8", "i = 512, r = 4")), ranges=(("n", 1, 64),)
    )
    assert [len(region.regimes) for region in ours.regions] == [1]


def test_sizes_decide_between_weight_first_and_vectors_first() -> None:
    ours = planned(
        layer("input X[n, m], A[m, i], B[i, b]\noutput Y[n, b] = X * A * B"),
    )
    (region,) = ours.regions
    assert 2 <= len(region.regimes) <= 4
    assert region.regimes[-1].thresholds == ()
    assert all(regime.thresholds for regime in region.regimes[:-1])
    trees = {
        tuple(s.name for s in regime.steps if isinstance(s, Step)) for regime in region.regimes
    }
    assert len(trees) == len(region.regimes)


def test_ranges_narrow_the_regimes() -> None:
    graph = layer("input X[n, m], A[m, i], B[i, b]\noutput Y[n, b] = X * A * B")
    ranges = (("n", 1000, 2000), ("m", 1000, 2000), ("i", 1000, 2000), ("b", 1, 2))
    assert len(planned(graph, ranges=ranges).regions[0].regimes) == 1


def test_memory_bounds_intermediates() -> None:
    graph = layer("input x[n], y[m], Z[n, m]\noutput Y[n, m] = x[n] * y[m] * Z[n, m]")
    planned(graph, memory=1000)


def test_a_threshold_reads_as_a_comparison() -> None:
    assert threshold_text(Threshold((((("b", 1), ("n", 1)), 1), ((), -64)))) == "b*n >= 64"
    assert threshold_text(Threshold(((((("n", 1)),), -1), ((), 63)))) == "n <= 63"


def test_the_grid_covers_the_ranges() -> None:
    points = grid(["n", "m"], Options(ranges=(("n", 4, 4), ("m", 1, 100))))
    assert {point["n"] for point in points} == {4}
    assert {point["m"] for point in points} >= {1, 100}
    assert middle(["n"], Options()) == {"n": 256}
    assert len(grid([f"n{k}" for k in range(9)], Options())) <= 300


# --- attention -----------------------------------------------------------------------------------
ATTEND = """
    input Q[b, n, i], K[b, m, i], V[b, m, j], B[b, n, m], keep[b, m]: bool
    A[b, n, m] = softmax[{keys}]({logits})
    output Y[b, n, j] = A[b, n, m] * V[b, m, j]{more}
    """


def attention(logits: str, keys: str = "m", more: str = "") -> Plan:
    return planned(layer(ATTEND.format(logits=logits, keys=keys, more=more)))


def fused(ours: Plan) -> AttentionStep:
    (step,) = (s for s in steps(ours) if isinstance(s, AttentionStep))
    return step


def test_attention_is_one_step() -> None:
    ours = attention("Q[b, n, i] * K[b, m, i] / sqrt(|i|)")
    assert fused(ours).attention.mask is None
    assert "Softmax" not in kinds(ours)


def test_a_number_is_the_scale() -> None:
    assert fused(attention("0.25 * Q[b, n, i] * K[b, m, i]")).attention.scale == 0.25
    assert fused(attention("-(Q[b, n, i] * K[b, m, i]) / 2")).attention.scale == -0.5


def test_a_condition_is_the_mask() -> None:
    ours = attention("Q[b, n, i] * K[b, m, i]", keys="m where keep[b, m]")
    assert fused(ours).attention.mask is not None


def test_what_is_added_is_the_bias() -> None:
    ours = attention("Q[b, n, i] * K[b, m, i] + 2 * B[b, n, m] + n")
    assert fused(ours).attention.bias is not None


def test_a_projection_after_attention_is_a_product_of_its_own() -> None:
    ours = planned(
        layer(
            """
            input Q[b, n, h, c], K[b, m, h, c], V[b, m, h, c]
            dim h = 2, c = 3, d = 5
            param Wo[h, c, d] ~ kaiming
            A[b, h, n, m] = softmax[m](Q[b, n, h, c] * K[b, m, h, c])
            output Y[b, n, d] = A[b, h, n, m] * V[b, m, h, c] * Wo[h, c, d]
            """
        )
    )
    assert kinds(ours) == ["AttentionStep", "Contract"]


@pytest.mark.parametrize(
    ("logits", "keys", "more"),
    (
        ("Q[b, n, i] * K[b, m, i] * B[b, n, m]", "m", ""),  # the sum stands inside a product
        ("(Q[b, n, i] * K[b, m, i]) ^ 2", "m", ""),
        ("Q[b, n, i] * K[b, m, i]", "n", ""),
        ("Q[b, n, i] * K[b, m, i]", "m", " * B[b, n, m]"),  # a weight that queries change
        ("B[b, n, m]", "m", ""),
        ("Q[b, n, i] * log(K[b, m, i]^2)", "m where keep[b, m]", ""),  # 0 * inf
    ),
)
def test_what_is_no_attention_is_left_alone(logits: str, keys: str, more: str) -> None:
    ours = attention(logits, keys, more)
    assert not any(isinstance(s, AttentionStep) for s in steps(ours))


def test_weights_that_are_an_output_are_computed() -> None:
    graph = layer(
        ATTEND.format(logits="Q[b, n, i] * K[b, m, i]", keys="m", more="").replace(
            "A[b, n, m] = ", "output A[b, n, m] = ", 1
        )
    )
    assert "Softmax" in kinds(planned(graph))


def test_two_keys_form_pairs_and_no_cube() -> None:
    ours = planned(
        layer(
            """
            input Q[n, i], K1[m, i], K2[b, i], V1[m, j], V2[b, j]
            A[n, m, b] = softmax[m, b](Q[n, i] * K1[m, i] * K2[b, i])
            output Y[n, j] = A[n, m, b] * V1[m, j] * V2[b, j]
            """
        )
    )
    assert len(fused(ours).attention.key) == 2
    assert all(len(shape) <= 3 for shape in ours.shapes.values())


# --- projections and axes ------------------------------------------------------------------------
def axial(batch: str, along: str) -> Plan:
    return planned(
        layer(
            f"""
            input X[b, n, m, d]
            dim d = 32, h = 2, c = 16
            param Wq[d, h, c], Wk[d, h, c], Wv[d, h, c], Wo[h, c, d] ~ kaiming
            Q[b, h, {batch}, {along}, c] = X[b, n, m, d] * Wq[d, h, c]
            K[b, h, {batch}, {along}, c] = X[b, n, m, d] * Wk[d, h, c]
            V[b, h, {batch}, {along}, c] = X[b, n, m, d] * Wv[d, h, c]
            A[b, h, {batch}, {along}, {along}'] = softmax[{along}'](
                Q * K[b, h, {batch}, {along}', c])
            output Y[b, n, m, d] = A * V[b, h, {batch}, {along}', c] * Wo[h, c, d]
            """
        )
    )


@pytest.mark.parametrize(("batch", "along", "outer"), (("n", "m", "bnm"), ("m", "n", "bmn")))
def test_axial_attention_is_one_product_one_attention_one_product(
    batch: str, along: str, outer: str
) -> None:
    ours = axial(batch, along)
    assert kinds(ours) == ["ProjectionsStep", "AttentionStep", "Contract"]
    first = steps(ours)[0]
    assert isinstance(first, ProjectionsStep)
    for projection in first.projections:  # rows of X along the axis attended, then heads
        assert [str(size) for size in projection.node.shape] == [*outer, "2", "16"]


def test_outputs_keep_their_declared_axes() -> None:
    ours = planned(layer("input X[n, i], W[i, m]\noutput Y[m, n] = X[n, i] * W[i, m]"))
    assert [str(size) for size in ours.shapes[ours.outputs[0]]] == ["m", "n"]


def test_intermediates_lie_as_products_leave_them() -> None:
    ours = planned(
        layer(
            "input X[b, n, i]\ndim o = 3\nparam W[o, i] ~ kaiming\ndim i = 4\n"
            "T[o, b, n] = X[b, n, i] * W[o, i]\noutput Y[b, n] = sum[o](exp(T[o, b, n]))"
        )
    )
    product = next(s for s in steps(ours) if isinstance(s, Step))
    assert [str(size) for size in product.node.shape] == ["b", "n", "3"]


def test_one_projection_is_no_group() -> None:
    ours = planned(
        layer("input X[n, i]\ndim i = 4, o = 3\nparam W[o, i] ~ kaiming\noutput Y[n, o] = X * W")
    )
    assert kinds(ours) == ["Contract"]


# --- costs and text ------------------------------------------------------------------------------
def test_costs_are_polynomials() -> None:
    ours = planned(layer("input A[n, i], B[i, m]\noutput Y[n, m] = A * B"))
    cost = ours.regions[0].regimes[0].cost
    assert cost.flops == {(("i", 1), ("m", 1), ("n", 1)): 2}
    assert at(cost.bytes, {"n": 2, "i": 3, "m": 5}) == 4 * (6 + 15 + 10)


def test_the_peak_is_what_is_alive_at_once() -> None:
    ours = planned(layer("input X[n]\nA[n] = exp(X)\nB[n] = tanh(A)\noutput Y[n] = sin(B)"))
    peak = ours.regions[0].regimes[0].cost.peak_bytes
    assert at(peak, {"n": 100}) <= 4 * 3 * 100


def test_names_are_unique_and_the_sources() -> None:
    ours = planned(layer("input X[n]\nT[n] = exp(X)\noutput Y[n] = T * sum[n'](T[n'])"))
    names = [s.name for s in steps(ours) if isinstance(s, Step)]
    assert len(set(names)) == len(names)
    assert {"T", "Y"} <= set(names)


def test_the_text_is_deterministic_and_tells_regimes() -> None:
    graph = layer("input X[n, m], A[m, i], B[i, b]\noutput Y[n, b] = X * A * B")
    text = to_text(plan(graph, Options()))
    assert text == to_text(plan(graph, Options()))
    assert "when " in text
    assert "otherwise" in text
    assert "flops" in text


def test_a_layer_that_returns_its_input() -> None:
    ours = planned(layer("input X[n]\noutput Y[n] = X"))
    assert ours.outputs == ours.inputs
    assert steps(ours) == []


def test_pointwise_layers_have_no_contractions() -> None:
    ours = planned(layer("input X[n]\noutput Y[n] = exp(X) + 1"))
    assert all(isinstance(s.node.op, Pointwise) for s in steps(ours) if isinstance(s, Step))
    assert np.all([len(region.regimes) == 1 for region in ours.regions])


def test_a_bias_may_count_keys_and_heads_may_share_keys() -> None:
    ours = planned(
        layer(
            """
            input q[b, n, h, c], k[b, m, c], v[b, m, c], s[h]
            dim h = 2, c = 3
            A[b, h, n, m] = softmax[m](q[b, n, h, c] * k[b, m, c] / 2 - s[h] * m)
            output Y[b, n, h, c] = A[b, h, n, m] * v[b, m, c]
            """
        )
    )
    assert fused(ours).attention.bias is not None
