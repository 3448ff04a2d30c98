"""Oracles of examples/fastfood.tl: diagonals, a permutation, Hadamard's butterfly."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def fast_hadamard(x: Tensor) -> Tensor:
    """Sums and differences of halves, log2 n times."""
    width = x.shape[-1]
    for bit in range(width.bit_length() - 1):
        pairs = x.unflatten(-1, (-1, 2, 1 << bit))
        first, second = pairs.unbind(-2)
        x = torch.stack((first + second, first - second), -2).flatten(-3)
    return x


def _numbers(n: int) -> tuple[Tensor, Tensor, Tensor]:
    signs, order, normal = (np.random.Generator(np.random.PCG64(seed)) for seed in range(3))
    return (
        torch.from_numpy(2.0 * signs.integers(0, 2, n) - 1),
        torch.from_numpy(order.permutation(n)),
        torch.from_numpy(normal.standard_normal(n)),
    )


def fastfood(P: Params, H: Hypers, X: Tensor) -> tuple[Tensor, Tensor]:
    n = X.shape[-1]
    signs, order, normal = _numbers(n)
    mixed = fast_hadamard(signs * X)[..., order]
    angles = fast_hadamard(normal * mixed) / (H["sigma"] * normal.norm())
    return angles.cos() / math.sqrt(n), angles.sin() / math.sqrt(n)


def adaptive_fastfood(P: Params, H: Hypers, X: Tensor) -> Tensor:
    n = X.shape[-1]
    mixed = fast_hadamard(P["b"] * X)[..., _numbers(n)[1]]
    return P["s"] / n * fast_hadamard(P["g"] * mixed)


def subspace_linear(P: Params, H: Hypers, X: Tensor) -> Tensor:
    n, weight = H["n"], P["W"]
    signs, order, normal = _numbers(n)
    mixed = fast_hadamard(signs * F.pad(P["v"], (0, n - len(P["v"]))))[order]
    moved = fast_hadamard(normal * mixed) / (normal.norm() * math.sqrt(weight.numel()))
    return F.linear(X, weight + moved[: weight.numel()].view_as(weight))
