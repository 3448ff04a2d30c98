"""Oracles of examples/grassmann.tl: loops over positions and offsets, index lists for the pairs."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def mixing(P: Params, H: Hypers, X: Tensor, prefix: str = "") -> Tensor:
    z = X @ P[prefix + "Wz"].T + P[prefix + "bz"]
    i, j = torch.triu_indices(H["r"], H["r"], 1)
    rows = []
    for t in range(X.shape[-2]):
        terms = []
        for offset in H["offsets"]:
            if offset > t:
                continue
            here, there = z[..., t, :], z[..., t - offset, :]
            p = here[..., i] * there[..., j] - here[..., j] * there[..., i]
            p = p / p.norm(dim=-1, keepdim=True).clamp_min(1e-8)
            terms.append(p @ P[prefix + "Wp"].T + P[prefix + "bp"])
        rows.append(torch.stack(terms).mean(0) if terms else torch.zeros_like(X[..., t, :]))
    return torch.stack(rows, -2)


def block(P: Params, H: Hypers, X: Tensor) -> Tensor:
    g = mixing(P, H, X, "mixing.")
    a = torch.sigmoid(X @ P["Wh"].T + g @ P["Wg"].T + P["bg"])
    d = X.shape[-1:]
    m = F.layer_norm(a * X + (1 - a) * g, d, P["g1"], P["n1"])
    h = F.gelu(F.linear(m, P["W1"], P["b1"]))
    return F.layer_norm(m + F.linear(h, P["W2"], P["b2"]), d, P["g2"], P["n2"])
