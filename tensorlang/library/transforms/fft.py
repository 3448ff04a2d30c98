"""Discrete Fourier transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import modes
from tensorlang.library.transform import Transform


def compute(x: Any, *, sizes: tuple[int, ...], norm: Any) -> Any:
    if x.size == 0 or 0 in sizes:
        return modes.nothing(x, sizes)
    first = x.ndim - len(sizes)
    y = np.fft.fftn(x, axes=range(first, x.ndim), norm=norm)
    for k, size in enumerate(sizes):
        y = modes.full(y, first + k, size)
    return y


ROW = Transform(
    name="fft",
    sources=None,
    targets=None,
    arguments=1,
    dtype=modes.fourier,
    numpy=compute,
    torch="_fft({0}, {sizes}, {norm})",
    torch_helper=modes.TORCH_SINGLE
    + modes.TORCH_NONE
    + modes.TORCH_FULL
    + '''
def _fft(x, sizes, norm):
    """Transform the last axes at their own size, then keep `sizes` modes."""
    if x.numel() == 0 or 0 in sizes:
        return _no_modes(x, sizes)
    axes = list(range(-len(sizes), 0))
    x = torch.fft.fftn(_single(x), dim=axes, norm=norm)
    for axis, size in zip(axes, sizes):
        x = _full_modes(x, axis, size)
    return x
''',
    doc="Fourier transform at the input's size, of which the target's frequencies (fftfreq) stay",
    example="S[k] = fft[i -> k](X[i]); Y[k] = real(S[k])",
    norm=True,
)
