"""Time contenders against each other in one process, interleaved, and print medians and ratios."""

from __future__ import annotations

import datetime
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

RESULTS = Path(__file__).parent / "results"

Contender = Callable[[], object]


class Section(Protocol):
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Table:
    """Medians in seconds of contenders that did the same work; the first is ours."""

    title: str
    medians: Mapping[str, float]
    rounds: int

    def text(self) -> str:
        ours = next(iter(self.medians.values()))
        rows = [f"### {self.title}", "", "| contender | median ms | ours / it |", "|---|---|---|"]
        rows += [
            f"| {name} | {median * 1e3:.3f} | {ours / median:.3f} |"
            for name, median in self.medians.items()
        ]
        return "\n".join([*rows, "", f"{self.rounds} interleaved rounds."])


def race(title: str, contenders: Mapping[str, Contender], rounds: int = 30) -> Table:
    """Run all contenders in turn `rounds` times after three warm-up turns.

    Turns alternate direction, so that no contender always inherits the same neighbour's cache.
    """
    order = list(contenders.items())
    times: dict[str, list[float]] = {name: [] for name, _ in order}
    for turn in range(rounds + 3):
        for name, contender in order if turn % 2 else reversed(order):
            _wait()
            start = time.perf_counter()
            contender()
            _wait()
            if turn >= 3:
                times[name].append(time.perf_counter() - start)
    return Table(title, {name: statistics.median(each) for name, each in times.items()}, rounds)


def with_backward(
    forward: Callable[[], Tensor], leaves: tuple[Tensor, ...] | list[Tensor]
) -> Contender:
    """A contender that runs forward and the gradient of the sum of squares of its result."""

    def run() -> object:
        return torch.autograd.grad(forward().square().sum(), leaves)

    return run


def agree(contenders: Mapping[str, Callable[[], Tensor]], tolerance: float) -> None:
    """Refuse to time contenders that compute different things."""
    first, *others = ((name, forward()) for name, forward in contenders.items())
    for name, value in others:
        error = float((value - first[1]).detach().abs().max() / first[1].detach().abs().max())
        if not error <= tolerance:
            raise ArithmeticError(f"{name} differs from {first[0]} by {error:.1e} (relative)")


def save(name: str, sections: Sequence[Section], device: torch.device) -> None:
    """Print the sections, and write them with date and versions to results/NAME.md."""
    body = "\n\n".join(section.text() for section in sections)
    head = (
        f"# {name}\n\n{datetime.date.today().isoformat()}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {device.type}, {torch.get_num_threads()} threads, "
        "float32 unless a title says otherwise.\n\n"
    )
    print(head + body)
    RESULTS.mkdir(exist_ok=True)
    suffix = "" if device.type == "cpu" else f"_{device.type}"
    (RESULTS / f"{name}{suffix}.md").write_text(head + body + "\n")


def devices() -> list[torch.device]:
    """The CPU, and the GPU where there is one."""
    gpu = [torch.device("cuda")] if torch.cuda.is_available() else []
    return [torch.device("cpu"), *gpu]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
