"""Grassmann mixing H[8, 1024, 256], r = 32, six offsets: `python -m benchmarks.grassmann`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import tensorlang as tl
from benchmarks.peers import grassmann_loop
from benchmarks.timing import Table, agree, devices, race, save, with_backward

SPEC = str(Path(__file__).parent.parent / "examples" / "grassmann.tl")
OFFSETS = [1, 2, 4, 8, 12, 16]


def main() -> None:
    for device in devices():
        save("grassmann", tables(device), device)


def tables(
    device: torch.device, shape: tuple[int, ...] = (8, 1024, 256), r: int = 32, rounds: int = 7
) -> list[Table]:
    """Race the mixing alone: the gate and the feed-forward around it are ordinary GEMMs."""
    torch.manual_seed(0)
    h = torch.randn(shape, device=device, requires_grad=True)
    targets = ("torch", "triton") if device.type == "cuda" else ("torch",)
    modules = {
        f"tensorlang {target}": tl.load(SPEC, target=target)
        .GrassmannMixing(d=shape[-1], r=r, offsets=OFFSETS)
        .to(device)
        for target in targets
    }
    first, *others = modules.values()
    for module in others:
        module.load_state_dict(first.state_dict())
    params = dict(first.named_parameters())
    calls: dict[str, Callable[[], Tensor]] = {
        name: functools.partial(module, h) for name, module in modules.items()
    }
    calls["loop over offsets, eager"] = functools.partial(grassmann_loop, params, h, OFFSETS)
    agree(calls, 1e-4)
    title = f"grassmann {list(shape)}, r = {r}, {len(OFFSETS)} offsets"
    with torch.no_grad():
        forward = race(f"{title}, forward", calls, rounds)
    backward = {
        name: with_backward(call, [h, *modules.get(name, first).parameters()])
        for name, call in calls.items()
    }
    return [forward, race(f"{title}, forward + backward", backward, rounds)]


if __name__ == "__main__":
    main()
