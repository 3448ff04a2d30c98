"""A bool as 0 or 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.library import signature
from tensorlang.library.row import Function


def compute(x: Any) -> Any:
    return np.asarray(x).astype(np.int64)


ROW = Function(
    name="to_int",
    arity=(1, 1),
    dtype=signature.to_int,
    numpy=compute,
    derivative=(None,),
    torch="{0}.to(torch.int64)",
    triton="{0}.to(tl.int64)",
    doc="A bool as 0 or 1",
    example="Y[i] = 1 + (X[i] > 0)",
    reserved=True,
    promotes=False,
)
