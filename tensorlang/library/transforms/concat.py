"""Concatenation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.transform import Transform


def dtype(args: tuple[Dtype, ...]) -> Dtype | str:
    return max(args)


def compute(*args: Any, sizes: tuple[int, ...], norm: str) -> Any:
    return np.concatenate(args, axis=-1)


ROW = Transform(
    name="concat",
    sources=None,
    targets=1,
    arguments=None,
    dtype=dtype,
    numpy=compute,
    torch="torch.cat(({args}), -1)",
    doc="The arguments laid end to end, each along its own index, as one index",
    example="Y[k] = concat[i, j -> k](X[i], A[j])",
)
