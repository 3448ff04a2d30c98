"""Oracles of examples/norms.tl."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def rmsnorm(x: Tensor, g: Tensor, eps: float = 1e-6) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * g


def rms_norm(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return rmsnorm(X, P["g"], H.get("eps", 1e-6))


def layer_norm(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return F.layer_norm(X, X.shape[-1:], P["g"], P["b"], H.get("eps", 1e-5))
