"""Oracles of examples/forces.tl: energies by hand, derivatives by torch.autograd."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def lennard_jones(P: Params, H: Hypers, R: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        R = R if R.requires_grad else R.clone().requires_grad_()
        below = torch.tril_indices(R.shape[-2], R.shape[-2], -1)
        square = (R[..., below[0], :] - R[..., below[1], :]).square().sum(-1)
        power = H.get("radius", 1.0) ** 6 / square**3
        energy = 4 * H.get("depth", 1.0) * (power**2 - power).sum(-1)
        return energy, -torch.autograd.grad(energy.sum(), R, create_graph=True)[0]


def _energy(P: Params, H: Hypers, R: Tensor, src: Tensor, dst: Tensor, prefix: str) -> Tensor:
    names = ("W1", "W2", "b1", "b2", "v")
    W1, W2, b1, b2, v = (P[f"{prefix}pair.{name}"] for name in names)
    apart = R[dst] - R[src]
    far = apart.square().sum(-1) > 0
    length = torch.where(far, torch.where(far, apart.square().sum(-1), 1.0).sqrt(), 0.0)
    cutoff, k = H["cutoff"], H["k"]
    envelope = torch.where(length < cutoff, (1 - (length / cutoff) ** 2) ** 2, 0.0)
    features = torch.exp(-((length[:, None] * k / cutoff - torch.arange(k)) ** 2) / 2)
    hidden = F.silu(F.linear(F.silu(F.linear(features, W1, b1)), W2, b2))
    return (envelope * (hidden @ v)).sum()


def pair_potential(
    P: Params, H: Hypers, R: Tensor, src: Tensor, dst: Tensor, prefix: str = ""
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        R = R if R.requires_grad else R.clone().requires_grad_()
        energy = _energy(P, H, R, src, dst, prefix)
        return energy, -torch.autograd.grad(energy, R, create_graph=True)[0]


def force_loss(P: Params, H: Hypers, R: Tensor, src: Tensor, dst: Tensor, Target: Tensor) -> Tensor:
    force = pair_potential(P, H, R, src, dst, "model.")[1]
    return (force - Target).square().mean()


def hessian_vector(P: Params, H: Hypers, R: Tensor, src: Tensor, dst: Tensor, V: Tensor) -> Tensor:
    with torch.enable_grad():
        R = R if R.requires_grad else R.clone().requires_grad_()
        force = pair_potential(P, H, R, src, dst, "model.")[1]
        return -torch.autograd.grad((force * V).sum(), R, create_graph=True)[0]
