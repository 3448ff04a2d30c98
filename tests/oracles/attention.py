"""Oracles of examples/attention.tl and examples/axial.tl: one head at a time, scores formed."""

import math

import torch
from torch import Tensor

from tests.oracles.linear import Hypers, Params
from tests.oracles.norms import rmsnorm


def heads_of(P: Params, X: Tensor, M: Tensor, keep: Tensor, prefix: str = "") -> Tensor:
    """Attention from X[..., n, d] to M[..., m, d] where keep[..., n, m]; empty rows give 0."""
    Wq, Wk, Wv, Wo = (P[prefix + name] for name in ("Wq", "Wk", "Wv", "Wo"))
    out = torch.zeros_like(X)
    for h in range(Wq.shape[1]):
        q, k, v = X @ Wq[:, h], M @ Wk[:, h], M @ Wv[:, h]
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        weights = torch.softmax(scores.masked_fill(~keep, -math.inf), -1)
        weights = torch.where(keep.any(-1, keepdim=True), weights, torch.zeros_like(weights))
        out = out + weights @ v @ Wo[h]
    return out


def self_attention(P: Params, H: Hypers, X: Tensor, prefix: str = "") -> Tensor:
    n = X.shape[-2]
    keep = torch.ones(n, n, dtype=torch.bool)
    if H.get("causal", False):
        keep = keep.tril()
    return heads_of(P, X, X, keep, prefix)


def window_attention(P: Params, H: Hypers, X: Tensor) -> Tensor:
    n, window = X.shape[-2], H["window"]
    back = torch.arange(n)[:, None] - torch.arange(n)
    return heads_of(P, X, X, (back >= 0) & (back < window))


def cross_attention(P: Params, H: Hypers, X: Tensor, M: Tensor, keep: Tensor) -> Tensor:
    return heads_of(P, X, M, keep[:, None, :].expand(-1, X.shape[1], -1))


def grouped_query_attention(P: Params, H: Hypers, X: Tensor) -> Tensor:
    """One head at a time; rotary positions as turns of complex numbers."""

    def turned(x: Tensor) -> Tensor:
        n, half = x.shape[-2], x.shape[-1] // 2
        rates = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
        turns = torch.polar(torch.ones(n, half, dtype=x.dtype), torch.arange(n)[:, None] * rates)
        pairs = torch.complex(x[..., :half], x[..., half:]) * turns
        return torch.cat((pairs.real, pairs.imag), -1)

    out = torch.zeros_like(X)
    keep = torch.ones(X.shape[-2], X.shape[-2], dtype=torch.bool).tril()
    for g in range(P["Wk"].shape[1]):
        k, v = turned(X @ P["Wk"][:, g]), X @ P["Wv"][:, g]
        for q in range(P["Wq"].shape[2]):
            scores = turned(X @ P["Wq"][:, g, q]) @ k.mT / math.sqrt(k.shape[-1])
            weights = torch.softmax(scores.masked_fill(~keep, -math.inf), -1)
            out = out + weights @ v @ P["Wo"][g, q]
    return out


def axial_block(P: Params, H: Hypers, X: Tensor, prefix: str = "") -> Tensor:
    """X[b, x, y, d]: along y, then along x."""
    rows = self_attention(P, {}, rmsnorm(X, P[prefix + "g1"]), prefix + "rows.")
    middle = X + rows
    turned = rmsnorm(middle, P[prefix + "g2"]).transpose(1, 2)
    return middle + self_attention(P, {}, turned, prefix + "cols.").transpose(1, 2)


def axial_pair(P: Params, H: Hypers, X: Tensor) -> Tensor:
    """X[b, x, y, d]: along y, then along x."""
    rows = self_attention(P, {}, X, "rows.")
    return self_attention(P, {}, rows.transpose(1, 2), "cols.").transpose(1, 2)
