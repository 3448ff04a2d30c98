"""Oracles of examples/digits.tl."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.attention import axial_block
from tests.oracles.linear import Hypers, Params
from tests.oracles.norms import rmsnorm


def mixer(P: Params, H: Hypers, X: Tensor, prefix: str = "") -> Tensor:
    a = axial_block(P, H, X, prefix + "axes.")
    n = rmsnorm(a, P[prefix + "g"])
    hidden = F.gelu(F.linear(n, P[prefix + "W1"], P[prefix + "b1"]))
    return a + F.linear(hidden, P[prefix + "W2"], P[prefix + "b2"])


def digits(P: Params, H: Hypers, X: Tensor) -> Tensor:
    e = F.conv2d(X[:, None], P["We"][:, None], padding=1).permute(0, 2, 3, 1)
    e = e + P["Px"][:, None] + P["Py"]
    for stage in range(H["depth"]):
        e = mixer(P, H, e, f"blocks.{stage}.")
    n = rmsnorm(e, P["g"]).flatten(1, 2)
    weights = torch.softmax(n @ P["query"], -1)
    return F.linear((weights[:, None] @ n)[:, 0], P["Wk"], P["bk"])
