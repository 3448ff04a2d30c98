"""Batched tensor networks: orders by their FLOPs against all planners, run time against a sweep.

Matrix product states of 10 to 24 sites and trees of 8 and 16 leaves, batch 64:
`python -m benchmarks.tensor_networks`.
"""

from __future__ import annotations

import functools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from opt_einsum.path_random import random_greedy, random_greedy_128
from opt_einsum.paths import DynamicProgramming, auto, greedy
from torch import Tensor

import tensorlang as tl
from benchmarks.timing import Section, Table, agree, devices, race, save, with_backward
from tensorlang.order.prices import price
from tensorlang.order.profile import PROFILES
from tensorlang.order.search import best
from tensorlang.order.trees import Product, tree_of

BATCH, BOND, SITE, LEAF, INNER = 64, 16, 2, 4, 8
Network = tuple[Product, dict[int, int]]


def matrix_product_state(sites: int) -> Network:
    """A chain of cores applied to a batch of product states."""
    sizes = {0: BATCH, **{1 + k: SITE for k in range(sites)}}
    sizes |= {1 + sites + k: BOND for k in range(sites - 1)}
    cores = []
    for k in range(sites):
        ends = {1 + sites + j for j in (k - 1, k) if 0 <= j < sites - 1}
        cores.append(frozenset({1 + k, *ends}))
    states = [frozenset({0, 1 + k}) for k in range(sites)]
    return Product((*cores, *states), frozenset({0})), sizes


def tree(leaves: int) -> Network:
    """A binary tree of three-index cores over a batch of leaves."""
    sizes = {0: BATCH, **{1 + k: LEAF for k in range(leaves)}}
    operands = [frozenset({0, 1 + k}) for k in range(leaves)]
    layer = [*range(1, leaves + 1)]
    while len(layer) > 1:
        above = []
        for a, b in zip(layer[::2], layer[1::2], strict=True):
            above.append(len(sizes))
            sizes[above[-1]] = INNER
            operands.append(frozenset({a, b, above[-1]}))
        layer = above
    return Product(tuple(operands), frozenset({0, layer[0]})), sizes


NETWORKS = {
    **{f"MPS of {n} sites": matrix_product_state(n) for n in (10, 12, 16, 20, 24)},
    **{f"tree of {n} leaves": tree(n) for n in (8, 16)},
}


@dataclass(frozen=True, slots=True)
class Orders:
    """Per network the FLOPs of our order, the least of all planners', those of each, seconds."""

    rows: Sequence[tuple[str, float, dict[str, float], float]]

    def text(self) -> str:
        names = list(self.rows[0][2])
        heads = ["network", "FLOPs", "ours / least", *(f"{n} / ours" for n in names), "planned ms"]
        lines = ["### Orders", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for name, ours, others, seconds in self.rows:
            ratios = " | ".join(f"{others[n] / ours:.3g}" if n in others else "-" for n in names)
            least = min(others.values())
            lines.append(
                f"| {name} | {ours:.4g} | {ours / least:.3f} | {ratios} | {seconds * 1e3:.0f} |"
            )
        return "\n".join(lines)


def orders() -> Orders:
    """Search each network by FLOPs alone, and time a search on the CPU's profile."""
    rows = []
    for name, (product, sizes) in NETWORKS.items():
        _, ours = best(product, sizes, PROFILES["flops"])
        others = {
            planner: price(product, tree_of(path, len(product.operands)), sizes, PROFILES["flops"])
            for planner, path in planners(product, sizes)
        }
        start = time.perf_counter()
        best(product, sizes, PROFILES["cpu"])
        flops = PROFILES["flops"].flops
        took = time.perf_counter() - start
        rows.append((name, ours * flops, {k: v * flops for k, v in others.items()}, took))
    return Orders(rows)


def planners(
    product: Product, sizes: dict[int, int]
) -> Iterator[tuple[str, Sequence[tuple[int, ...]]]]:
    """Every planner of opt_einsum that ends soon."""
    inputs, output = list(product.operands), product.output
    random.seed(0)
    yield "default", auto(inputs, output, sizes)
    yield "greedy", greedy(inputs, output, sizes)
    yield "random-greedy", random_greedy(inputs, output, sizes)
    yield "random-greedy-128", random_greedy_128(inputs, output, sizes)
    if len(inputs) <= 48:
        yield "dp", DynamicProgramming(minimize="flops")(inputs, output, sizes)


def layer(sites: int) -> str:
    """The chain in the language, as one product."""
    bonds = [f"b{k}" for k in range(1, sites)]
    inputs = ", ".join(f"X{k}[n, s{k}]" for k in range(sites))
    cores = [
        f"A{k}[{', '.join([*bonds[max(0, k - 1) : k], f's{k}', *bonds[k : k + 1]])}]"
        for k in range(sites)
    ]
    states = [f"X{k}[n, s{k}]" for k in range(sites)]
    dims = ", ".join([*(f"s{k} = {SITE}" for k in range(sites)), *(f"{b} = {BOND}" for b in bonds)])
    return (
        f"layer Chain():\n    dim {dims}\n    input {inputs}\n"
        f"    param {', '.join(cores)} ~ normal(std = 0.3)\n"
        f"    output Y[n] = {' * '.join([*cores, *states])}\n"
    )


def sweep(inputs: Sequence[Tensor], cores: Sequence[Tensor]) -> Tensor:
    """From the left to the right end: a matrix of every core for each sample, times a vector."""
    left = inputs[0] @ cores[0]
    for x, core in zip(inputs[1:-1], cores[1:-1], strict=True):
        # [n, a] [a, s, b] -> [n, s, b], then the sum over s with x[n, s]
        both = (left @ core.flatten(1)).view(len(x), SITE, BOND)
        left = (both * x[:, :, None]).sum(1)
    return (left * (inputs[-1] @ cores[-1].T)).sum(1)


def running(device: torch.device, sites: int = 10, rounds: int = 50) -> list[Section]:
    """Race the layer against the sweep and the einsum of all tensors."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.tl"
        path.write_text(layer(sites))
        module = tl.load(str(path)).Chain().to(device)
    xs = [torch.randn(BATCH, SITE, device=device, requires_grad=True) for _ in range(sites)]
    cores = [p for _, p in sorted(module.named_parameters(), key=lambda item: int(item[0][1:]))]
    calls: dict[str, Callable[[], Tensor]] = {
        "tensorlang": functools.partial(module, *xs),
        "sweep by hand": functools.partial(sweep, xs, cores),
    }
    agree(calls, 1e-4)
    title = f"MPS of {sites} sites, bond {BOND}, batch {BATCH}"
    with torch.no_grad():
        forward = race(f"{title}, forward", calls, rounds)
    both = {name: with_backward(call, [*xs, *cores]) for name, call in calls.items()}
    out: list[Table] = [forward, race(f"{title}, forward + backward", both, rounds)]
    return [*out]


def main() -> None:
    for device in devices():
        found: list[Section] = [orders()] if device.type == "cpu" else []
        save("tensor_networks", [*found, *running(device)], device)


if __name__ == "__main__":
    main()
