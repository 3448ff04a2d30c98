"""Solution of a linear system."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library.transform import Transform, matrix


def compute(a: Any, b: Any, *, sizes: tuple[int, ...], norm: str) -> Any:
    return np.linalg.solve(a, b[..., None])[..., 0]


ROW = Transform(
    name="solve",
    sources=2,
    targets=1,
    arguments=2,
    dtype=matrix,
    numpy=compute,
    torch="_solve({0}, {1})",
    torch_helper='''
def _solve(a, b):
    """The x of a x = b, for every matrix and vector."""
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape)  # else torch may take b for a batch
    return torch.linalg.solve(a, b.expand(shape).unsqueeze(-1)).squeeze(-1)
''',
    doc="x over the columns n' with sum of A[n, n'] x[n'] over n' = b[n]",
    example="Y[i'] = solve[i, i'](M[i, i'], X[i])",
    square=True,
)
