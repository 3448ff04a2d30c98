"""Inverse of the Fourier transform of real values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library import modes
from tensorlang.library.transform import Transform


def dtype(args: tuple[Dtype, ...]) -> Dtype | str:
    return Dtype.REAL


def compute(x: Any, *, sizes: tuple[int, ...], norm: Any) -> Any:
    if x.size == 0 or 0 in sizes:
        return modes.nothing(x, sizes).real
    first = x.ndim - len(sizes)
    for k, size in enumerate(sizes[:-1]):
        x = modes.full(x, first + k, size)
    x = modes.half(x, x.ndim - 1, sizes[-1] // 2 + 1)
    return np.fft.irfftn(x, s=sizes, axes=range(first, x.ndim), norm=norm)


ROW = Transform(
    name="irfft",
    sources=None,
    targets=None,
    arguments=1,
    dtype=dtype,
    numpy=compute,
    torch="_irfft({0}, {sizes}, {norm})",
    torch_helper=modes.TORCH_NONE
    + modes.TORCH_FULL
    + modes.TORCH_HALF
    + '''
def _irfft(x, sizes, norm):
    """Bring the modes of the last axes, of the last a half, to `sizes`, then transform back."""
    if x.numel() == 0 or 0 in sizes:
        return _no_modes(x, sizes).real
    axes = list(range(-len(sizes), 0))
    x = _half_modes(x, sizes[-1] // 2 + 1)
    for axis, size in zip(axes[:-1], sizes[:-1]):
        x = _full_modes(x, axis, size)
    return torch.fft.irfftn(x, s=list(sizes), dim=axes, norm=norm)
''',
    doc="Inverse of rfft at the target's size, of zero-padded or truncated modes",
    example="Y[k] = irfft[i -> k](X[i])",
    norm=True,
)
