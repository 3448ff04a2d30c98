"""Which factors of flattened logits form the queries, which the keys."""

from __future__ import annotations

import pytest

from tensorlang.options import Options
from tensorlang.plan.plan import Attention, AttentionStep
from tensorlang.plan.planner import plan
from tensorlang.rewrite.pipeline import rewrite
from tests.rewriting import layer

LINFORMER = """
    input X[b, n, d]
    dim d = {d}, h = 4, c = {c}, k = {k}, n = {n}
    param Wq[d, h, c], Wk[d, h, c], Wv[d, h, c] ~ kaiming
    param E[k, n], F[k, n] ~ normal
    Q[b, h, n, c] = X * Wq
    K[b, h, k, c] = E[k, n] * X[b, n, d] * Wk[d, h, c]
    V[b, h, k, c] = F[k, n] * X[b, n, d] * Wv[d, h, c]
    A[b, h, n, k] = softmax[k](Q * K / sqrt(|c|))
    output Y[b, n, h, c] = A * V
    """
CLASSES = """
    input X[b, n, d]
    dim d = 64, h = 4, c = 16, k = 10
    param Wk[d, h, c], Wv[d, h, c], queries[k, h, c] ~ kaiming
    K[b, h, n, c] = X * Wk
    V[b, h, n, c] = X * Wv
    A[b, h, k, n] = softmax[n](queries[k, h, c] * K[b, h, n, c])
    output Y[b, k, h, c] = A * V[b, h, n, c]
    """


def attention(body: str) -> Attention:
    (region,) = plan(rewrite(layer(body), Options())[0], Options()).regions
    found = [s.attention for r in region.regimes for s in r.steps if isinstance(s, AttentionStep)]
    return found[0]


@pytest.mark.parametrize(("d", "k", "n"), [(16, 8, 32), (64, 16, 128), (64, 32, 512)])
def test_projected_keys_are_formed_before_they_meet_the_queries(d: int, k: int, n: int) -> None:
    ours = attention(LINFORMER.format(d=d, c=d // 4, k=k, n=n))
    assert [ours.sizes[i] for i in ours.feature] == [ours.sizes[i] for i in ours.value] == [d // 4]


def test_constant_queries_leave_the_keys_their_projection_where_kernels_want_it() -> None:
    ours = attention(CLASSES)
    assert [ours.sizes[i] for i in ours.feature] == [ours.sizes[i] for i in ours.value]
