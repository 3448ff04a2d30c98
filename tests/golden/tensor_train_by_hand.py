"""A tensor-train linear map with two regimes, written by hand: the yardstick for size regimes.

W[(o1 o2), (i1 i2)] = G0[o1, i1, r] * G1[r, o2, i2] with o1 = o2 = i1 = i2 = 16, r = 4. Few rows
are cheaper through the cores, many rows through the dense weight.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TensorTrainLinear(nn.Module):
    """Y[..., (o1 o2)] = X[..., (i1 i2)] * G0[o1, i1, r] * G1[r, o2, i2]."""

    def __init__(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.G0 = nn.Parameter(torch.empty(16, 16, 4, device=device, dtype=dtype))
        self.G1 = nn.Parameter(torch.empty(4, 16, 16, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for param in (self.G0, self.G1):
            nn.init.normal_(param, std=0.17677669529663687)

    def forward(self, X: Tensor) -> Tensor:
        if X.dim() < 1:
            raise ValueError(f"TensorTrainLinear: X[..., i] has {X.dim()} axes, not at least 1")
        batch = X.shape[:-1]
        X = X.reshape(math.prod(batch), X.shape[-1])
        b, i = X.shape
        if i != 256:
            raise ValueError(f"TensorTrainLinear: i is 256, but X has size {i} there")

        if not torch.compiler.is_exporting() and b <= 96:
            # through the cores
            X_i1_i2 = X.unflatten(1, (16, 16))
            T = torch.einsum("bij,roj->bior", X_i1_i2, self.G1)
            Y = torch.einsum("bior,pir->bpo", T, self.G0).flatten(1)
        else:
            # the dense weight first
            W = torch.einsum("pir,roj->poij", self.G0, self.G1).reshape(256, 256)
            Y = F.linear(X, W)
        return Y.reshape(*batch, 256)


LAYERS = {"TensorTrainLinear": TensorTrainLinear}
