"""Principal logarithm of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from tensorlang.library.transform import Transform, matrix
from tensorlang.library.transforms.sqrtm import TORCH_SQRTM, real_or_nan


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return real_or_nan(scipy.linalg.logm, a)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(7)

ROW = Transform(
    name="logm",
    sources=2,
    targets=2,
    arguments=1,
    dtype=matrix,
    numpy=compute,
    torch="_logm({0})",
    torch_helper=TORCH_SQRTM
    + f'''
def _logm(a):
    """Principal logarithm by square roots and a Pade approximant (Higham, 2008, 11.5)."""
    if a.shape[-1] == 0:
        return a
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    for _ in range(6):
        a = _sqrtm(a)
    e = a - eye
    # log(1 + e) = integral of e / (1 + t e) over t in (0, 1), by Gauss-Legendre
    nodes = {[float(t) for t in (_NODES + 1) / 2]}
    weights = {[float(w) for w in _WEIGHTS / 2]}
    return 64.0 * sum(w * torch.linalg.solve(eye + t * e, e) for t, w in zip(nodes, weights))
''',
    doc="The logarithm whose eigenvalues have imaginary parts in (-pi, pi)",
    example="Y[i, i'] = logm[i, i'](M[i, i'])",
    square=True,
)
