"""All families of kernels on one GPU, in less than 8 minutes: `python -m benchmarks.gpu`.

For every workload: errors against float64, then times against the roofline and against peers.
`--toy` runs all of it at toy sizes on the CPU, kernels in Triton's interpreter, and writes nothing.
"""

from __future__ import annotations

import argparse
import copy
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tensorlang as tl
from benchmarks.gpu_workloads import WORKLOADS, Workload, compiled
from benchmarks.timing import Table, race, save, with_backward

EXAMPLES = Path(__file__).parent.parent / "examples"
SECONDS = 440.0
"""After so many no further workload is begun."""
PEAKS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""Multiply-adds in bf16 and bytes per second by a word of the device's name."""
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 8e-2}


@dataclass(frozen=True)
class Lines:
    """A title and lines under it."""

    title: str
    lines: tuple[str, ...]

    def text(self) -> str:
        return "\n".join([f"### {self.title}", "", *(f"- {line}" for line in self.lines)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toy", action="store_true", help="toy sizes, in the interpreter")
    parser.add_argument("names", nargs="*", help="words of titles; all workloads without any")
    asked = parser.parse_args(arguments)
    if asked.toy:
        os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton
    elif not torch.cuda.is_available():
        parser.error("there is no GPU here; --toy runs in the interpreter")
    device = torch.device("cpu" if asked.toy else "cuda")
    start = time.perf_counter()
    sections: list[Table | Lines] = [_machine(device)]
    for workload in WORKLOADS:
        if asked.names and not any(name in workload.title for name in asked.names):
            continue
        if time.perf_counter() - start > SECONDS:
            sections.append(Lines(workload.title, ("left out: the time is up",)))
            continue
        sections += measured(workload, device, asked.toy)
    if asked.toy:
        print("\n\n".join(section.text() for section in sections))
    else:
        save("gpu", sections, device)


def _machine(device: torch.device) -> Lines:
    import triton

    name = torch.cuda.get_device_name() if device.type == "cuda" else "the interpreter"
    cuda = f", CUDA {torch.version.cuda}" if device.type == "cuda" else ""
    return Lines("machine", (f"{name}, triton {triton.__version__}{cuda}",))


def measured(workload: Workload, device: torch.device, toy: bool) -> list[Table | Lines]:
    """What runs where, errors, and the race forward and forward with backward."""
    hypers, sizes = workload.at(toy)
    torch.manual_seed(0)
    plain, fused = (_module(workload, target, hypers).to(device) for target in ("torch", "triton"))
    fused.load_state_dict(plain.state_dict())
    title = f"{workload.title} {list(sizes)}"
    lines = [f"runs as {_regions(fused)}"]
    few = tuple(max(1, n // 16) if n > 512 else n for n in sizes)
    lines += [_error(workload, plain, fused, few, dtype) for dtype in TOLERANCE]
    dtype = torch.float32 if toy else workload.dtype
    given = _given(workload, sizes, device, dtype)
    plain, fused = plain.to(dtype), fused.to(dtype)
    calls, absent = _contenders(workload, plain, fused, given, toy)
    lines += absent
    kind = str(dtype).removeprefix("torch.")
    rounds = 1 if toy else 20
    with torch.no_grad():
        forward = race(f"{title}, {kind}, forward", calls, rounds)
    lines += _roofline(workload, fused, given, sizes, forward, device)
    leaves = [x for x in given if x.requires_grad]
    trained = {
        name: with_backward(call, [*leaves, *_trained(name, plain, fused)])
        for name, call in calls.items()
    }
    return [Lines(title, tuple(lines)), forward,
            race(f"{title}, {kind}, forward + backward", trained, rounds)]  # fmt: skip


def _module(workload: Workload, target: str, hypers: dict[str, Any]) -> nn.Module:
    loaded = tl.load(str(EXAMPLES / f"{workload.spec}.tl"), target=target, profile="h100")
    module: nn.Module = getattr(loaded, workload.layer)(**hypers)
    with torch.no_grad():  # what starts as zero, or is given, would hide mistakes
        for param in module.parameters():
            if not param.isfinite().all() or not param.any():
                param.normal_(std=param.shape[-1] ** -0.5)
    return module


def _regions(module: nn.Module) -> str:
    """Backends of the regions of a module and its sub-layers."""
    units = type(module)._compiled.units  # type: ignore[attr-defined]
    regions = [r.backend for unit in units for plan in unit.plans.values() for r in plan.regions]
    return ", ".join(f"{count} x {name}" for name, count in sorted(Counter(regions).items()))


def _given(
    workload: Workload, sizes: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    drawn = workload.draw(*sizes)
    drawn = tuple(x.to(device, dtype if x.is_floating_point() else x.dtype) for x in drawn)
    return tuple(x.requires_grad_(x.is_floating_point()) for x in drawn)


def _error(
    workload: Workload,
    plain: nn.Module,
    fused: nn.Module,
    sizes: tuple[int, ...],
    dtype: torch.dtype,
) -> str:
    """Largest errors of the result and of gradients, relative to the largest value of each."""
    device = next(iter(plain.parameters()), torch.empty(0)).device
    if not list(plain.parameters()) and torch.cuda.is_available():
        device = torch.device("cuda")
    runs = []
    for module, kind in ((plain, torch.float64), (fused, dtype)):
        module = copy.deepcopy(module).to(dtype).to(kind)
        given = [x.detach().to(dtype).to(kind) if x.is_floating_point() else x
                 for x in _given(workload, sizes, device, torch.float32)]  # fmt: skip
        given = [x.requires_grad_(x.is_floating_point()) for x in given]
        made = module(*given)
        torch.manual_seed(2)
        weight = torch.randn(made.shape, dtype=torch.float32, device=device).to(kind)
        leaves = [x for x in (*given, *module.parameters()) if x.requires_grad]
        found = torch.autograd.grad((made * weight).sum(), leaves, allow_unused=True)
        runs.append([made.detach().double(), *(d.double() for d in found if d is not None)])
    errors = [
        float((got - want).abs().max() / want.abs().max().clamp_min(1e-9))
        for want, got in zip(*runs, strict=True)
    ]
    kind = str(dtype).removeprefix("torch.")
    fine = max(errors) <= TOLERANCE[dtype]
    text = f"{kind} at {list(sizes)}: result off by {errors[0]:.1e}, "
    text += f"gradients by {max(errors[1:]):.1e}"
    return text if fine else f"{text}: TOO MUCH"


def _contenders(
    workload: Workload,
    plain: nn.Module,
    fused: nn.Module,
    given: tuple[Tensor, ...],
    toy: bool,
) -> tuple[dict[str, Callable[[], Tensor]], list[str]]:
    """Ours first; peers that compute something else are not raced."""
    found: dict[str, Callable[..., Tensor]] = {
        "tensorlang triton": fused,
        "tensorlang torch": plain,
        "tensorlang torch, torch.compile": compiled(plain, toy),
    }
    absent = []
    for name, peer in workload.peers.items():
        made = peer(plain, given)
        if isinstance(made, str):
            absent.append(f"{name}: {made}")
        else:
            found[name] = made
    calls = {name: functools.partial(call, *given) for name, call in found.items()}
    with torch.no_grad():
        want = calls["tensorlang torch"]().float()
        for name in [name for name in calls if name not in workload.uncompared]:
            error = float((calls[name]().float() - want).abs().max() / want.abs().max())
            if not error <= 0.1:
                absent.append(f"{name}: another value, off by {error:.1e}")
                del calls[name]
    return calls, absent


def _trained(name: str, plain: nn.Module, fused: nn.Module) -> list[Tensor]:
    module = fused if name == "tensorlang triton" else plain
    return [p for p in module.parameters() if p.requires_grad]


def _roofline(
    workload: Workload,
    module: nn.Module,
    given: tuple[Tensor, ...],
    sizes: tuple[int, ...],
    forward: Table,
    device: torch.device,
) -> list[str]:
    """The least time that the mathematics leaves on this device, beside ours."""
    if device.type != "cuda" or "tensorlang triton" not in forward.medians:
        return []
    name = torch.cuda.get_device_name()
    peak = next((peak for word, peak in PEAKS.items() if word in name), None)
    if peak is None:
        return [f"no roofline is known for {name}"]
    with torch.no_grad():
        held = [*given, *module.parameters(), module(*given)]
    moved = sum(x.numel() * x.element_size() for x in held)
    rate = peak[0] if workload.dtype is torch.bfloat16 else 67e12
    least = max(workload.flops(*sizes) / rate, moved / peak[1])
    seconds = forward.medians["tensorlang triton"]
    work, bytes_ = workload.flops(*sizes) / seconds / 1e12, moved / seconds / 1e12
    return [
        f"forward {work:.1f} TFLOP/s, {bytes_:.2f} TB/s of what must be moved, "
        f"{least / seconds:.0%} of the roofline"
    ]


if __name__ == "__main__":
    main()
