"""Oracles of examples/linear.tl and examples/mlp.tl."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Params = Mapping[str, Tensor]
Hypers = Mapping[str, Any]


def linear(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return F.linear(X, P["W"], P["b"])


def mlp(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return F.linear(F.gelu(F.linear(X, P["W1"], P["b1"])), P["W2"], P["b2"])


def gated_mlp(P: Params, H: Hypers, X: Tensor) -> Tensor:
    gate = X @ P["Wg"].T
    return (gate * torch.sigmoid(gate) * (X @ P["Wu"].T)) @ P["Wo"].T
