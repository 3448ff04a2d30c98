"""Each identity of the optimiser, on and off, on a layer that asks for it: `python -m
benchmarks.identities`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import tensorlang as tl
from benchmarks.timing import Table, agree, devices, race, save, with_backward

SPEC = str(Path(__file__).parent / "identities.tl")


@dataclass(frozen=True, slots=True)
class Case:
    layer: str
    shape: tuple[int, ...]
    inputs: int
    rules: tuple[str, ...]


CASES = (
    Case("Additive", (2, 96, 32), 5, ("separable",)),
    Case("Rows", (1, 32, 32, 32), 3, ("equalities",)),
    Case("Latent", (8, 4096, 64), 1, ("pool", "hoist")),
)


def main() -> None:
    for device in devices():
        save("identities", tables(device), device)


def tables(device: torch.device, cases: Sequence[Case] = CASES, rounds: int = 15) -> list[Table]:
    """Race every layer with all rewrites against itself without those of its case."""
    out: list[Table] = []
    for case in cases:
        torch.manual_seed(0)
        inputs = [
            torch.randn(case.shape, device=device, requires_grad=True) for _ in range(case.inputs)
        ]
        ours, plain = (
            getattr(tl.load(SPEC, without=without), case.layer)().to(device)
            for without in ((), case.rules)
        )
        plain.load_state_dict(ours.state_dict())
        modules = {"all rewrites": ours, f"without {', '.join(case.rules)}": plain}
        calls = {name: functools.partial(made, *inputs) for name, made in modules.items()}
        agree(calls, 1e-4)
        title = f"{case.layer} {list(case.shape)}"
        with torch.no_grad():
            out.append(race(f"{title}, forward", calls, rounds))
        backward = {
            name: with_backward(calls[name], [*inputs, *made.parameters()])
            for name, made in modules.items()
        }
        out.append(race(f"{title}, forward + backward", backward, rounds))
    return out


if __name__ == "__main__":
    main()
