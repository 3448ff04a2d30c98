"""Layout of Fourier modes along an axis: how it is truncated or zero-padded to another size."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype


def fourier(args: tuple[Dtype, ...]) -> Dtype | str:
    return Dtype.COMPLEX


def full(x: Any, axis: int, size: int) -> Any:
    """Keep the frequencies of fftfreq(size), in that order; those that x lacks are 0."""
    have = x.shape[axis]
    out = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), np.complex128)
    for k, frequency in enumerate(_frequencies(size)):
        if frequency in (source := _frequencies(have)):
            out[(slice(None),) * axis + (k,)] = x[
                (slice(None),) * axis + (source.index(frequency),)
            ]
    return out


def half(x: Any, axis: int, size: int) -> Any:
    """Keep the first `size` frequencies; those that x lacks are 0."""
    out = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), np.complex128)
    kept = (slice(None),) * axis + (slice(0, min(size, x.shape[axis])),)
    out[kept] = x[kept]
    return out


def nothing(x: Any, sizes: tuple[int, ...]) -> Any:
    """Zeros of `sizes` in place of the last axes: of an x without cells, or to a size of 0."""
    return np.zeros((*x.shape[: x.ndim - len(sizes)], *sizes), np.complex128)


def _frequencies(size: int) -> list[int]:
    return [round(f) for f in np.fft.fftfreq(size, 1 / size)]


TORCH_SINGLE = '''
def _single(x):
    """Half precisions, which have no Fourier transform, as float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
'''
TORCH_NONE = '''
def _no_modes(x, sizes):
    """Zeros of `sizes` in place of the last axes: of an x without cells, or to a size of 0."""
    count = len(sizes)
    zero = x.sum(list(range(-count, 0)))[(..., *[None] * count)] + 0j
    return zero.expand(*x.shape[:-count], *sizes)
'''
TORCH_FULL = '''
def _full_modes(x, axis, size):
    """The frequencies of fftfreq(size) along a full axis; those that x lacks are 0."""
    have = x.shape[axis]
    if have == size:
        return x
    keep = min(have, size)
    parts = [x.narrow(axis, 0, (keep + 1) // 2), x.narrow(axis, have - keep // 2, keep // 2)]
    if size > keep:
        shape = list(x.shape)
        shape[axis] = size - keep
        parts.insert(1, x.new_zeros(shape))
    return torch.cat(parts, axis)
'''
TORCH_HALF = '''
def _half_modes(x, size):
    """The first `size` frequencies of the last axis; those that x lacks are 0."""
    have = x.shape[-1]
    if have > size:
        return x.narrow(-1, 0, size)
    return x if have == size else torch.nn.functional.pad(x, (0, size - have))
'''
