"""Oracles of examples/flora.tl: a base layer, and beside it the same layer of the update."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def update(P: Params, H: Hypers, axes: str) -> Tensor:
    """scale * core ×_1 D.a ×_2 D.b …, one matrix [size, rank] for each axis."""
    delta = P["D.core"]
    for k, axis in enumerate(axes):
        delta = torch.tensordot(P[f"D.{axis}"], delta, dims=([1], [k])).movedim(0, k)
    return H.get("scale", 4.0) * delta


def linear(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return F.linear(X, P["W"], P["bias"]) + F.linear(X, update(P, H, "oi"))


def conv2d(P: Params, H: Hypers, X: Tensor) -> Tensor:
    margin = H["k"] // 2
    base = F.conv2d(X, P["W"], P["bias"], padding=margin)
    return base + F.conv2d(X, update(P, H, "oiuv"), padding=margin)


def depthwise(P: Params, H: Hypers, X: Tensor) -> Tensor:
    margin, groups = H["k"] // 2, X.shape[1]
    base = F.conv2d(X, P["W"][:, None], P["bias"], padding=margin, groups=groups)
    delta = update(P, H, "duv")[:, None]
    return base + F.conv2d(X, delta, padding=margin, groups=groups)
