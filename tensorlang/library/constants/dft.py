"""Matrix of the discrete Fourier transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Constant, Number, Slot


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    modes, size = slots[0].size, slots[1].size
    turns = np.outer(np.arange(modes), np.arange(size)) % max(size, 1)
    out = np.exp(-2j * np.pi * turns / max(size, 1))
    exact = {0: 1, 1: -1j, 2: -1, 3: 1j}
    for quarter, value in exact.items():
        out[4 * turns == quarter * size] = value
    return out


ROW = Constant(
    name="dft",
    axes=(2, 2),
    dtype=Dtype.COMPLEX,
    numpy=build,
    doc=(
        "[m, n] complex: exp(-2 pi sqrt(-1) k x / n) for mode k and position x, so that contracted "
        "with a signal over x it gives the first m modes of its fft"
    ),
    example="index k in i; const C[k, i] = dft(k, i)",
)
