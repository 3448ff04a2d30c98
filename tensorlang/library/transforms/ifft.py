"""Inverse discrete Fourier transform."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import modes
from tensorlang.library.transform import Transform


def compute(x: Any, *, sizes: tuple[int, ...], norm: Any) -> Any:
    if x.size == 0 or 0 in sizes:
        return modes.nothing(x, sizes)
    first = x.ndim - len(sizes)
    for k, size in enumerate(sizes):
        x = modes.full(x, first + k, size)
    return np.fft.ifftn(x, axes=range(first, x.ndim), norm=norm)


ROW = Transform(
    name="ifft",
    sources=None,
    targets=None,
    arguments=1,
    dtype=modes.fourier,
    numpy=compute,
    torch="_ifft({0}, {sizes}, {norm})",
    torch_helper=modes.TORCH_NONE
    + modes.TORCH_FULL
    + '''
def _ifft(x, sizes, norm):
    """Bring the modes of the last axes to `sizes`, then transform back."""
    if x.numel() == 0 or 0 in sizes:
        return _no_modes(x, sizes)
    axes = list(range(-len(sizes), 0))
    for axis, size in zip(axes, sizes):
        x = _full_modes(x, axis, size)
    return torch.fft.ifftn(x, dim=axes, norm=norm)
''',
    doc="Inverse Fourier transform at the target's size, of zero-padded or truncated modes",
    example="Y[k] = real(ifft[i -> k](X[i]))",
    norm=True,
)
