"""Train examples/digits.tl on scikit-learn's handwritten digits: the whole street on real data.

Compiles the spec for both targets, trains the torch one, checks the trained module against the
reference evaluator, prints `explain` and writes the graph as SVG. A minute or two on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import tensorlang as tl

SPEC = Path(__file__).with_name("digits.tl")
GOAL = 0.97


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code is 0 iff the goal is met and module and reference agree."""
    options = _options(arguments)
    console = Console()
    options.out.mkdir(parents=True, exist_ok=True)
    for target in ("torch", "triton"):
        path = options.out / f"digits_{target}.py"
        tl.compile(str(SPEC), target=target).write(str(path))
        console.print(f"compiled {SPEC.name} for {target}: {path}")

    torch.manual_seed(options.seed)
    model = tl.load(str(SPEC)).Digits()
    train_x, test_x, train_y, test_y = digits(options.seed)
    start = time.perf_counter()
    train(model, train_x, train_y, test_x, test_y, options.epochs, console)
    reached = accuracy(model, test_x, test_y)
    console.print(f"test accuracy {reached:.2%} after {time.perf_counter() - start:.0f} s")

    error = against_reference(model, test_x[:16])
    console.print(f"largest difference from the reference evaluator {error:.1e} (relative)")
    explanation = tl.explain(model, X=(64, 8, 8))
    console.print(str(explanation), markup=False, highlight=False, soft_wrap=True)
    graph = options.out / "digits.svg"
    graph.write_text(explanation.to_svg())
    console.print(f"graph: {graph}")
    return 0 if reached >= GOAL and error < 1e-4 else 1


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split the 1797 images X[b, x, y] in [0, 1]: train_x, test_x, train_y, test_y."""
    flat, classes = load_digits(return_X_y=True)
    images = (flat.reshape(-1, 8, 8) / 16).astype(np.float32)
    parts = train_test_split(images, classes, test_size=0.2, random_state=seed, stratify=classes)
    a, b, c, d = map(torch.as_tensor, parts)
    return a, b, c, d


def train(
    model: nn.Module,
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    epochs: int,
    console: Console,
    batch: int = 64,
) -> None:
    """Minimise cross entropy with AdamW under a one-cycle schedule."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=0.01)
    steps = epochs * -(-len(train_x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  test {task.fields[test]:.2%}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("train", total=steps, epoch=0, loss=float("nan"), test=0.0)
        for epoch in range(epochs):
            model.train()
            for chosen in torch.randperm(len(train_x)).split(batch):
                loss = cross_entropy(model(train_x[chosen]), train_y[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                progress.update(task, advance=1, epoch=epoch + 1, loss=loss.item())
            progress.update(task, test=accuracy(model, test_x, test_y))


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, classes: Tensor) -> float:
    """Share of images whose largest logit is that of their class."""
    model.eval()
    return float((model(images).argmax(-1) == classes).double().mean())


@torch.no_grad()
def against_reference(model: nn.Module, images: Tensor) -> float:
    """Largest difference from the reference evaluator, relative to the largest logit."""
    want = torch.as_tensor(np.asarray(tl.reference(model)(images)))
    return float((model(images) - want).abs().max() / want.abs().max())


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for the files")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
