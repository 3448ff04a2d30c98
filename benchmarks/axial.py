"""Axial attention X[2, 64, 64, 128], 8 heads, along both axes: `python -m benchmarks.axial`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import tensorlang as tl
from benchmarks.peers import axial_einsum, axial_sdpa
from benchmarks.timing import Table, agree, devices, race, save, with_backward

SPEC = str(Path(__file__).parent.parent / "examples" / "axial.tl")
HEADS = 8


def main() -> None:
    for device in devices():
        save("axial", tables(device), device)


def tables(
    device: torch.device, shape: tuple[int, ...] = (2, 64, 64, 128), rounds: int = 30
) -> list[Table]:
    """Race forward and forward with backward, on the CPU in float32, on a GPU in bfloat16 too."""
    out = []
    for dtype in (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
        torch.manual_seed(0)
        targets = ("torch", "triton") if device.type == "cuda" else ("torch",)
        ours = {f"tensorlang {target}": _ours(target, shape[-1]) for target in targets}
        first, *others = (module.to(device, dtype) for module in ours.values())
        for module in others:
            module.load_state_dict(first.state_dict())
        x = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
        leaves = [x, *first.parameters()]
        calls: dict[str, Callable[[], Tensor]] = {
            name: functools.partial(module, x) for name, module in ours.items()
        }
        for name, attend in (("permute + SDPA", axial_sdpa), ("einsums, eager", axial_einsum)):
            calls[name] = functools.partial(_both, attend, dict(first.named_parameters()), x)
        agree(calls, 1e-4 if dtype == torch.float32 else 5e-2)
        title = (
            f"axial {list(shape)}, {HEADS} heads, both axes, {str(dtype).removeprefix('torch.')}"
        )
        with torch.no_grad():
            out.append(race(f"{title}, forward", calls, rounds))
        backward = {
            name: with_backward(call, [x, *ours[name].parameters()] if name in ours else leaves)
            for name, call in calls.items()
        }
        out.append(race(f"{title}, forward + backward", backward, rounds))
    return out


def _ours(target: str, d: int) -> torch.nn.Module:
    module: torch.nn.Module = tl.load(SPEC, target=target).AxialPair(d=d, heads=HEADS)
    return module


def _both(
    attend: Callable[[dict[str, Tensor], Tensor, int, int], Tensor], P: dict[str, Tensor], x: Tensor
) -> Tensor:
    rows = {k.removeprefix("rows."): v for k, v in P.items() if k.startswith("rows.")}
    cols = {k.removeprefix("cols."): v for k, v in P.items() if k.startswith("cols.")}
    return attend(cols, attend(rows, x, HEADS, 2), HEADS, 1)


if __name__ == "__main__":
    main()
