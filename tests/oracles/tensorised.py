"""Oracles of examples/tensorised.tl: the chain of small products, the weight never formed."""

from torch import Tensor, einsum
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def tt_linear(P: Params, H: Hypers, X: Tensor) -> Tensor:
    first, second = P["W.0"], P["W.1"]  # [o1, i1, r], [r, o2, i2]
    split = X.unflatten(-1, (first.shape[1], second.shape[2]))
    half = einsum("...ij,air->...jar", split, first)
    return einsum("...jar,rbj->...ab", half, second).flatten(-2) + P["bias"]


def cp_linear(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return F.linear(F.linear(X, P["W.i"].mT), P["W.o"], P["bias"])


def tucker_conv2d(P: Params, H: Hypers, X: Tensor) -> Tensor:
    inner = einsum("pqrs,ur,vs->pquv", P["W.core"], P["W.u"], P["W.v"])
    few = F.conv2d(X, P["W.i"].mT[:, :, None, None])
    return F.conv2d(F.conv2d(few, inner), P["W.o"][:, :, None, None], P["bias"])
