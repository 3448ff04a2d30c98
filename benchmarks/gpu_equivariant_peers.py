"""The Clebsch-Gordan convolution by libraries of kernels, for benchmarks/gpu.py, where they are.

Their paths are weighted and ordered otherwise, so their values are not compared.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Call = Callable[..., Tensor]
MOST, EDGES = 2, 3


def cuequivariance_torch(given: tuple[Tensor, ...]) -> Call:
    import cuequivariance as cue  # a peer
    import cuequivariance_torch as cuet  # a peer

    u = given[0].shape[1]
    signs = "eoeo"
    one = cue.Irreps("O3", " + ".join(f"{u}x{k}{signs[k]}" for k in range(MOST + 1)))
    two = cue.Irreps("O3", " + ".join(f"1x{k}{signs[k]}" for k in range(EDGES + 1)))
    product = cuet.ChannelWiseTensorProduct(
        one, two, one, shared_weights=False, internal_weights=False, layout=cue.ir_mul
    ).to(given[0].device)
    sphere = cuet.SphericalHarmonics(list(range(EDGES + 1)), normalize=True).to(given[0].device)
    count = product.weight_numel

    def run(x: Tensor, r: Tensor, w: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        flat = x.mT.flatten(1)
        z = product(flat[src], sphere(r), w.flatten(1)[:, :count])
        return z.new_zeros(len(x), z.shape[1]).index_add(0, dst, z)

    return run


def openequivariance(given: tuple[Tensor, ...]) -> Call:
    import openequivariance as oeq  # a peer
    from e3nn import o3  # it comes with it

    u = given[0].shape[1]
    one = o3.Irreps([(u, (k, (-1) ** k)) for k in range(MOST + 1)])
    two = o3.Irreps.spherical_harmonics(EDGES)
    instructions = [
        (a, b, c, "uvu", True)
        for a, (_, first) in enumerate(one)
        for b, (_, second) in enumerate(two)
        for c, (_, third) in enumerate(one)
        if third in first * second
    ]
    problem = oeq.TPProblem(
        one, two, one, instructions, shared_weights=False, internal_weights=False
    )
    convolution = oeq.TensorProductConv(problem, deterministic=False)

    def run(x: Tensor, r: Tensor, w: Tensor, src: Tensor, dst: Tensor) -> Tensor:
        y = o3.spherical_harmonics(two, r, normalize=True, normalization="component")
        made: Tensor = convolution.forward(x.flatten(1), y, w.flatten(1), dst, src)
        return made

    return run
