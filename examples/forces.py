"""Learn the forces of examples/forces.tl from molecular dynamics, and move atoms by them.

The data are clusters of 13 atoms that move under Lennard-Jones forces, themselves the `grad` of an
energy in the language. Training needs second derivatives, a loss on forces: one `backward`.
About a minute on two cores.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

import tensorlang as tl

SPEC = Path(__file__).with_name("forces.tl")
ATOMS = 13
CUTOFF = 3.5
GOAL = 0.1

Force = Callable[[Tensor], tuple[Tensor, Tensor]]


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code is 0 iff the error of the forces is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    console = Console()
    torch.manual_seed(options.seed)
    torch.set_default_dtype(torch.float64)
    layers = tl.load(str(SPEC))
    exact = layers.LennardJones()

    places, _ = dynamics(exact, lattice(), steps=4000, warmth=0.35)
    samples = places[::20]
    order = torch.randperm(len(samples))
    train, test = samples[order[:160]], samples[order[160:]]
    with torch.no_grad():
        targets = exact(train)[1]

    loss = layers.ForceLoss(cutoff=CUTOFF)
    optimiser = torch.optim.Adam(loss.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    for step in range(options.steps):
        chosen = torch.randint(len(train), (16,))
        src, dst = edges(16)
        error = loss(train[chosen].flatten(0, 1), src, dst, targets[chosen].flatten(0, 1))
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            console.print(f"step {step:4d}  mean square error of the forces {error.item():.4f}")

    relative = against_exact(loss.model, exact, test)
    console.print(f"error of the forces on unseen clusters {relative:.2%}")
    console.print(f"energy drifts by {drift(loss.model):.1e} of the kinetic energy in 500 steps")
    return 0 if relative < GOAL else 1


def lattice() -> Tensor:
    """An atom and its twelve neighbours in a dense packing, at the distance of least energy."""
    corners = [
        signs
        for signs in itertools.product((-1.0, 0.0, 1.0), repeat=3)
        if sum(map(abs, signs)) == 2.0
    ]
    return torch.tensor([(0.0, 0.0, 0.0), *corners]) * (2 ** (1 / 6) / 2**0.5)


def dynamics(force: Force, start: Tensor, steps: int, warmth: float) -> tuple[Tensor, Tensor]:
    """Places at each step of velocity Verlet, and the total energy there."""
    width = 0.005
    with torch.no_grad():
        r, v = start, torch.randn_like(start) * warmth**0.5
        energy, f = force(r)
        places, energies = [], []
        for _ in range(steps):
            v = v + 0.5 * width * f
            r = r + width * v
            energy, f = force(r)
            v = v + 0.5 * width * f
            places.append(r)
            energies.append(energy + 0.5 * v.square().sum())
    return torch.stack(places), torch.stack(energies)


def edges(count: int) -> tuple[Tensor, Tensor]:
    """Every pair of atoms of each of several clusters."""
    pairs = torch.tril_indices(ATOMS, ATOMS, -1)
    whole = pairs[:, None] + ATOMS * torch.arange(count)[None, :, None]
    src, dst = whole.flatten(1)
    return src, dst


def against_exact(model: torch.nn.Module, exact: torch.nn.Module, test: Tensor) -> float:
    """The root mean square error of the forces, relative to theirs."""
    with torch.no_grad():
        want = exact(test)[1]
        got = model(test.flatten(0, 1), *edges(len(test)))[1].view_as(want)
    return float((got - want).norm() / want.norm())


def drift(model: torch.nn.Module) -> float:
    """Forces that are a gradient keep the energy, however well they are learned."""
    pairs = edges(1)
    _, energies = dynamics(lambda r: model(r, *pairs), lattice(), steps=500, warmth=0.1)
    return float((energies - energies[0]).abs().max() / (0.5 * 3 * ATOMS * 0.1))


if __name__ == "__main__":
    raise SystemExit(main())
