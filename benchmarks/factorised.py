"""Factorised weights [1024, 1024] in the best of their forms: `python -m benchmarks.factorised`.

Each against its forms written by hand as modules, the ways of tensorly-torch and nn.Linear; beside
them the form chosen and the seconds predicted. In eval() what is made of weights alone is kept.
`--ranks 8,64 --batches 16,1024 --kinds cp,tt --modes forward --rounds 20` narrows the grid.
A point whose contenders are slow gets fewer rounds.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import tensorlang as tl
from benchmarks.timing import agree, devices, race, save, with_backward
from tensorlang.explanation import explain
from tensorlang.explanation.seconds import priced

EQUATIONS = {
    "lowrank": """
    input  X[..., i]
    param  A[i, r], B[r, o] ~ normal(std = 0.1)
    output Y[..., o] = X[..., i] * A[i, r] * B[r, o]""",
    "cp": """
    input  X[..., (i j)]
    param  A[i, r], B[j, r], C[k, r], D[l, r] ~ normal(std = 0.1)
    output Y[..., (k l)] = X[..., (i j)] * A[i, r] * B[j, r] * C[k, r] * D[l, r]""",
    "tucker": """
    input  X[..., (i j)]
    param  A[i, a], B[j, b], C[k, c], D[l, d], G[a, b, c, d] ~ normal(std = 0.1)
    output Y[..., (k l)] = X[..., (i j)] * A[i, a] * B[j, b] * C[k, c] * D[l, d] * G[a, b, c, d]""",
    "tt": """
    input  X[..., (i j)]
    param  A[i, k, r], B[r, j, l] ~ normal(std = 0.1)
    output Y[..., (k l)] = X[..., (i j)] * A[i, k, r] * B[r, j, l]""",
}
SIZES = {
    "lowrank": "i = 1024, o = 1024, r = rank",
    "cp": "i = 32, j = 32, k = 32, l = 32, r = rank",
    "tucker": "i = 32, j = 32, k = 32, l = 32, a = rank, b = rank, c = rank, d = rank",
    "tt": "i = 32, j = 32, k = 32, l = 32, r = rank",
}
NETWORKS = {
    "lowrank": ("zi,ir,ro->zo", "ir,ro->io"),
    "cp": ("zij,ir,jr,kr,lr->zkl", "ir,jr,kr,lr->ijkl"),
    "tucker": ("zij,ia,jb,kc,ld,abcd->zkl", "ia,jb,kc,ld,abcd->ijkl"),
    "tt": ("zij,ikr,rjl->zkl", "ikr,rjl->ijkl"),
}
"""How tensorly-torch computes them: one einsum of all factors, or the weight by one."""
MODES = ("forward", "forward + backward", "eval")
RANKS = (8, 16, 64, 256)
BATCHES = (1, 16, 256, 1024, 4096)
SECONDS, LEAST = 1.0, 5
"""A point gets about so long, and this many rounds at least."""
Forms = Mapping[str, Callable[[], Tensor]]


def by_hand(kind: str, x: Tensor, p: Mapping[str, Tensor]) -> Forms:
    """The forms of Y that one would write."""
    n = len(x)
    grid = x.view(n, 32, 32) if kind != "lowrank" else x
    match kind:
        case "lowrank":
            return {
                "chain": lambda: (x @ p["A"]) @ p["B"],
                "weight": lambda: x @ (p["A"] @ p["B"]),
            }
        case "cp":

            def rows() -> Tensor:
                return (p["A"][:, None] * p["B"]).flatten(0, 1)

            def columns() -> Tensor:
                return (p["C"][:, None] * p["D"]).flatten(0, 1)

            def chain() -> Tensor:
                inner = ((grid.mT @ p["A"]) * p["B"]).sum(1)
                return inner @ columns().T

            return {
                "chain": chain,
                "khatri-rao": lambda: (x @ rows()) @ columns().T,
                "weight": lambda: x @ (rows() @ columns().T),
            }
        case "tucker":

            def core() -> Tensor:
                return p["G"].flatten(2, 3).flatten(0, 1)

            def inner_core(z: Tensor) -> Tensor:
                inner = (p["A"].T @ grid @ p["B"]).flatten(1) @ core()
                return inner.view(n, p["C"].shape[1], p["D"].shape[1])

            def kron(left: Tensor, right: Tensor) -> Tensor:
                return torch.kron(left, right)

            return {
                "chain": lambda: (p["C"] @ inner_core(grid) @ p["D"].T).flatten(1),
                "kronecker": lambda: (x @ kron(p["A"], p["B"])) @ core() @ kron(p["C"], p["D"]).T,
                "weight": lambda: x @ (kron(p["A"], p["B"]) @ core() @ kron(p["C"], p["D"]).T),
            }
    rank = p["A"].shape[2]

    def weight() -> Tensor:
        formed = p["A"].flatten(0, 1) @ p["B"].flatten(1)  # (i k), (j l)
        return formed.view(32, 32, 32, 32).permute(0, 2, 1, 3).reshape(1024, 1024)

    def right_first() -> Tensor:
        inner = grid @ p["B"].permute(1, 0, 2).flatten(1)  # n, i, (r l)
        inner = inner.view(n, 32 * rank, 32)
        return (p["A"].permute(1, 0, 2).flatten(1) @ inner).flatten(1)

    def left_first() -> Tensor:
        inner = (grid.mT @ p["A"].flatten(1)).view(n, 32, 32, rank)  # n, j, k, r
        inner = inner.permute(0, 2, 1, 3).reshape(n, 32, 32 * rank)
        return (inner @ p["B"].permute(1, 0, 2).flatten(0, 1)).flatten(1)

    return {"chain": right_first, "chain, left first": left_first, "weight": lambda: x @ weight()}


class Hand(nn.Module):
    """A form written by hand, over copies of our layer's parameters that lie as declared."""

    def __init__(self, kind: str, form: str, layer: nn.Module) -> None:
        super().__init__()
        self.kind, self.form = kind, form
        for name, param in layer.named_parameters():
            copied = param.detach().clone(memory_format=torch.contiguous_format)
            self.register_parameter(name, nn.Parameter(copied))

    def forward(self, x: Tensor) -> Tensor:
        params = {name: param for name, param in self._parameters.items() if param is not None}
        return by_hand(self.kind, x, params)[self.form]()


def tensorly(kind: str, x: Tensor, layer: nn.Module) -> Forms:
    """Both implementations of tensorly-torch, without its bookkeeping."""
    every, weight = NETWORKS[kind]
    factors = list(layer.parameters())
    grid = x.view(len(x), 32, 32) if kind != "lowrank" else x
    return {
        "tensorly-torch, factorised": lambda: torch.einsum(every, grid, *factors).flatten(1),
        "tensorly-torch, reconstructed": lambda: (
            x @ torch.einsum(weight, *factors).reshape(1024, -1)
        ),
    }


@dataclass(frozen=True, slots=True)
class Row:
    """One point of the grid: seconds of ours, of the best form by hand, and of others."""

    kind: str
    rank: int
    batch: int
    mode: str
    form: str
    predicted: float
    ours: float
    hand: str
    best: float
    tensorly: float
    dense: float

    @property
    def aim(self) -> float:
        """The best form by hand; in eval() the dense layer where that is faster."""
        return min(self.best, self.dense) if self.mode == "eval" else self.best


@dataclass(frozen=True, slots=True)
class Grid:
    rows: Sequence[Row]
    rounds: int

    def text(self) -> str:
        heads = ("weight", "rank", "batch", "mode", "form", "predicted ms", "ms", "best by hand")
        heads += ("ms", "ours / it", "tensorly-torch / ours", "ours / nn.Linear")
        lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
        for row in self.rows:
            lines.append(
                f"| {row.kind} | {row.rank} | {row.batch} | {row.mode} | `{row.form}` "
                f"| {row.predicted * 1e3:.3f} | {row.ours * 1e3:.3f} | {row.hand} "
                f"| {row.best * 1e3:.3f} | {row.ours / row.best:.2f} "
                f"| {row.tensorly / row.ours:.1f} | {row.ours / row.dense:.2f} |"
            )
        far = sum(row.ours > 1.1 * row.aim for row in self.rows)
        worst = max(row.ours / row.aim for row in self.rows)
        lines.append(f"\n{far} of {len(self.rows)} points beyond 1.1; worst {worst:.2f}.")
        return "\n".join([*lines, "", f"{LEAST} to {self.rounds} interleaved rounds."])


def measure(
    kind: str,
    rank: int,
    batches: Sequence[int],
    modes: Sequence[str],
    device: torch.device,
    rounds: int,
) -> list[Row]:
    """One layer, planned once, at several batch sizes."""
    text = f"layer Weight(rank = {rank}):\n    dim {SIZES[kind]}{EQUATIONS[kind]}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weight.tl"
        path.write_text(text)
        layer = tl.load(str(path)).Weight(rank=rank).to(device)
    dense = nn.Linear(1024, 1024, bias=False, device=device)
    out = []
    for batch, mode in itertools.product(batches, modes):
        x = torch.randn(batch, 1024, device=device, requires_grad=mode == "forward + backward")
        layer.train(mode != "eval")
        ways: dict[str, Callable[[], Tensor]] = {"tensorlang": functools.partial(layer, x)}
        forms = [
            Hand(kind, form, layer) for form in by_hand(kind, x, dict(layer.named_parameters()))
        ]
        ways |= {hand.form: functools.partial(hand, x) for hand in forms}
        ways |= tensorly(kind, x, forms[0])
        with torch.no_grad():
            agree(ways, 1e-3)
        ways["nn.Linear"] = functools.partial(dense, x)
        leaves = {"tensorlang": list(layer.parameters()), "nn.Linear": list(dense.parameters())}
        leaves |= {hand.form: list(hand.parameters()) for hand in forms}
        leaves["by hand"] = list(forms[0].parameters())
        medians = _race(ways, mode, x, leaves, rounds)
        told = explain(layer, X=(batch, 1024))
        form = "; ".join(c.tree for c in told.contractions if c.factors > 2) or "one step"
        best = min((hand.form for hand in forms), key=medians.__getitem__)
        others = [medians[name] for name in medians if name.startswith("tensorly-torch")]
        predicted = math.fsum(seconds for _, seconds in priced(told))
        out.append(
            Row(
                kind=kind,
                rank=rank,
                batch=batch,
                mode=mode,
                form=form,
                predicted=predicted,
                ours=medians["tensorlang"],
                hand=best,
                best=medians[best],
                tensorly=min(others),
                dense=medians["nn.Linear"],
            )
        )
    return out


def _race(
    ways: Mapping[str, Callable[[], Tensor]],
    mode: str,
    x: Tensor,
    leaves: Mapping[str, Sequence[Tensor]],
    rounds: int,
) -> Mapping[str, float]:
    if mode != "forward + backward":
        with torch.no_grad():
            return race(mode, ways, _afforded(ways, rounds)).medians
    both = {
        name: with_backward(way, [x, *leaves.get(name, leaves["by hand"])])
        for name, way in ways.items()
    }
    return race(mode, both, _afforded(both, rounds)).medians


def _afforded(ways: Mapping[str, Callable[[], object]], rounds: int) -> int:
    """Fewer rounds where one takes long, five at least."""
    start = time.perf_counter()
    for way in ways.values():
        way()
    return max(LEAST, min(rounds, int(SECONDS / (time.perf_counter() - start))))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--kinds", default=",".join(EQUATIONS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--print", action="store_true", help="save nothing")
    asked = parser.parse_args(arguments)
    ranks, batches = (list(map(int, text.split(","))) for text in (asked.ranks, asked.batches))
    for device in devices():
        torch.manual_seed(0)
        rows: list[Row] = []
        for kind, rank in itertools.product(asked.kinds.split(","), ranks):
            if kind == "tucker" and rank > 32:
                continue  # a core beyond the dense weight
            rows += measure(kind, rank, batches, asked.modes.split(","), device, asked.rounds)
        if asked.print:
            print(Grid(rows, asked.rounds).text())
        else:
            save("factorised", [Grid(rows, asked.rounds)], device)


if __name__ == "__main__":
    main()
