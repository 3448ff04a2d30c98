"""Grassmann mixing H[8, 1024, 256], r = 32, six offsets: `python -m benchmarks.grassmann`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

import tensorlang as tl
from benchmarks.peers import grassmann_loop
from benchmarks.timing import Table, agree, devices, race, save, with_backward

HERE = Path(__file__).parent
SPEC = str(HERE.parent / "examples" / "grassmann.tl")
PLAIN = str(HERE / "grassmann.tl")
OFFSETS = [1, 2, 4, 8, 12, 16]

Calls = Mapping[str, Callable[[], Tensor]]


def main() -> None:
    for device in devices():
        save("grassmann", [*tables(device), *plain_tables(device)], device)


def tables(
    device: torch.device, shape: tuple[int, ...] = (8, 1024, 256), r: int = 32, rounds: int = 7
) -> list[Table]:
    """Race the mixing alone: the gate and the feed-forward around it are ordinary GEMMs."""
    h = _drawn(device, shape)
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
    calls = {name: functools.partial(module, h) for name, module in modules.items()}
    loop = functools.partial(grassmann_loop, dict(first.named_parameters()), h, OFFSETS)
    title = f"grassmann {list(shape)}, r = {r}, {len(OFFSETS)} offsets"
    return _raced(title, {**calls, "loop over offsets, eager": loop}, modules, h, rounds)


def plain_tables(
    device: torch.device, shape: tuple[int, ...] = (8, 1024, 256), r: int = 32, rounds: int = 7
) -> list[Table]:
    """Without the norm, where the mean moves through the product; eager, and both compiled."""
    h = _drawn(device, shape)
    module = tl.load(PLAIN).PlainMixing(d=shape[-1], r=r, offsets=OFFSETS).to(device)
    params = dict(module.named_parameters())
    loop = functools.partial(grassmann_loop, params, h, OFFSETS, norm=False)
    compiled_loop = torch.compile(loop, fullgraph=True)
    compiled = torch.compile(module, fullgraph=True)
    title = f"grassmann {list(shape)} without the norm"
    eager = {"tensorlang torch": functools.partial(module, h), "loop over offsets, eager": loop}
    both = {
        "tensorlang torch, torch.compile": functools.partial(compiled, h),
        "loop over offsets, torch.compile": compiled_loop,
    }
    return [
        *_raced(title, eager, {"": module}, h, rounds),
        *_raced(f"{title}, compiled", both, {"": module}, h, rounds),
    ]


def _drawn(device: torch.device, shape: tuple[int, ...]) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, device=device, requires_grad=True)


def _raced(
    title: str,
    calls: Calls,
    modules: Mapping[str, nn.Module],
    h: Tensor,
    rounds: int,
) -> list[Table]:
    """Forward without grad, then with backward; calls without a module share the first's params."""
    first = next(iter(modules.values()))
    agree(calls, 1e-4)
    with torch.no_grad():
        forward = race(f"{title}, forward", calls, rounds)
    backward = {
        name: with_backward(call, [h, *modules.get(name, first).parameters()])
        for name, call in calls.items()
    }
    return [forward, race(f"{title}, forward + backward", backward, rounds)]


if __name__ == "__main__":
    main()
