"""What the torch target should print for AxialAttention and AxialPair, written by hand.

The yardstick of the emitter: test_torch_hedge.py puts it through everything that torch can do to a
module. d = 128, heads = 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AxialAttention(nn.Module):
    """Self-attention along axis n; every other axis is batch (Ho et al., 2019)."""

    def __init__(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.Wq = nn.Parameter(torch.empty(128, 8, 16, device=device, dtype=dtype))
        self.Wk = nn.Parameter(torch.empty(128, 8, 16, device=device, dtype=dtype))
        self.Wv = nn.Parameter(torch.empty(128, 8, 16, device=device, dtype=dtype))
        self.Wo = nn.Parameter(torch.empty(8, 16, 128, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial values: a seed gives the same ones on every device and in every dtype."""
        if self.Wq.is_meta:
            return
        seed = _seed()
        _normal(self.Wq, seed + 3071563263, std=0.08838834764831845)
        _normal(self.Wk, seed + 1524391418, std=0.08838834764831845)
        _normal(self.Wv, seed + 1051363713, std=0.08838834764831845)
        _normal(self.Wo, seed + 2786439514, std=0.08838834764831845)

    def forward(self, X: Tensor, form: str = "") -> Tensor:
        if form == "b_n_y_d":
            return self._forward_b_n_y_d(X)
        if form == "b_x_n_d":
            return self._forward_b_x_n_d(X)
        if X.dim() < 2:
            raise ValueError(f"AxialAttention: X[..., n, d] has {X.dim()} axes, not at least 2")
        batch = X.shape[:-2]
        X = X.reshape(math.prod(batch), *X.shape[-2:])
        _, n, d = X.shape
        if d != 128:
            raise ValueError(f"AxialAttention: d is 128, but X has size {d} there")

        # axial.tl:11-13: Q, K, V
        Q, K, V = _project(X, self.Wq, self.Wk, self.Wv)
        # axial.tl:14-15: A, Y
        A = F.scaled_dot_product_attention(
            Q.transpose(1, 2), K.transpose(1, 2), V.transpose(1, 2), scale=0.25
        )
        # axial.tl:15: Y
        Y = A.transpose(1, 2).flatten(2) @ self.Wo.flatten(0, 1)
        return Y.reshape(*batch, n, 128)

    def _forward_b_x_n_d(self, X: Tensor) -> Tensor:
        if X.dim() != 4:
            raise ValueError(f"AxialAttention: X[b, x, n, d] has {X.dim()} axes, not 4")
        b, x, n, d = X.shape
        if d != 128:
            raise ValueError(f"AxialAttention: d is 128, but X has size {d} there")

        # axial.tl:11-13: Q, K, V
        Q, K, V = _project(X, self.Wq, self.Wk, self.Wv)
        # axial.tl:14-15: A, Y
        A = F.scaled_dot_product_attention(
            Q.flatten(0, 1).transpose(1, 2),
            K.flatten(0, 1).transpose(1, 2),
            V.flatten(0, 1).transpose(1, 2),
            scale=0.25,
        )
        # axial.tl:15: Y
        Y = A.transpose(1, 2).flatten(2) @ self.Wo.flatten(0, 1)
        return Y.unflatten(0, (b, x))

    def _forward_b_n_y_d(self, X: Tensor) -> Tensor:
        if X.dim() != 4:
            raise ValueError(f"AxialAttention: X[b, n, y, d] has {X.dim()} axes, not 4")
        b, n, y, d = X.shape
        if d != 128:
            raise ValueError(f"AxialAttention: d is 128, but X has size {d} there")

        # axial.tl:11-13: Q, K, V
        Q, K, V = _project(X.transpose(1, 2), self.Wq, self.Wk, self.Wv)
        # axial.tl:14-15: A, Y
        A = F.scaled_dot_product_attention(
            Q.flatten(0, 1).transpose(1, 2),
            K.flatten(0, 1).transpose(1, 2),
            V.flatten(0, 1).transpose(1, 2),
            scale=0.25,
        )
        # axial.tl:15: Y
        Y = A.transpose(1, 2).flatten(2) @ self.Wo.flatten(0, 1)
        return Y.unflatten(0, (b, y)).transpose(1, 2)


class AxialPair(nn.Module):
    """Attention along y, then along x, and nothing else."""

    def __init__(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.rows = AxialAttention(device=device, dtype=dtype)
        self.cols = AxialAttention(device=device, dtype=dtype)

    def forward(self, X: Tensor) -> Tensor:
        if X.dim() != 4:
            raise ValueError(f"AxialPair: X[b, x, y, d] has {X.dim()} axes, not 4")
        if X.shape[3] != 128:
            raise ValueError(f"AxialPair: d is 128, but X has size {X.shape[3]} there")

        # axial.tl:31: H
        H = self.rows(X, form="b_x_n_d")
        # axial.tl:32: Y
        Y = self.cols(H, form="b_n_y_d")
        return Y


def _project(X: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Contract X's last axis with several weights [d, h, c] in one GEMM."""
    merged = X @ torch.cat([weight.flatten(1) for weight in weights], 1)
    return merged.unflatten(-1, (len(weights), *weights[0].shape[1:])).unbind(-3)


def _seed() -> int:
    """One draw from torch's default generator."""
    return int(torch.randint(2**62, (), device="cpu"))


def _normal(param: Tensor, seed: int, std: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(param.shape, generator=generator, dtype=torch.float64, device="cpu")
    param.copy_(value * std)


LAYERS = {"AxialAttention": AxialAttention, "AxialPair": AxialPair}
