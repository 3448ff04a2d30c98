"""Scalar functions of the kernel IR: the library's rows and a few that only kernels need."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorlang import registry
from tensorlang.backends.triton.kernel_ir import DType


@dataclass(frozen=True, slots=True)
class Op:
    """`triton` is a format string over two arguments at most if n-ary, else over all."""

    numpy: Callable[..., Any]
    triton: str
    nary: bool = False


# floordiv and mod: Triton's // truncates, so both are for integers that are not negative.
_KERNEL: dict[str, Op] = {
    "sub": Op(np.subtract, "({0} - {1})"),
    "floordiv": Op(np.floor_divide, "({0} // {1})"),
    "mod": Op(np.remainder, "({0} % {1})"),
    "exp2": Op(np.exp2, "tl.exp2({0})"),
    "log2": Op(np.log2, "tl.log2({0})"),
}
COMPARISONS = frozenset(("lt", "le", "gt", "ge", "eq", "ne"))
LOGIC = frozenset(("and", "or", "not"))


@functools.cache
def op(name: str) -> Op | None:
    """The function of this name, None where Triton has no spelling of it."""
    if name in _KERNEL:
        return _KERNEL[name]
    row = registry.functions().get(name)
    if row is None or row.triton is None:
        return None
    return Op(row.numpy, row.triton, row.arity[1] is None)


@functools.cache
def uses(spelling: str) -> dict[int, int]:
    """How often a format string mentions each argument."""
    out: dict[int, int] = {}
    for _, field, _, _ in string.Formatter().parse(spelling):
        if field is not None:
            out[int(field)] = out.get(int(field), 0) + 1
    return out


def result(name: str, args: tuple[DType, ...]) -> DType:
    """Dtype of a function of arguments of these dtypes."""
    if name in COMPARISONS or name in LOGIC:
        return DType.BOOL
    kinds = args[1:] if name == "where" else args
    for dtype in (DType.ACCUMULATE, DType.COMPUTE, DType.STORED):
        if dtype in kinds:
            return dtype
    if name in ("exp2", "log2", "div"):
        return DType.ACCUMULATE
    return DType.INT if DType.INT in kinds else DType.BOOL
