"""Third-order attention n = 96, d = 32, 4 heads, on q, k, v: `python -m benchmarks.third_order`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import tensorlang as tl
from benchmarks.peers import third_order_einsum, third_order_sdpa
from benchmarks.timing import Table, agree, devices, race, save, with_backward

SPEC = str(Path(__file__).parent.parent / "examples" / "third_order.tl")


def main() -> None:
    for device in devices():
        save("third_order", tables(device), device)


def tables(
    device: torch.device, shape: tuple[int, ...] = (1, 4, 96, 32), rounds: int = 20
) -> list[Table]:
    """Race forward and forward with backward on [batch, head, n, d]."""
    torch.manual_seed(0)
    inputs = [(torch.randn(shape, device=device) / 2).requires_grad_() for _ in range(5)]
    targets = ("torch", "triton") if device.type == "cuda" else ("torch",)
    calls: dict[str, Callable[[], Tensor]] = {}
    for target in targets:
        module = tl.load(SPEC, target=target).Trilinear(scale=1.0).to(device)
        calls[f"tensorlang {target}"] = functools.partial(module, *inputs)
    calls["SDPA, expanded keys"] = functools.partial(third_order_sdpa, *inputs)
    calls["einsums, n^3 weights"] = functools.partial(third_order_einsum, *inputs)
    agree(calls, 1e-4)
    with torch.no_grad():
        forward = race(f"third order {list(shape)}, forward", calls, rounds)
    backward = {name: with_backward(call, inputs) for name, call in calls.items()}
    return [forward, race(f"third order {list(shape)}, forward + backward", backward, rounds)]


if __name__ == "__main__":
    main()
