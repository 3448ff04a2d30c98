"""The shape of a transform's row: an operator that exchanges its source indices for targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorlang.dtype import Dtype
from tensorlang.library.row import Typing


def matrix(args: tuple[Dtype, ...]) -> Dtype | str:
    """Typing of matrix functions: real or complex in, the same out."""
    for arg in args:
        if arg < Dtype.REAL:
            return f"it takes real or complex numbers, found {arg.name.lower()}"
    return max(args)


def spectral(args: tuple[Dtype, ...]) -> Dtype | str:
    """Typing of eigenvalues of a Hermitian matrix: real."""
    result = matrix(args)
    return Dtype.REAL if isinstance(result, Dtype) else result


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform, computed over the trailing axes of its arguments.

    `sources`, `targets` and `arguments` count indices and arguments, None where any number from one
    up will do (as many targets as sources for FFTs, as many arguments as sources for concat).
    `square` says that source[0] and source[1] are of equal size. `numpy(*args, sizes, norm)` gets
    each argument with its source axes last, in order (solve: b has its one axis last), batch axes
    broadcast; `sizes` are those of the targets, which are last in the result. `torch` is a format
    string over {0}, {1}, … likewise shaped, {sizes} (a tuple; {size} where there is one target) and
    {norm} (a string literal); concat joins its arguments as {args}. `torch_helper` is text of
    functions that the spelling calls, to be printed once into the file. `dtype` types it as a
    function's; targets must cast the arguments of an FFT and of concat to the promoted dtype.
    `norm` says that the keyword norm is allowed.
    """

    name: str
    sources: int | None
    targets: int | None
    arguments: int | None
    dtype: Typing
    numpy: Callable[..., Any]
    torch: str
    doc: str
    example: str
    torch_helper: str = ""
    square: bool = False
    norm: bool = False
