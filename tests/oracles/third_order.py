"""Oracles of examples/third_order.tl: the n x n x n weights are formed."""

import math

import torch
from torch import Tensor

from tests.oracles.linear import Hypers, Params


def core(
    Q: Tensor, K1: Tensor, K2: Tensor, V1: Tensor, V2: Tensor, scale: float, keep: Tensor
) -> Tensor:
    scores = torch.einsum("...ic,...jc,...kc->...ijk", Q, K1, K2) * scale
    weights = torch.exp(scores - scores.amax((-1, -2), keepdim=True)) * keep
    weights = weights / weights.sum((-1, -2), keepdim=True)
    return torch.einsum("...ijk,...je,...ke->...ie", weights, V1, V2)


def trilinear(
    P: Params, H: Hypers, Q: Tensor, K1: Tensor, K2: Tensor, V1: Tensor, V2: Tensor
) -> Tensor:
    return core(Q, K1, K2, V1, V2, H.get("scale", 1.0), torch.ones((), dtype=Q.dtype))


def third_order(P: Params, H: Hypers, X: Tensor) -> Tensor:
    n, (_, heads, width) = X.shape[-2], P["Wq"].shape
    near = torch.ones(n, n, dtype=torch.bool)
    if H.get("causal", False):
        near = near.tril()
    keep = near[:, :, None] & near[:, None, :]
    out = torch.zeros_like(X)
    for h in range(heads):
        parts = [X @ P[name][:, h] for name in ("Wq", "Wk1", "Wk2", "Wv1", "Wv2")]
        out = out + core(*parts, 1 / math.sqrt(width), keep) @ P["Wo"][h]
    return out


def simplicial(
    P: Params, H: Hypers, Q: Tensor, K1: Tensor, K2: Tensor, V1: Tensor, V2: Tensor
) -> Tensor:
    n, c = Q.shape[-2:]
    back = torch.arange(n)[:, None] - torch.arange(n)
    first = (back >= 0) & (back < H["w1"])
    second = (back >= 0) & (back < H["w2"])
    keep = first[:, :, None] & second[:, None, :]
    return core(Q, K1, K2, V1, V2, 1 / math.sqrt(c), keep)
