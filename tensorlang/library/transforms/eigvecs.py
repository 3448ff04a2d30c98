"""Eigenvectors of a Hermitian matrix, with their free phase fixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library.transform import Transform, matrix


def compute(a: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    v = np.linalg.eigh((a + np.conj(np.swapaxes(a, -1, -2))) / 2)[1]
    size = np.abs(v)
    first = np.argmax(2 * size >= size.max(axis=-2, keepdims=True), axis=-2)[..., None, :]
    lead = np.take_along_axis(v, first, axis=-2)
    return v * np.conj(lead) / np.abs(lead)


ROW = Transform(
    name="eigvecs",
    sources=2,
    targets=2,
    arguments=1,
    dtype=matrix,
    numpy=compute,
    torch="_eigvecs({0})",
    torch_helper='''
def _eigvecs(a):
    """Eigenvectors of the Hermitian part as columns; see the phase rule in the documentation."""
    v = torch.linalg.eigh(0.5 * (a + a.mH)).eigenvectors
    size = v.detach().abs()
    large = 2 * size >= size.amax(-2, keepdim=True)
    first = large.to(torch.uint8).argmax(-2, keepdim=True)
    lead = v.gather(-2, first)
    return v * (lead.conj() / lead.abs())
''',
    doc=(
        "Unit eigenvectors [n, k], in the order of eigvals, of the Hermitian part of a matrix; the "
        "first component of at least half the largest modulus is made positive"
    ),
    example="Y[i, k] = eigvecs[i, i' -> k](M[i, i'])",
    square=True,
)
