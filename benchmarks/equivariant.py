"""Clebsch-Gordan convolution and Gaunt products: `python -m benchmarks.equivariant`.

e3nn takes part where it can be imported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import tensorlang as tl
from benchmarks.timing import Table, agree, devices, race, save, with_backward
from tensorlang.registry import transforms
from tests.oracles.equivariant import harmonics, paths

SPEC = str(Path(__file__).parent.parent / "examples" / "equivariant.tl")
MOST, EDGES = 2, 3
Convolution = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    for device in devices():
        tables = convolution(device)
        for most in (2, 4, 6):
            tables += gaunt(device, most)
        save("equivariant", tables, device)


def convolution(
    device: torch.device, nodes: int = 200, edges: int = 2000, u: int = 32, rounds: int = 9
) -> list[Table]:
    """Race the convolution against one written by hand, and e3nn's path by path."""
    torch.manual_seed(0)
    x = torch.randn(nodes, u, (MOST + 1) ** 2, device=device, requires_grad=True)
    r = torch.randn(edges, 3, device=device)
    w = torch.randn(edges, len(paths(MOST, EDGES, MOST)), u, device=device, requires_grad=True)
    src, dst = (torch.randint(nodes, (edges,), device=device) for _ in range(2))
    layer = tl.load(SPEC).CGConvolution(u=u, most=MOST, edges=EDGES).to(device)
    contenders: dict[str, Convolution] = {
        "tensorlang torch": layer,
        "by hand, harmonics first, block by block": by_hand(device),
    }
    if find_spec("e3nn") is not None:
        contenders["e3nn"] = e3nn(u, device)
    calls = {n: functools.partial(call, x, r, w, src, dst) for n, call in contenders.items()}
    agree(calls, 1e-4)
    title = f"CG convolution, {edges} edges, {u} copies, l <= {MOST}, harmonics to {EDGES}"
    with torch.no_grad():
        forward = race(f"{title}, forward", calls, rounds)
    backward = {name: with_backward(call, [x, w]) for name, call in calls.items()}
    return [forward, race(f"{title}, forward + backward", backward, rounds)]


def by_hand(device: torch.device) -> Convolution:
    """Couple the harmonics once an edge, then a batched product for every path."""
    blocks = [(at, c.float().to(device)) for at, c in paths(MOST, EDGES, MOST)]

    def run(x: Tensor, r: Tensor, w: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        y, near = harmonics(r, EDGES), x[src]
        parts: dict[int, Tensor] = {}
        for p, ((i, j, k), c) in enumerate(blocks):
            coupled = (y[:, j] @ c.permute(1, 0, 2).flatten(1)).unflatten(-1, c.shape[::2])
            term = w[:, p, :, None] * (near[..., i] @ coupled)
            parts[k.start] = parts[k.start] + term if k.start in parts else term
        z = torch.cat([parts[start] for start in sorted(parts)], -1)
        return torch.zeros_like(x).index_add(0, dst, z)

    return run


def e3nn(u: int, device: torch.device) -> Convolution:
    from e3nn import o3  # optional: a peer

    features = o3.Irreps([(u, (degree, (-1) ** degree)) for degree in range(MOST + 1)])
    edge = o3.Irreps.spherical_harmonics(EDGES)
    instructions = [
        (a, b, c, "uvu", True)
        for a, (_, one) in enumerate(features)
        for b, (_, two) in enumerate(edge)
        for c, (_, three) in enumerate(features)
        if three in one * two
    ]
    product = o3.TensorProduct(
        features,
        edge,
        features,
        instructions,
        shared_weights=False,
        internal_weights=False,
        path_normalization="none",
        irrep_normalization="none",
    ).to(device)
    degrees = [slice(k * k, (k + 1) ** 2) for k in range(MOST + 1)]

    def run(x: Tensor, r: Tensor, w: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        flat = torch.cat([x[..., k].flatten(1) for k in degrees], -1)
        y = o3.spherical_harmonics(edge, r, normalize=True, normalization="component")
        z = product(flat[src], y, w.flatten(1))
        z = flat.new_zeros(flat.shape).index_add(0, dst, z)
        sizes = [u * (2 * k + 1) for k in range(MOST + 1)]
        return torch.cat([part.unflatten(-1, (u, -1)) for part in z.split(sizes, -1)], -1)

    return run


def gaunt(
    device: torch.device, most: int, batch: int = 256, u: int = 32, rounds: int = 9
) -> list[Table]:
    """Race the Gaunt product against the pointwise product on a quadrature grid."""
    torch.manual_seed(0)
    x, y = (
        torch.randn(batch, u, (most + 1) ** 2, device=device, requires_grad=True) for _ in range(2)
    )
    layer = tl.load(SPEC).GauntProduct(u=u, most=most).to(device)
    by_grid = Grid(most).to(device)
    calls: dict[str, Callable[[], Tensor]] = {
        "tensorlang torch": lambda: layer(x, y),
        "grid by two GEMMs": lambda: by_grid(x, y),
    }
    agree(calls, 1e-4)
    title = f"Gaunt product, L = {most}, batch {batch} x {u}"
    with torch.no_grad():
        forward = race(f"{title}, forward", calls, rounds)
    backward = {name: with_backward(call, [x, y]) for name, call in calls.items()}
    return [forward, race(f"{title}, forward + backward", backward, rounds)]


class Grid(nn.Module):
    """The product by hand: to a grid, pointwise, back."""

    there: Tensor
    back: Tensor

    def __init__(self, most: int) -> None:
        super().__init__()
        for name, matrix in zip(("there", "back"), grid(most), strict=True):
            self.register_buffer(name, matrix)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x @ self.there) * (y @ self.there)) @ self.back


def grid(most: int) -> tuple[Tensor, Tensor]:
    """Harmonics on a grid that integrates three of them exactly, and the way back."""
    turns = 3 * most + 1
    height, weight = np.polynomial.legendre.leggauss((3 * most + 2) // 2)
    angle = np.arange(turns) * 2 * np.pi / turns
    flat = np.sqrt(1 - height**2)[:, None]
    up = np.broadcast_to(height[:, None], (len(height), turns))
    points = np.stack([flat * np.sin(angle), up, flat * np.cos(angle)], -1).reshape(-1, 3)
    row = transforms()["spherical_harmonics"]
    values = row.numpy(points, sizes=((most + 1) ** 2,), norm="") / math.sqrt(4 * math.pi)
    weights = np.repeat(weight, turns)[:, None] * 2 * np.pi / turns
    return torch.from_numpy(values.T).float(), torch.from_numpy(values * weights).float()


if __name__ == "__main__":
    main()
