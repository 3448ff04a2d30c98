"""What `explain` says: numbers worked out by hand, orders of contraction, regimes, text forms.

`UPDATE=1 pytest tests/test_explain.py` rewrites the text snapshot (refused where CI is set).
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tensorlang as tl
from tensorlang.explanation import Explanation, explain_compiled
from tests.example_cases import EXAMPLES

SNAPSHOT = Path(__file__).parent / "golden" / "explain_axial.txt"


def _layer(folder: Path, text: str, name: str = "L", **hypers: Any) -> object:
    path = folder / "layer.tl"
    path.write_text(text)
    return getattr(tl.load(path), name)(**hypers)


@pytest.fixture(scope="module")
def axial() -> Any:
    return tl.load(EXAMPLES / "axial.tl")


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A product of three, cheapest in one order for few rows and in another for many."""
    text = """
layer L(a = 16, r = 64):
    dim    b = a, o = a, p = a
    input  X[n, (a b)]
    param  U[a, o, r], V[r, b, p] ~ kaiming
    output Y[n, o, p] = X[n, (a b)] * U[a, o, r] * V[r, b, p]
"""
    return _layer(tmp_path_factory.mktemp("train"), text)


# --- numbers by hand ------------------------------------------------------------------------------
def test_a_linear_map_costs_a_product_and_a_sum() -> None:
    facts = tl.explain(tl.load(EXAMPLES / "linear.tl").Linear(i=3, o=5), X=(4, 3)).to_dict()
    assert facts["parameters"] == 3 * 5 + 5
    assert facts["flops"] == 2 * 4 * 3 * 5 + 4 * 5
    product = 4 * (4 * 3 + 3 * 5 + 4 * 5)  # float32: X and W are read, the product is written
    assert facts["bytes"] == product + 4 * (4 * 5 + 5 + 4 * 5)
    assert facts["sizes"] == {"i": 3, "o": 5, "...": 4}


def test_axial_attention_costs_projections_and_attention(axial: Any) -> None:
    b, n, d, heads = 6, 10, 16, 2
    facts = tl.explain(axial.AxialAttention(d=d, heads=heads), X=(2, 3, n, d)).to_dict()
    projections = 4 * 2 * b * n * d * d
    logits_and_values = 2 * 2 * b * heads * n * n * (d // heads)
    softmax = 5 * b * heads * n * n
    assert facts["flops"] == projections + logits_and_values + softmax
    assert facts["parameters"] == 4 * d * d
    assert facts["hyperparameters"] == {"d": d, "heads": heads, "causal": False}


def test_a_sub_layer_is_rolled_up_into_the_row_of_its_call(axial: Any) -> None:
    pair = tl.explain(axial.AxialPair(d=16, heads=2), X=(3, 5, 7, 16))
    rows, cols = (pair.rows[0], pair.rows[1])
    along = axial.AxialAttention(d=16, heads=2)
    assert rows.flops == tl.explain(along, X=(3 * 5, 7, 16)).totals.flops
    assert cols.flops == tl.explain(along, X=(3 * 7, 5, 16)).totals.flops
    assert pair.totals.flops == rows.flops + cols.flops
    assert [(s.layer, s.scope.signature) for s in pair.sub_layers] == [
        ("AxialAttention", "b_x_n_d"),
        ("AxialAttention", "b_n_y_d"),
    ]
    assert pair.sub_layers[0].sizes == {**pair.sub_layers[0].sizes, "n": 7, "x": 5, "b": 3}


def test_a_stack_counts_every_stage(tmp_path: Path) -> None:
    text = """
layer Inner(d):
    input  X[n, d]
    param  W[d, d'] ~ kaiming
    output Y[n, d] = X[n, d'] * W[d, d']

layer L(d = 4, depth = 3):
    input  X[n, d]
    sub    steps[depth] = Inner(d)
    output Y[n, d] = steps(X)
"""
    facts = tl.explain(_layer(tmp_path, text), X=(5, 4)).to_dict()
    assert facts["flops"] == 3 * 2 * 5 * 4 * 4
    assert facts["parameters"] == 3 * 16
    (call,) = facts["regions"][0]["steps"]
    assert call["how"] == "sub-layer steps: Inner, 3 stages"


def test_sizes_that_only_a_call_knows_give_polynomials(axial: Any) -> None:
    facts = tl.explain(axial.AxialAttention(d=8, heads=2)).to_dict()
    # 4 projections of 2·8·8; per cell 2·2·4 for logits and values and 5 for the softmax, 2 heads
    assert facts["flops"] == "42·batch·n^2 + 512·batch·n"
    assert facts["sizes"] == {"h": 2, "c": 4, "n": "n", "d": 8, "...": "batch"} | facts["sizes"]


# --- orders of contraction ------------------------------------------------------------------------
def test_a_chain_is_priced_against_one_loop_nest(tmp_path: Path) -> None:
    text = """
layer L(i = 50, j = 40):
    input  A[n, i], v[j]
    param  B[i, j] ~ kaiming
    output Y[n] = A[n, i] * B[i, j] * v[j]
"""
    explained = tl.explain(_layer(tmp_path, text), A=(30, 50), v=(40,))
    (chain,) = explained.contractions
    assert chain.tree in ("A · (B · v)", "A · (v · B)")
    assert (chain.factors, chain.flops) == (3, 2 * 50 * 40 + 2 * 30 * 50)
    assert chain.naive_flops == 3 * 30 * 50 * 40
    assert f"as one loop nest 180 K, {180 / 7:.3g} times as many" in str(explained)


def test_attention_inside_a_longer_product_is_part_of_its_tree(axial: Any) -> None:
    b, n, d, heads = 6, 10, 16, 2
    explained = tl.explain(axial.AxialAttention(d=d, heads=heads), X=(b, n, d))
    (output,) = (c for c in explained.contractions if c.name == "Y")
    assert output.tree == "(softmax(Q · K) · V) · Wo"
    assert output.flops == 2 * b * n * n * d + 2 * b * n * d * d
    assert output.naive_flops == 3 * b * n * n * d * d


def test_every_contraction_says_where_it_is_in_the_source(axial: Any) -> None:
    facts = tl.explain(axial.AxialAttention(d=8, heads=2)).to_dict()
    names = {c["name"]: c for c in facts["contractions"]}
    assert list(names) == ["Q", "K", "V", "Y"]
    assert all(c["span"] and str(EXAMPLES / "axial.tl") in c["span"][0] for c in names.values())
    assert names["Q"]["tree"] == "X · Wq"


def test_regimes_show_their_threshold_and_which_one_holds(train: object) -> None:
    few, many, any_ = tl.explain(train, X=(1, 256)), tl.explain(train, X=(999, 256)), train
    choices = [explained.parts[0].regimes for explained in (few, many)]
    assert [choice.chosen for choice in choices[0]] != [choice.chosen for choice in choices[1]]
    trees = {tree for choice in choices[0] for tree in choice.trees}
    assert trees == {"Y = X · (U · V)", "Y = (X · U) · V"}
    assert "flips at n = " in str(many) and "<- these sizes" in str(many)
    assert few.totals.flops < tl.explain(train, X=(2, 256)).totals.flops
    assert not any(choice.chosen for choice in tl.explain(any_).parts[0].regimes)
    assert "where no other regime below holds" in str(tl.explain(any_))


def test_the_table_of_regimes_has_costs_lines_and_the_sizes_where_it_flips(train: object) -> None:
    few, open_ = tl.explain(train, X=(3, 256)), tl.explain(train)
    (part,) = few.parts
    assert [c.saved_bytes for c in part.regimes] != [0, 0]
    assert all(c.seconds is not None and c.seconds > 0 for c in part.regimes)
    assert all(c.seconds is None for c in open_.parts[0].regimes)
    facts = few.to_dict()["regions"][0]
    training, kept = ([r for r in facts["regimes"] if r["kept"] is k] for k in (False, True))
    assert [regime["lines"] for regime in training] == [[[6]], [[6]]]
    assert ["Y = X · (U · V)"] in [regime["trees"] for regime in kept]
    (flip,) = facts["flips"]["training"]
    name, _, bound = flip.partition(" = ")
    bound = int(bound.replace(",", ""))
    assert name == "n"
    below, above = (tl.explain(train, X=(n, 256)).parts[0].regimes for n in (bound - 1, bound))
    assert [c.chosen for c in below] != [c.chosen for c in above]
    assert f"flips at n = {bound}" in str(few) and ", line 6" in str(few)
    chosen = next(c for c in part.regimes if c.chosen)
    totals = few.totals
    assert (chosen.flops, chosen.bytes) == (totals.flops, totals.bytes)
    assert (chosen.peak_bytes, chosen.saved_bytes) == (totals.peak_bytes, totals.saved_bytes)


def test_kept_weights_have_a_table_of_their_own() -> None:
    layer = tl.load(EXAMPLES / "tensorised.tl").TTLinear()
    (part,) = tl.explain(layer, X=(9, 64)).parts
    training, kept = part.regimes
    assert (training.kept, kept.kept, training.when, kept.when) == (False, True, *["any size"] * 2)
    assert training.flops - kept.flops == 2 * 8**5  # forming W
    assert kept.saved_bytes == 0 < training.saved_bytes
    assert "where what is made of params alone is kept" in str(tl.explain(layer))
    assert "where no other regime below holds" not in str(tl.explain(layer))
    (plain,) = tl.explain(tl.load(EXAMPLES / "linear.tl").Linear(i=3, o=5)).parts
    assert plain.regimes == ()


# --- words ----------------------------------------------------------------------------------------
def _how(explained: Explanation) -> dict[str, str]:
    return {row.name: row.how for row in explained.rows}


def test_steps_are_told_in_words(tmp_path: Path, axial: Any) -> None:
    words = _how(tl.explain(axial.AxialAttention(d=8, heads=2), X=(3, 5, 8)))
    assert words["Q, K, V"] == "one GEMM [15, 8] × [8, 8 + 8 + 8]"
    assert words["Y_attended"].startswith("attention 6 × 5 queries over 5 keys; features 4")
    assert words["Y"] == "GEMM [15, 8] × [8, 8]"
    block = _how(tl.explain(axial.AxialBlock(d=8, heads=2)))
    assert block["rows_in_dot"] == "mean of squares of X over 8 cells"
    assert block["H"] == "pointwise add of X, rows_out"
    text = """
layer L(k = 3):
    dim    u = k
    dim    xo = x - k + 1
    input  X[b, x], pick[m]: int
    param  W[u] ~ kaiming
    output Window[b, xo] = X[b, xo + u] * W[u]
    output Taken[b, m]   = X[b, pick[m]]
    output Sum[b, x]     = cumsum[x](X)
    output Most[b]       = max[x](X)
    S[x = pick[m], b]   += X[b, pick[m]]
    output Spread[b, x]  = S[x, b]
"""
    words = _how(tl.explain(_layer(tmp_path, text), X=(2, 7), pick=(4,)))
    assert words["Window"] == "convolution of X and W, window 3"
    assert words["Taken"] == "X gathered at pick"
    assert words["Sum"] == "running sum of X along 7 cells"
    assert words["Most"] == "max of X over 7 cells"
    assert words["S"].startswith("scatter (sum) of X into [7, 2] at pick")


def test_the_triton_target_says_which_lines_became_which_kernel() -> None:
    compiled = tl.compile(EXAMPLES / "axial.tl", target="triton", layers=["AxialAttention"])
    explained = explain_compiled(compiled, "AxialAttention", {"X": (2, 64, 256)})
    kernels = [part for part in explained.to_dict()["regions"] if part["backend"] == "K1"]
    assert [part["lines"] for part in kernels] == [[14]]
    assert kernels[0]["steps"][0]["bytes"] is None
    assert "in the kernel" in str(explained) and kernels[0]["reason"] in str(explained)
    assert sum(part.flops for part in explained.parts) == explained.totals.flops


def test_the_triton_target_says_of_every_line_why_it_stays_with_torch() -> None:
    compiled = tl.compile(EXAMPLES / "message_passing.tl", target="triton")
    explained = explain_compiled(compiled, "MessagePassing")
    why = {row.name: row.why for part in explained.parts[:1] for row in part.rows}
    assert why["M_term"] == "shifted, fixed and gathered reads stay with torch"
    assert why["M_dot"] == "matrix products stay with torch (cuBLAS)"
    text = str(explained)
    assert "1. torch: each step for its own reason" in text
    assert "X gathered at src; shifted, fixed and gathered reads stay with torch" in text


# --- forms ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["grassmann", "digits", "message_passing", "third_order"])
@pytest.mark.parametrize("target", ["torch", "triton"])
def test_every_form_can_be_made_of_an_example(name: str, target: str) -> None:
    compiled = tl.compile(EXAMPLES / f"{name}.tl", target=target)
    for layer in compiled.roots:
        explained = explain_compiled(compiled, layer)
        facts = json.loads(json.dumps(explained.to_dict()))
        assert {"flops", "bytes", "peak_bytes", "parameters", "contractions"} <= set(facts)
        assert facts["layer"] == layer
        text = str(explained)
        assert "Symbol" not in text and "**" not in text and "..." not in _without_source(text)
        assert all(line == line.rstrip() for line in text.splitlines())
    assert compiled.report.count("steps") >= len(compiled.roots)


def _without_source(text: str) -> str:
    lines = (line for line in text.splitlines() if " | " not in line and "batch (all" not in line)
    return "\n".join(lines)


def test_a_terminal_gets_the_same_rows_as_tables(axial: Any) -> None:
    explained = tl.explain(axial.AxialBlock(d=8, heads=2), X=(2, 3, 4, 8))
    stream = io.StringIO()
    Console(file=stream, width=160, force_terminal=True, color_system=None).print(explained)
    shown = stream.getvalue()
    for row in explained.rows:
        assert row.name in shown and row.how in shown
    assert "┃" in shown and "┃" not in str(explained)


def test_the_text_is_as_it_was(axial: Any) -> None:
    told = str(tl.explain(axial.AxialBlock(d=64, heads=4), X=(2, 16, 16, 64))) + "\n"
    if os.environ.get("UPDATE"):
        assert not os.environ.get("CI"), "expectations are not rewritten in CI"
        SNAPSHOT.write_text(told)
    assert told == SNAPSHOT.read_text()


def test_what_is_no_layer_is_refused(axial: Any) -> None:
    with pytest.raises(TypeError, match="no layer loaded"):
        tl.explain(object())
    with pytest.raises(TypeError, match="no input Z"):
        tl.explain(axial.AxialPair(d=8, heads=2), Z=(1,))
    with pytest.raises(ValueError, match="axis d has size 9"):
        tl.explain(axial.AxialPair(d=8, heads=2), X=(1, 2, 3, 9))


def test_orders_in_two_sizes_flip_where_they_cost_the_same(tmp_path: Path) -> None:
    path = tmp_path / "two.tl"
    path.write_text("""
layer Two(i = 512, r = 256):
    input  X[n, i], B[r, m]
    param  A[i, r] ~ normal(std = 0.1)
    output Y[n, m] = X[n, i] * A[i, r] * B[r, m]
""")
    told = tl.explain(tl.load(str(path)).Two(), X=(64, 512), B=(256, 64))
    assert told.to_dict()["regions"][0]["flips"]["training"] == ["m*n + 512*m = 512*n"]
    assert "flips at m*n + 512*m = 512*n" in str(told)
