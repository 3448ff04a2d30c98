"""Principal square root of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from tensorlang.library.transform import Transform, matrix

TORCH_SQRTM = '''
def _sqrtm(a):
    """Principal square root, scaled product Denman-Beavers (Higham, 2008, equation 6.29)."""
    if a.shape[-1] == 0:
        return a
    x, m = a, a
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    for step in range(24):
        if step < 12:  # the scaling only speeds convergence up, it has no gradient
            log = torch.linalg.slogdet(m.detach()).logabsdet
            c = torch.exp(-log / (2 * a.shape[-1]))[..., None, None]
        else:
            c = 1.0
        inverse = torch.linalg.inv(m)
        x = 0.5 * (c * x + (x @ inverse) / c)
        m = 0.5 * (eye + 0.5 * (c * c * m + inverse / (c * c)))
    return x
'''


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return real_or_nan(scipy.linalg.sqrtm, a)


def real_or_nan(function: Any, a: Any) -> Any:
    """Apply to each matrix; NaN where a real matrix has no real result."""
    out = np.empty_like(a)
    for cell in np.ndindex(a.shape[:-2]):
        value = function(a[cell]) if a[cell].size else a[cell]
        lost = np.isrealobj(a) and np.abs(np.imag(value)).max(initial=0) > 1e-8
        out[cell] = np.nan if lost else (value if np.iscomplexobj(a) else np.real(value))
    return out


ROW = Transform(
    name="sqrtm",
    sources=2,
    targets=2,
    arguments=1,
    dtype=matrix,
    numpy=compute,
    torch="_sqrtm({0})",
    torch_helper=TORCH_SQRTM,
    doc="The square root whose eigenvalues have positive real parts; A has none on (-inf, 0]",
    example="Y[i, i'] = sqrtm[i, i'](M[i, i'])",
    square=True,
)
