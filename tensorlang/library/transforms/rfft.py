"""Fourier transform of real values: the last axis keeps its non-negative half."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library import modes
from tensorlang.library.transform import Transform


def dtype(args: tuple[Dtype, ...]) -> Dtype | str:
    if args[0] is Dtype.COMPLEX:
        return "it transforms real numbers; fft transforms complex ones"
    return Dtype.COMPLEX


def compute(x: Any, *, sizes: tuple[int, ...], norm: Any) -> Any:
    if x.size == 0 or 0 in sizes:
        return modes.nothing(x, sizes)
    first = x.ndim - len(sizes)
    y = np.fft.rfftn(x, axes=range(first, x.ndim), norm=norm)
    for k, size in enumerate(sizes[:-1]):
        y = modes.full(y, first + k, size)
    return modes.half(y, x.ndim - 1, sizes[-1])


ROW = Transform(
    name="rfft",
    sources=None,
    targets=None,
    arguments=1,
    dtype=dtype,
    numpy=compute,
    torch="_rfft({0}, {sizes}, {norm})",
    torch_helper=modes.TORCH_SINGLE
    + modes.TORCH_NONE
    + modes.TORCH_FULL
    + modes.TORCH_HALF
    + '''
def _rfft(x, sizes, norm):
    """Transform the last axes at their own size, then keep `sizes` modes, of the last half."""
    if x.numel() == 0 or 0 in sizes:
        return _no_modes(x, sizes)
    axes = list(range(-len(sizes), 0))
    x = _half_modes(torch.fft.rfftn(_single(x), dim=axes, norm=norm), sizes[-1])
    for axis, size in zip(axes[:-1], sizes[:-1]):
        x = _full_modes(x, axis, size)
    return x
''',
    doc="Fourier transform of reals at the input's size; of the last pair the first modes stay",
    example="Y[k] = abs(rfft[i -> k](X[i]))",
    norm=True,
)
