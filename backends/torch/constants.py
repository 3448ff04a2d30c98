"""Constants: a formula where one is plain, else base64 of the bytes; buffers cast to the dtype."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from tensorlang.backends.torch.layout import WIDTH

Array = npt.NDArray[np.generic]

_DTYPES = {"f": "torch.float64", "c": "torch.complex128", "i": "torch.int64", "b": "torch.bool"}


def dtype_text(array: Array) -> str:
    return _DTYPES[array.dtype.kind]


def expression(array: Array) -> tuple[str, bool]:
    """(an expression for the exact value, whether it needs `_float64`)."""
    formula = _formula(array)
    if formula is not None:
        return formula, False
    dtype = dtype_text(array)
    if array.size <= 24:
        return f"torch.tensor({array.tolist()!r}, dtype={dtype})".replace("inf", "torch.inf"), False
    return f"_float64(\n{_text(array)}, {tuple(array.shape)!r}, {dtype})", True


def _formula(array: Array) -> str | None:
    """full, eye or arange, where the array is one."""
    dtype = dtype_text(array)
    if array.size == 0:
        return f"torch.zeros({tuple(array.shape)!r}, dtype={dtype})"
    first = array.flat[0]
    if array.size > 1 and np.all(array == first) and np.isfinite(first):
        return f"torch.full({tuple(array.shape)!r}, {first.item()!r}, dtype={dtype})"
    if array.ndim == 1 and array.size > 3 and array.dtype.kind in "if":
        step = array[1] - array[0]
        if np.array_equal(array, array[0] + step * np.arange(array.size)) and step == int(step):
            start, stop = int(array[0]), int(array[0] + step * array.size)
            if start == array[0]:
                by = "" if step == 1 else f", {int(step)}"
                begin = "" if start == 0 and step == 1 else f"{start}, "
                return f"torch.arange({begin}{stop}{by}, dtype={dtype})"
    square = array.ndim == 2 and array.shape[0] == array.shape[1] > 2
    if square and array.dtype.kind in "if" and np.array_equal(array, np.eye(array.shape[0])):
        return f"torch.eye({array.shape[0]}, dtype={dtype})"
    return None


def _text(array: Array) -> str:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode("ascii")
    room = WIDTH - 12
    lines = [text[k : k + room] for k in range(0, len(text), room)]
    return "\n".join(f'        "{line}"' for line in lines)
