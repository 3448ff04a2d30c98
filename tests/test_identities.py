"""The identities of the optimiser from the source as a user writes it: values and gradients of the
torch target equal the reference with every rewrite and without, empty masks and axes included."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tensorlang as tl

THIRD = """
layer L(w1 = 20, w2 = 5):
    input Q[b, n, c], K1[b, n, c], K2[b, n, c], V1[b, n, c], V2[b, n, c]
    A[b, n, n', n''] = softmax[n', n'' where n - w1 < n' <= n and n - w2 < n'' < n](
        (Q[b, n, c] * K1[b, n', c] + Q[b, n, c] * K2[b, n'', c]) / sqrt(|c|))
    output Y[b, n, c] = {0}
"""
CASES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "two attentions": (
        "separable",
        THIRD.format("A[b, n, n', n''] * V1[b, n', c] * V2[b, n'', c]"),
        dict.fromkeys(("Q", "K1", "K2", "V1", "V2"), "bnc"),
    ),
    "two attentions of a sum": (
        "separable",
        THIRD.format("A[b, n, n', n''] * (V1[b, n', c] + V2[b, n'', c])"),
        dict.fromkeys(("Q", "K1", "K2", "V1", "V2"), "bnc"),
    ),
    "rows": (
        "equalities",
        """
layer L():
    input Q[b, h, w, c], K[b, h, w, c], V[b, h, w, c]
    A[b, h, w, h', w'] = softmax[h', w' where h' == h and w' < w](
        Q[b, h, w, c] * K[b, h', w', c] / sqrt(|c|))
    output Y[b, h, w, c] = A[b, h, w, h', w'] * V[b, h', w', c]
""",
        dict.fromkeys("QKV", "bhwc"),
    ),
    "columns by -inf": (
        "equalities",
        """
layer L():
    input Q[b, h, w, c], K[b, h, w, c], V[b, h, w, c]
    S[b, h, w, h', w'] = Q[b, h, w, c] * K[b, h', w', c] / sqrt(|c|) if w' == w else -inf
    A[b, h, w, h', w'] = softmax[h', w'](S)
    output Y[b, h, w, c] = A[b, h, w, h', w'] * V[b, h', w', c]
""",
        dict.fromkeys("QKV", "bhwc"),
    ),
    "latent queries": (
        "pool",
        """
layer L():
    input X[b, t, d], m[b, t]
    dim d = 16, h = 4, c = 4, k = 2
    param Wk[h, c, d], Wv[h, c, d], bk[h, c], bv[h, c], L0[h, k, c] ~ normal
    K[b, t, h, c] = X[b, t, d] * Wk[h, c, d] + bk[h, c]
    V[b, t, h, c] = X[b, t, d] * Wv[h, c, d] + bv[h, c]
    A[b, h, k, t] = softmax[t where m[b, t] > 0](L0[h, k, c] * K[b, t, h, c])
    output Z[b, h, k, c] = A[b, h, k, t] * V[b, t, h, c] + L0[h, k, c]
""",
        {"X": "btd", "m": "bt"},
    ),
    "adapter": (
        "hoist",
        """
layer L():
    input X[n, i]
    dim i = 12, o = 7, r = 2
    param W[o, i], A[o, r], B[r, i] ~ normal
    output Y[n, o] = (W[o, i] + 2 * A[o, r] * B[r, i]) * X[n, i]
""",
        {"X": "ni"},
    ),
}
SIZES = (
    {"b": 2, "n": 7, "h": 3, "w": 5, "t": 11, "c": 4, "d": 16, "i": 12},
    {"b": 1, "n": 1, "h": 1, "w": 1, "t": 1, "c": 1, "d": 16, "i": 12},
    {"b": 3, "n": 20, "h": 2, "w": 1, "t": 2, "c": 3, "d": 16, "i": 12},
    {"b": 2, "n": 0, "h": 0, "w": 3, "t": 0, "c": 2, "d": 16, "i": 12},
)


def _module(folder: Path, text: str, without: tuple[str, ...]) -> Any:
    path = folder / "spec.tl"
    path.write_text(text)
    torch.manual_seed(0)
    return tl.load(path, without=without).L(dtype=torch.float64)


def _drawn(axes: Mapping[str, str], sizes: Mapping[str, int]) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    return [
        torch.tensor(rng.normal(size=[sizes[axis] for axis in each])).requires_grad_()
        for each in axes.values()
    ]


@pytest.mark.parametrize(("name", "sizes"), list(itertools.product(CASES, SIZES)))
def test_values_and_gradients_are_those_of_the_equations(
    tmp_path: Path, name: str, sizes: Mapping[str, int]
) -> None:
    rule, text, axes = CASES[name]
    ours, plain = (_module(tmp_path, text, without) for without in ((), (rule, "flatten", "pool")))
    inputs = _drawn(axes, sizes)
    found, expected = ours(*inputs), plain(*inputs)
    want = tl.reference(ours)(*(x.detach() for x in inputs))
    np.testing.assert_allclose(found.detach().numpy(), want, rtol=1e-12, atol=1e-12)
    leaves = [inputs + list(made.parameters()) for made in (ours, plain)]
    both = [
        torch.autograd.grad(y.sin().sum(), at, allow_unused=True, materialize_grads=True)
        for y, at in zip((found, expected), leaves, strict=True)
    ]
    for mine, theirs in zip(*both, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "rule"), [(name, CASES[name][0]) for name in CASES][:-1])
def test_the_report_says_what_where_and_not_what_is_left_out(
    tmp_path: Path, name: str, rule: str
) -> None:
    text = CASES[name][1]
    told = str(tl.explain(_module(tmp_path, text, ())))
    assert f"    {rule}, line " in told
    assert f"    {rule}, line " not in str(tl.explain(_module(tmp_path, text, (rule,))))


def test_additive_logits_are_two_calls_of_the_fused_attention(tmp_path: Path) -> None:
    path = tmp_path / "spec.tl"
    path.write_text(CASES["two attentions"][1])
    assert tl.compile(path).source.count("scaled_dot_product_attention(") == 2


def test_attention_over_rows_is_one_call_of_it(tmp_path: Path) -> None:
    path = tmp_path / "spec.tl"
    path.write_text(CASES["rows"][1].replace(" and w' < w", ""))
    source = tl.compile(path).source
    assert source.count("scaled_dot_product_attention(") == 1
    assert "softmax(" not in source and "arange" not in source
