"""Measures the curves of a device's profile with torch, in about ten seconds on two cores."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from tensorlang.order.profile import Curve, Profile

SIDE = 512
_EXTENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_CUBES = (2, 4, 8, 16, 32, 64, 128)
_CELLS = tuple(1 << k for k in range(14, 25, 2))
_SECONDS = 0.1  # for one figure
_LEAST = 1e-4  # of a share


def measure(name: str, device: str = "cpu") -> Profile:
    """The profile of a torch device."""
    where = torch.device(device)
    with torch.no_grad():
        launch = _best(_gemm(1, 4, 4, 4, where), where)
        full = _rate(1, 2 * SIDE, 2 * SIDE, 2 * SIDE, launch, where)
        full = max(full, _rate(1, SIDE, SIDE, SIDE, launch, where))

        def curve(
            of: Callable[[int], tuple[int, int, int, int]], extents: tuple[int, ...]
        ) -> Curve:
            return _rising([(e, _rate(*of(e), launch, where) / full) for e in extents])

        passes = [(cells * 12, _pass(cells, launch, where)) for cells in _CELLS]
        slowest = passes[-1][1]
        return Profile(
            name,
            full,
            slowest,
            min(slowest, _copy(launch, where)),
            launch,
            curve(lambda e: (1, e, SIDE, SIDE), _EXTENTS),
            curve(lambda e: (1, SIDE, e, SIDE), _EXTENTS),
            curve(lambda e: (1, SIDE, SIDE, e), _EXTENTS),
            curve(lambda e: (max(1, (1 << 21) // e**3), e, e, e), _CUBES),
            tuple((moved, rate / slowest) for moved, rate in passes),
        )


def _rising(points: list[tuple[int, float]]) -> Curve:
    """Shares that don't fall with the extent and end at 1 at most."""
    out: list[tuple[int, float]] = []
    least = _LEAST
    for extent, part in points:
        least = max(least, min(1.0, part))
        out.append((extent, round(least, 4)))
    return tuple(out)


def _gemm(batch: int, m: int, n: int, k: int, device: torch.device) -> Callable[[], object]:
    lead = (batch,) if batch > 1 else ()
    a, b = torch.randn(*lead, m, k, device=device), torch.randn(*lead, k, n, device=device)
    return lambda: a @ b


def _rate(batch: int, m: int, n: int, k: int, launch: float, device: torch.device) -> float:
    seconds = _best(_gemm(batch, m, n, k, device), device)
    return 2.0 * batch * m * n * k / max(seconds - launch, 0.1 * seconds)


def _pass(cells: int, launch: float, device: torch.device) -> float:
    """Bytes per second of a product of two vectors."""
    a, b = torch.randn(cells, device=device), torch.randn(cells, device=device)
    seconds = _best(lambda: a * b, device)
    return 12.0 * cells / max(seconds - launch, 0.1 * seconds)


def _copy(launch: float, device: torch.device) -> float:
    """Bytes per second of a large tensor's axes reversed."""
    a = torch.randn(256, 128, 128, device=device)
    seconds = _best(lambda: a.permute(2, 1, 0).contiguous(), device)
    return 8.0 * a.numel() / max(seconds - launch, 0.1 * seconds)


def _best(run: Callable[[], object], device: torch.device) -> float:
    """The least seconds of one call, over a bounded time."""
    run()
    least, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        least = min(least, time.perf_counter() - start)
    return least


def wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
