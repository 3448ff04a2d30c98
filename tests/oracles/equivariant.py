"""Oracles of examples/equivariant.tl: harmonics as polynomials, couplings by quadrature, loops.

Where degrees add up to an even number, coupling coefficients are the integrals of three harmonics,
scaled to norm 1; paths that keep parity are such.
"""

import functools
import itertools
import math

import numpy as np
import torch
from torch import Tensor

from tests.oracles.linear import Hypers, Params


def harmonics(v: Tensor, most: int) -> Tensor:
    x, y, z = (v / v.norm(dim=-1, keepdim=True)).unbind(-1)
    r = math.sqrt
    values = [
        torch.ones_like(x),
        *(r(3) * x, r(3) * y, r(3) * z),
        *(r(15) * x * z, r(15) * x * y, r(5) / 2 * (3 * y * y - 1), r(15) * y * z),
        r(15) / 2 * (z * z - x * x),
        *(r(35 / 8) * x * (3 * z * z - x * x), r(105) * x * y * z, r(21 / 8) * x * (5 * y * y - 1)),
        r(7) / 2 * y * (5 * y * y - 3),
        *(r(21 / 8) * z * (5 * y * y - 1), r(105) / 2 * y * (z * z - x * x)),
        r(35 / 8) * z * (z * z - 3 * x * x),
    ]
    return torch.stack(values[: (most + 1) ** 2], -1)


@functools.cache
def integrals(one: int, two: int, three: int) -> Tensor:
    """Integrals over the sphere of three orthonormal harmonics, degrees up to these."""
    height, weight = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(8))
    turn = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    flat = (1 - height**2).sqrt()[:, None]
    up = height[:, None].expand(8, 16)
    points = torch.stack([flat * turn.sin(), up, flat * turn.cos()], -1).reshape(-1, 3)
    weights = weight.repeat_interleave(16) * 2 * math.pi / 16
    a, b, c = (harmonics(points, most) / math.sqrt(4 * math.pi) for most in (one, two, three))
    return torch.einsum("si,sj,sk,s->ijk", a, b, c, weights)


def paths(one: int, two: int, three: int) -> list[tuple[tuple[slice, slice, slice], Tensor]]:
    """Blocks of degrees that couple and keep parity, in order, and their coefficients."""
    table = integrals(one, two, three)
    found = []
    for degrees in itertools.product(range(one + 1), range(two + 1), range(three + 1)):
        a, b, c = degrees
        if abs(a - b) <= c <= a + b and sum(degrees) % 2 == 0:
            i, j, k = (slice(d * d, (d + 1) ** 2) for d in degrees)
            found.append(((i, j, k), table[i, j, k] / table[i, j, k].norm()))
    return found


def cg_product(P: Params, H: Hypers, X: Tensor, Y: Tensor, W: Tensor) -> Tensor:
    Z = torch.zeros_like(X)
    for p, ((i, j, k), block) in enumerate(paths(H["most"], H["edges"], H["most"])):
        part = torch.einsum("ijk,bui,bj->buk", block, X[..., i], Y[..., j])
        Z[..., k] += W[:, p, :, None] * part
    return Z


def cg_convolution(
    P: Params, H: Hypers, X: Tensor, R: Tensor, W: Tensor, src: Tensor, dst: Tensor
) -> Tensor:
    messages = cg_product(P, H, X[src], harmonics(R, H["edges"]), W)
    sums = [messages[dst == node].sum(0) for node in range(len(X))]
    return torch.stack(sums)


def shared_cg_product(P: Params, H: Hypers, X: Tensor, Y: Tensor) -> Tensor:
    most = H["most"]
    Z = torch.zeros_like(X)
    for p, ((i, j, k), block) in enumerate(paths(most, most, most)):
        part = torch.einsum("ijk,bui,buj->buk", block, X[..., i], Y[..., j])
        Z[..., k] += P["w"][p] * part
    return Z


def gaunt_product(P: Params, H: Hypers, X: Tensor, Y: Tensor) -> Tensor:
    table = integrals(H["most"], H["most"], H["most"])
    return torch.einsum("ijk,bui,buj->buk", table, X, Y)
