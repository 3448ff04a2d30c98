"""Reads at i - j: windows of what is read, flipped, and filters read from their end."""

from __future__ import annotations

from pathlib import Path

import pytest

import tensorlang as tl
from tensorlang.verification import verify

MATRIX = """
layer L(n = 7, k = 3):
    dim m = n + k - 1
    index i in n
    index j in k
    input X[b, k], t[m], Z[b, n]
    output Y[b, i] = sum[j](X[b, j] * t[i - j + |j| - 1])
    output P[b, j] = sum[i](Z[b, i] * t[i - j + |j| - 1])
    output S[b, j] = sum[i](Z[b, i] * t[j - i + |i| - 1])
    output R[b, j] = sum[i](Z[b, i] * t[2*j - i + 3 else 0])
    output Q[i, j] = exp(t[i - j + |j| - 1]) * t[i - 2*j else 1]
"""
CAUSAL = """
layer L(k = 3):
    input X[b, t, d], w[k, d], v[k, d, f], u[k]
    output Y[b, t, d] = sum[k](X[b, t - k else 0, d] * w[k, d])
    output Q[b, t, f] = X[b, t - 2*k + 1 else 0, d] * v[k, d, f]
    output R[b, t, d] = sum[k](X[b, wrap(t - k), d] * w[k, d])
    output P[b, t] = sum[d, k](X[b, reflect(2*t - k - 3), d] * w[k, d])
    output S[b, t, d] = sum[k](X[b, t - k else 0, d] * u[k])
"""


def _verified(folder: Path, text: str, bind: dict[str, int]) -> str:
    path = folder / "layer.tl"
    path.write_text(text)
    report = verify(str(path), bind=bind)
    assert report.ok, str(report)
    return tl.compile(str(path), bind={"L": bind}).source


@pytest.mark.parametrize(("n", "k"), [(7, 3), (3, 7), (1, 1), (1, 5), (6, 1), (4, 4)])
def test_a_matrix_of_a_vector_is_its_windows(tmp_path: Path, n: int, k: int) -> None:
    source = _verified(tmp_path, MATRIX, {"n": n, "k": k})
    if min(n, k) > 1:
        assert "t.unfold(0, " in source and "arange" not in source


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_filter_that_looks_back_is_a_convolution(tmp_path: Path, k: int) -> None:
    source = _verified(tmp_path, CAUSAL, {"k": k})
    if k > 1:
        assert source.count("F.conv1d(") == 5
