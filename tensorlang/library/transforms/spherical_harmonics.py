"""Real spherical harmonics of directions, all degrees up to one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.transform import Transform


def dtype(args: tuple[Dtype, ...]) -> Dtype | str:
    if args[0] is not Dtype.REAL:
        return f"it takes real vectors, found {args[0].name.lower()}"
    return Dtype.REAL


def compute(x: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    most = round(sizes[0] ** 0.5) - 1
    length = np.linalg.norm(x, axis=-1)
    some = length > 0
    x, y, z = np.moveaxis(x / np.where(some, length, 1)[..., None], -1, 0)
    out = np.zeros((*length.shape, sizes[0]))
    azimuth = np.ones(length.shape, np.complex128)  # (z + sqrt(-1) x)^m
    top = np.ones(length.shape)
    for m in range(most + 1):
        if m:
            azimuth = azimuth * (z + 1j * x)
            top = top * np.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1))
        before, now = np.zeros(length.shape), top
        for degree in range(m, most + 1):
            middle = degree * degree + degree
            out[..., middle + m] = now * azimuth.real
            if m:
                out[..., middle - m] = now * azimuth.imag
            n = degree + 1
            up = np.sqrt((4 * n * n - 1) / (n * n - m * m))
            down = np.sqrt((degree * degree - m * m) / (4 * degree * degree - 1)) if degree else 0
            before, now = now, up * (y * now - down * before)
    out[..., 1:] *= some[..., None]
    return out


ROW = Transform(
    name="spherical_harmonics",
    sources=1,
    targets=1,
    arguments=1,
    dtype=dtype,
    numpy=compute,
    torch="_spherical_harmonics({0}, {size})",
    torch_helper='''
def _spherical_harmonics(v, size):
    """Real harmonics of v / |v|, degrees up to sqrt(size) - 1, squares of one sum to 2 l + 1.

    Polar axis y, m = -l ... l; sectoral ones first, then upward in degree (Varshalovich, 5.2).
    """
    most = round(size**0.5) - 1
    square = (v * v).sum(-1, keepdim=True)
    some = square > 0
    x, y, z = (v * torch.where(some, torch.where(some, square, 1.0).rsqrt(), 0.0)).unbind(-1)
    some = some.squeeze(-1).to(v.dtype)
    out = [torch.ones_like(x)] * size
    cos, sin = x, z  # from m = 1 on: the harmonics of degree m at +m and -m
    for m in range(most + 1):
        if m == 1:
            cos, sin = 3**0.5 * z, 3**0.5 * x
        elif m:
            k = ((2 * m + 1) / (2 * m)) ** 0.5
            cos, sin = k * (cos * z - sin * x), k * (sin * z + cos * x)
        lower, legendre = some, some  # of degrees l - 1 and l, over that of degree m
        for l in range(m, most + 1):
            if l == m + 1:
                legendre = (2 * m + 3) ** 0.5 * y
            elif l > m:
                up = ((4 * l * l - 1) / (l * l - m * m)) ** 0.5
                down = up * (((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) ** 0.5
                lower, legendre = legendre, up * y * legendre - down * lower
            middle = l * l + l
            if m:
                out[middle + m] = cos if l == m else cos * legendre
                out[middle - m] = sin if l == m else sin * legendre
            elif l:
                out[middle] = legendre
    return torch.stack(out, -1)
''',
    doc=(
        "Real spherical harmonics of the direction of a vector (x, y, z), all degrees up to L, in "
        "e3nn's basis (polar axis y, m = -l … l) and its component normalisation: the squares of "
        "one degree sum to 2 l + 1. The zero vector gives 1, 0, 0, … and has slope 0"
    ),
    example="Y[k] = spherical_harmonics[i -> k](X[i])",
)
