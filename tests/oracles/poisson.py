"""Oracles of examples/poisson.tl: the Laplacian as the trace of torch's second derivatives."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def field(P: Params, H: Hypers, X: Tensor, prefix: str = "") -> Tensor:
    W1, W2, v, b1, b2 = (P[prefix + name] for name in ("W1", "W2", "v", "b1", "b2"))
    hidden = torch.tanh(F.linear(torch.tanh(F.linear(X, W1, b1)), W2, b2))
    return hidden @ v * (X * (1 - X)).prod(-1)


def laplacian(P: Params, H: Hypers, X: Tensor, prefix: str = "") -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        X = X if X.requires_grad else X.clone().requires_grad_()
        value = field(P, H, X, prefix + "u.")
        slope = torch.autograd.grad(value.sum(), X, create_graph=True)[0]
        second = [
            torch.autograd.grad(slope[:, k].sum(), X, create_graph=True)[0][:, k]
            for k in range(X.shape[1])
        ]
        return value, torch.stack(second).sum(0)


def residual(P: Params, H: Hypers, X: Tensor) -> tuple[Tensor, Tensor]:
    value, curvature = laplacian(P, H, X, "field.")
    exact = torch.sin(math.pi * X).prod(-1)
    source = X.shape[1] * math.pi**2 * exact
    return (curvature + source).square().mean(), (value - exact).square().mean()
