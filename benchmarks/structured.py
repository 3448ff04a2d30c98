"""Toeplitz, circulant, Hadamard and Fourier weights: `python -m benchmarks.structured`.

Each against a dense nn.Linear of its size, the gathered weight and the forms written by hand: the
convolution theorem, windows of a vector, two small products, the butterfly.
`--sizes 256,1024 --batches 16 --rounds 20 --threads 1` narrows the grid.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

import tensorlang as tl
from benchmarks import peers
from benchmarks.timing import Table, agree, devices, race, save, with_backward

SPEC = Path(__file__).with_suffix(".tl")
SIZES = (256, 1024, 4096)
BATCHES = (1, 16, 256, 1024)
Forms = Mapping[str, Callable[[], Tensor]]


def toeplitz(x: Tensor) -> tuple[Forms, list[Tensor]]:
    n = x.shape[-1]
    made = tl.load(SPEC).Toeplitz(n=n, device=x.device)
    t = made.W.diagonals
    forms = {
        "ours": lambda: made(x),
        "spectra": lambda: peers.toeplitz_fft(t, x),
        "windows": lambda: peers.toeplitz_windows(t, x),
        "gathered": lambda: peers.toeplitz_gathered(t, x),
    }
    return forms, [x, t]


def circulant(x: Tensor) -> tuple[Forms, list[Tensor]]:
    n = x.shape[-1]
    made = tl.load(SPEC).Circulant(n=n, device=x.device)
    c = made.W.column
    forms = {
        "ours": lambda: made(x),
        "spectra": lambda: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(c), n),
        "windows": lambda: peers.toeplitz_windows(torch.cat((c[1:], c)), x),
    }
    return forms, [x, c]


def hadamard(x: Tensor) -> tuple[Forms, list[Tensor]]:
    n = x.shape[-1]
    made = tl.load(SPEC).Hadamard(n=n, device=x.device)
    bits = n.bit_length() - 1
    left, right = (peers.hadamard(1 << k).to(x) for k in (bits // 2, bits - bits // 2))
    forms = {
        "ours": lambda: made(x),
        "two products": lambda: (left @ (x.unflatten(-1, (len(left), -1)) @ right)).flatten(-2),
        "butterfly": lambda: peers.fast_hadamard(x),
    }
    return forms, [x]


def fourier(x: Tensor) -> tuple[Forms, list[Tensor]]:
    n = x.shape[-1]
    made = tl.load(SPEC).Fourier(n=n, modes=64, device=x.device)
    turns = torch.outer(torch.arange(64), torch.arange(n)) * (2 * math.pi / n)
    waves = torch.polar(torch.ones(()), -turns).to(x.device)
    forms = {
        "ours": lambda: made(x).abs(),
        "rfft": lambda: torch.fft.rfft(x)[..., :64].abs(),
        "waves": lambda: (x.to(waves.dtype) @ waves.mT).abs(),
    }
    return forms, [x]


KINDS = {"toeplitz": toeplitz, "circulant": circulant, "hadamard": hadamard, "fourier": fourier}


def long_convolution(b: int, t: int, d: int, device: torch.device, rounds: int) -> list[Table]:
    made = tl.load(SPEC).LongConvolution(device=device)
    x = torch.randn(b, t, d, device=device, requires_grad=True)
    w = torch.randn(t, d, device=device, requires_grad=True)
    forms = {
        "ours": lambda: made(x, w),
        "spectra": lambda: peers.long_convolution_fft(w, x),
        "conv1d": lambda: peers.long_convolution(w, x),
    }
    return _raced(f"long convolution [{b}, {t}, {d}]", forms, [x, w], rounds)


def square(kind: str, n: int, b: int, device: torch.device, rounds: int) -> list[Table]:
    torch.manual_seed(0)
    x = torch.randn(b, n, device=device, requires_grad=True)
    forms, leaves = KINDS[kind](x)
    dense = nn.Linear(n, 64 if kind == "fourier" else n, bias=False, device=device)
    return _raced(f"{kind}, {n}, batch {b}", forms, leaves, rounds, dense, x)


def _raced(
    title: str,
    forms: Forms,
    leaves: list[Tensor],
    rounds: int,
    dense: nn.Module | None = None,
    x: Tensor | None = None,
) -> list[Table]:
    agree(forms, 1e-3)
    both = {name: with_backward(form, leaves) for name, form in forms.items()}
    beside = {} if dense is None or x is None else {"nn.Linear": lambda: dense(x)}
    if dense is not None and x is not None:
        both["nn.Linear"] = with_backward(beside["nn.Linear"], [x, *dense.parameters()])
    with torch.no_grad():
        forward = race(f"{title}, forward", {**forms, **beside}, rounds)
    return [forward, race(f"{title}, forward + backward", both, rounds)]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join((*KINDS, "long")))
    parser.add_argument("--sizes", type=_numbers, default=list(SIZES))
    parser.add_argument("--batches", type=_numbers, default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for device in devices():
        sections: list[Table] = []
        for kind in given.kinds.split(","):
            for n in given.sizes:
                if kind == "long":
                    sections += long_convolution(4, n, 64, device, given.rounds)
                    continue
                for b in given.batches:
                    sections += square(kind, n, b, device, given.rounds)
        save("structured", sections, device)


if __name__ == "__main__":
    main()
