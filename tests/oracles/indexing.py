"""Oracles of examples/embedding.tl and examples/message_passing.tl: loops in Python."""

import torch
from torch import Tensor

from tests.oracles.linear import Hypers, Params


def embedding(P: Params, H: Hypers, token: Tensor) -> Tensor:
    n, (s, d) = token.shape[-1], P["P"].shape
    place = torch.cat([P["P"], P["P"].new_zeros(max(n - s, 0), d)])[:n]
    return P["E"][token] + place


def gather(P: Params, H: Hypers, X: Tensor, pick: Tensor) -> Tensor:
    return torch.stack([x[p] for x, p in zip(X, pick, strict=True)])


def message_passing(P: Params, H: Hypers, X: Tensor, src: Tensor, dst: Tensor) -> Tensor:
    sums = [X.new_zeros(P["b"].shape) for _ in X]
    for s, t in zip(src.tolist(), dst.tolist(), strict=True):
        sums[t] = sums[t] + torch.relu(P["Ws"] @ X[s] + P["Wt"] @ X[t] + P["b"])
    return X + torch.stack(sums) @ P["Wo"].T


def mean_max(P: Params, H: Hypers, X: Tensor, src: Tensor, dst: Tensor) -> tuple[Tensor, Tensor]:
    mean, most = [], []
    for node in range(len(X)):
        arriving = X[src[dst == node]]
        empty = X.new_zeros(X.shape[1])
        mean.append(arriving.mean(0) if len(arriving) else empty)
        most.append(arriving.amax(0) if len(arriving) else empty)
    return torch.stack(mean), torch.stack(most)
