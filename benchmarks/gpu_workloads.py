"""Workloads of benchmarks/gpu.py: one layer of an example each, its inputs, peers and work.

A peer that cannot be imported gives its reason in place of a contender.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.equivariant import e3nn
from benchmarks.peers import axial_sdpa, grassmann_loop, third_order_sdpa
from tests.oracles.equivariant import paths

Call = Callable[..., Tensor]
Peers = Mapping[str, Callable[[nn.Module, tuple[Tensor, ...]], Call | str]]
"""Peers of a module at some inputs: functions of these inputs, or why there is none."""


@dataclass(frozen=True)
class Workload:
    """`draw` makes float32 inputs of [sizes]; `flops` counts what the mathematics needs. Peers that
    are `uncompared` order or weight their terms otherwise."""

    title: str
    spec: str
    layer: str
    hypers: Mapping[str, Any]
    sizes: tuple[int, ...]
    draw: Callable[..., tuple[Tensor, ...]]
    flops: Callable[..., float]
    peers: Peers = field(default_factory=dict)
    toy_hypers: Mapping[str, Any] = field(default_factory=dict)
    toy_sizes: tuple[int, ...] = ()
    dtype: torch.dtype = torch.bfloat16
    uncompared: tuple[str, ...] = ()

    def at(self, toy: bool) -> tuple[dict[str, Any], tuple[int, ...]]:
        return ({**self.hypers, **self.toy_hypers}, self.toy_sizes) if toy else (
            dict(self.hypers), self.sizes,
        )  # fmt: skip


def _normal(*shape: int) -> tuple[Tensor, ...]:
    return (torch.randn(shape),)


# --- axial attention -----------------------------------------------------------------------------
def _along(module: nn.Module, attend: Callable[..., Tensor]) -> Call:
    P = dict(module.named_parameters())
    heads = module.get_parameter("rows.Wq").shape[1]
    rows, cols = (
        {k.removeprefix(f"{sub}."): p for k, p in P.items() if k.startswith(sub)}
        for sub in ("rows", "cols")
    )
    return lambda x: attend(cols, attend(rows, x, heads, 2), heads, 1)


def _axial_sdpa(module: nn.Module, given: tuple[Tensor, ...]) -> Call:
    return _along(module, axial_sdpa)


def _axial_flex(module: nn.Module, given: tuple[Tensor, ...]) -> Call | str:
    from torch.nn.attention.flex_attention import flex_attention  # a peer

    if not given[0].is_cuda:
        return "it has no backward on a CPU"
    flex = torch.compile(flex_attention, dynamic=False)

    def attend(P: Mapping[str, Tensor], x: Tensor, heads: int, axis: int) -> Tensor:
        d = x.shape[-1]
        along = x.movedim(axis, 2)
        q, k, v = (
            (along @ P[name].reshape(d, d)).flatten(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2)
            for name in ("Wq", "Wk", "Wv")
        )
        mixed = flex(q, k, v).transpose(1, 2).flatten(2)
        return (mixed @ P["Wo"].reshape(d, d)).unflatten(0, along.shape[:2]).movedim(2, axis)

    return _along(module, attend)


def _axial_flops(b: int, x: int, y: int, d: int) -> float:
    return b * x * y * (16.0 * d * d + 4.0 * d * (x + y))


def _third_order(module: nn.Module, given: tuple[Tensor, ...]) -> Call:
    P = dict(module.named_parameters())

    def run(x: Tensor) -> Tensor:
        q, *others = (
            torch.einsum("bnd,dhc->bhnc", x, P[name]) for name in ("Wq", "Wk1", "Wk2", "Wv1", "Wv2")
        )
        mixed = third_order_sdpa(q / math.sqrt(q.shape[-1]), *others)
        return torch.einsum("bhnc,hcd->bnd", mixed, P["Wo"])

    return run


# --- equivariance --------------------------------------------------------------------------------
def _graph(nodes: int, edges: int, u: int) -> tuple[Tensor, ...]:
    """Edges in the order of their receivers, as neighbour lists come."""
    count = len(paths(2, 3, 2))
    src, dst = (torch.randint(nodes, (edges,)) for _ in range(2))
    return (
        torch.randn(nodes, u, 9),
        torch.randn(edges, 3),
        torch.randn(edges, count, u),
        src,
        dst.sort().values,
    )


def _e3nn(module: nn.Module, given: tuple[Tensor, ...]) -> Call | str:
    if find_spec("e3nn") is None:
        return "e3nn is not installed"
    return e3nn(given[0].shape[1], given[0].device)


def _installed(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], Call | str]:
    """A function of gpu_equivariant_peers.py that has this library's name."""

    def peer(module: nn.Module, given: tuple[Tensor, ...]) -> Call | str:
        if find_spec(name) is None:
            return f"{name} is not installed"
        from benchmarks import gpu_equivariant_peers as peers  # import them only where they are

        return getattr(peers, name)(given)  # type: ignore[no-any-return]

    return peer


def _cg_flops(nodes: int, edges: int, u: int) -> float:
    terms = sum(int((c != 0).sum()) for _, c in paths(2, 3, 2))
    return 4.0 * edges * u * terms


# --- chains --------------------------------------------------------------------------------------
def _low_rank(module: nn.Module, given: tuple[Tensor, ...]) -> Call:
    """The dense product on cuBLAS and the factors in the order of least work."""
    P = dict(module.named_parameters())

    def run(x: Tensor) -> Tensor:
        thin = F.linear(F.linear(x, P["D.i"].mT), P["D.core"])
        return F.linear(x, P["W"], P["bias"]) + 4.0 * F.linear(thin, P["D.o"])

    return run


def _tltorch(module: nn.Module, given: tuple[Tensor, ...]) -> Call | str:
    return "tltorch is not installed" if find_spec("tltorch") is None else (
        "it forms the dense weight first"
    )  # fmt: skip


# --- the list ------------------------------------------------------------------------------------
def _normed(module: nn.Module, given: tuple[Tensor, ...]) -> Call:
    weight = module.get_parameter("g")
    return lambda x: F.rms_norm(x, weight.shape, weight, 1e-6)


def _density(module: nn.Module, given: tuple[Tensor, ...]) -> Call:
    d = given[0].shape[-1]

    def run(x: Tensor, s: Tensor) -> Tensor:
        near = -0.5 * (torch.cdist(x.float(), s.float()) ** 2)
        constant = math.log(len(s)) + d / 2 * math.log(2 * math.pi)
        return (near.logsumexp(-1) - constant).to(x.dtype)

    return run


def _mixing(module: nn.Module, given: tuple[Tensor, ...]) -> Call:
    P = dict(module.named_parameters())
    return lambda h: grassmann_loop(P, h, OFFSETS)


OFFSETS = [1, 2, 4, 8, 12, 16]
WORKLOADS = (
    Workload(
        "axial attention along both axes", "axial", "AxialPair", {"d": 512, "heads": 8},
        (4, 128, 128, 512), _normal, _axial_flops,
        {"permute + SDPA": _axial_sdpa, "permute + FlexAttention": _axial_flex},
        {"d": 32, "heads": 2}, (1, 3, 5, 32),
    ),
    Workload(
        "third-order attention", "third_order", "ThirdOrderAttention", {"d": 512, "heads": 8},
        (1, 512, 512), _normal, lambda b, n, d: 4.0 * b * n**3 * d + 12.0 * b * n * d * d,
        {"SDPA over expanded keys": _third_order},
        {"d": 8, "heads": 2}, (1, 5, 8),
    ),
    Workload(
        "Clebsch-Gordan convolution", "equivariant", "CGConvolution",
        {"u": 128, "most": 2, "edges": 3}, (3000, 160_000, 128), _graph, _cg_flops,
        {"e3nn": _e3nn, "cuEquivariance": _installed("cuequivariance_torch"),
         "OpenEquivariance": _installed("openequivariance")},
        {"u": 2}, (3, 5, 2), torch.float32, ("cuEquivariance", "OpenEquivariance"),
    ),
    Workload(
        "a frozen weight and its Tucker update", "flora", "FLoRALinear",
        {"i": 4096, "o": 4096, "ranks": [16, 16]}, (8192, 4096), _normal,
        lambda n, i: 2.0 * n * (i * i + 2 * 16 * i),
        {"hand-ordered matmuls": _low_rank, "tltorch": _tltorch},
        {"i": 8, "o": 8, "ranks": [2, 2]}, (3, 8),
    ),
    Workload(
        "Grassmann mixing", "grassmann", "GrassmannMixing", {"d": 256, "r": 32, "offsets": OFFSETS},
        (8, 2048, 256), _normal, lambda b, t, d: 2.0 * b * t * d * (32 + 6 * 496),
        {"loop over offsets": _mixing}, {"d": 6, "r": 4}, (1, 7, 6),
    ),
    Workload(
        "kernel density", "kernel_density", "KernelDensity", {},
        (1, 16384, 8), lambda b, n, d: (torch.randn(b, n, d), torch.randn(n, d)),
        lambda b, n, d: b * n * n * (3.0 * d + 4),
        {"cdist, logsumexp": _density}, {}, (1, 5, 3), torch.float32,
    ),
    Workload(
        "root mean square norm", "norms", "RMSNorm", {"d": 4096}, (16384, 4096), _normal,
        lambda n, d: 4.0 * n * d, {"F.rms_norm": _normed}, {"d": 6}, (3, 6),
    ),
)  # fmt: skip


def compiled(module: nn.Module, toy: bool) -> Call:
    """torch.compile of a module of the torch target."""
    backend = "eager" if toy else "inductor"
    return functools.partial(torch.compile(module, fullgraph=True, backend=backend))
