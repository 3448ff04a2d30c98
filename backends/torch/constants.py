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


def expression(array: Array) -> tuple[str, str | None]:
    """(an expression for the exact value, the printed function that it calls)."""
    formula = _formula(array)
    if formula is not None:
        return formula, None
    if (doubled := _hadamard(array)) is not None:
        return doubled, "_hadamard"
    dtype = dtype_text(array)
    if array.size <= 24:
        return f"torch.tensor({array.tolist()!r}, dtype={dtype})".replace("inf", "torch.inf"), None
    if (sparse := _sparse(array)) is not None:
        return sparse, "_sparse"
    shape = tuple(array.shape)
    for small in (np.int8, np.int16):
        if array.dtype.kind in "fi" and np.all(np.abs(array) <= np.iinfo(small).max):
            cast = array.astype(small)
            if np.array_equal(array, cast):
                text = f"_from_bytes(\n{_text(cast)}, {shape!r}, torch.{cast.dtype.name})"
                return f"{text}.to({dtype})", "_from_bytes"
    return f"_from_bytes(\n{_text(array)}, {shape!r}, {dtype})", "_from_bytes"


def _hadamard(array: Array) -> str | None:
    """Sylvester's matrices, also scaled."""
    n = len(array) if array.ndim else 0
    if array.shape != (n, n) or n < 8 or n & (n - 1) or array.dtype.kind != "f":
        return None
    scale = float(array[0, 0])
    if scale == 0 or not np.isfinite(scale) or not np.all(np.abs(array) == abs(scale)):
        return None
    doubled = np.ones((1, 1))
    while len(doubled) < n:
        doubled = np.block([[doubled, doubled], [doubled, -doubled]])
    if not np.array_equal(array, scale * doubled):
        return None
    return f"_hadamard({n})" if scale == 1 else f"{scale!r} * _hadamard({n})"


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
    return _one_hot(array)


def _one_hot(array: Array) -> str | None:
    """A matrix with a single 1 in each row."""
    if array.ndim != 2 or array.dtype.kind not in "if":
        return None
    if not np.array_equal(np.sort(array, 1)[:, :-1], np.zeros_like(array[:, :-1])):
        return None
    if not np.all(array.max(1) == 1):
        return None
    rows, width = array.argmax(1), array.shape[1]
    for k in (0, 1):
        for diagonal in (0, 1):
            if np.array_equal(rows, np.triu_indices(width, diagonal)[k]):
                index = f"torch.triu_indices({width}, {width}, {diagonal})[{k}]"
                return f"F.one_hot({index}, {width}).to({dtype_text(array)})"
    index = f"torch.tensor({rows.tolist()!r})"
    return f"F.one_hot({index}, {width}).to({dtype_text(array)})"


def _sparse(array: Array) -> str | None:
    """Few cells that are not 0, all alike or few enough to list."""
    flat = array.reshape(-1)
    (cells,) = np.nonzero(flat)
    values = flat[cells]
    if 4 * cells.size > flat.size or array.dtype.kind == "c":
        return None
    shown = repr(values.tolist())
    if np.all(values == values[0]):
        shown = repr(values[0].item())
    elif cells.size > 64:
        return None
    return f"_sparse({tuple(array.shape)!r}, {cells.tolist()!r}, {shown}, {dtype_text(array)})"


def _text(array: Array) -> str:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode("ascii")
    room = WIDTH - 12
    lines = [text[k : k + room] for k in range(0, len(text), room)]
    return "\n".join(f'        "{line}"' for line in lines)
