"""The shape of a pointwise function's row: everything the compiler knows about it, together.

Rows are data: they import neither torch nor the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorlang.dtype import Dtype

Typing = Callable[[tuple[Dtype, ...]], Dtype | str]
"""From the arguments' dtypes to the result's, or a sentence that says why they don't fit."""


@dataclass(frozen=True, slots=True)
class Function:
    """A pointwise function.

    `arity` is (least, most), most None for n-ary. `dtype` types it. `numpy` computes it in
    float64/complex128/int64/bool. `derivative[i]` is the partial derivative by argument i, written
    in the language over `x`, `y`, `z` (the arguments) and `f` (the value), None where it is zero or
    undefined. `torch` and `triton` are format strings over {0}, {1}, … or None where the target
    has no spelling; those of n-ary functions take two arguments and are folded from the left.
    Arguments come cast to `signature.promoted` dtypes, and as tensors where the spelling calls a
    `torch.` function or a method; operators and the branches of torch.where take Python numbers.
    Three names may occur besides: {dtype} and {complex_dtype}, the module's, and {training}.
    `partial` says that a finite argument can give a non-finite value or slope (log, div, sqrt): a
    `where` around it must guard its arguments (0.5, for ints 1, is in every domain). `reserved`
    functions (operators) cannot be called by name. `promotes` is off where arguments keep their
    dtypes.
    """

    name: str
    arity: tuple[int, int | None]
    dtype: Typing
    numpy: Callable[..., Any]
    derivative: tuple[str | None, ...]
    torch: str | None
    triton: str | None
    doc: str
    example: str
    partial: bool = False
    reserved: bool = False
    promotes: bool = True
