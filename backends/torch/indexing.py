"""Reads through index tensors: gathers, boundaries, and subscripts that share indices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.names import quoted
from tensorlang.backends.torch.operand import Operand, aligned, contiguous, permuted
from tensorlang.backends.torch.sizes import SUM, bound
from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Affine, At, Gather, Group, Read, Subscript
from tensorlang.size import Size, same, simplest

Reader = Callable[[Body, Read, Sequence[Size]], Operand]
_INT = Dtype.INT
_SUM, _PRODUCT = SUM, SUM + 1

Fill: TypeAlias = bool | int | float | complex


def indexed(
    body: Body,
    read: Read,
    sizes: Sequence[Size],
    axes: Sequence[int],
    reader: Reader,
    ordered: bool = False,
) -> Operand:
    """Read with the subscripts of `axes` as index tensors and all others as views.

    `ordered`: what is gathered lies in memory in the order of its labels.
    """
    source = body.values[read.node]
    # the views first; the indexed axes stand in under labels of their own
    stand_ins = {axis: -1 - axis for axis in axes}
    view_sizes = {stand_ins[axis]: source.shape[axis] for axis in axes}
    plain = Read(
        read.node,
        tuple(
            At(stand_ins[axis]) if axis in stand_ins else subscript
            for axis, subscript in enumerate(read.subscripts)
        ),
        read.fill,
    )
    base = reader(body, plain, _Sizes(sizes, view_sizes))
    if len(axes) == 1:
        (axis,) = axes
        rolled = _rolled(body, base, read.subscripts[axis], source.shape[axis], sizes, axis)
        if rolled is not None:
            return rolled
    indices = {
        stand_ins[axis]: position(body, read.subscripts[axis], source.shape[axis], sizes, reader)
        for axis in axes
    }
    for axis in axes:
        if _boundary(read.subscripts[axis]) is Boundary.CHECKED:
            where = body.axis_text(read.node, axis)
            if body.index_checks and len(indices[stand_ins[axis]].text) > 20:
                indices[stand_ins[axis]] = body.hold(indices[stand_ins[axis]], "cells")
            check_positions(
                body, read.subscripts[axis], indices[stand_ins[axis]], source.shape[axis], where
            )
        elif _boundary(read.subscripts[axis]) in _MOVED:
            where = body.axis_text(read.node, axis)
            _check_room(body, read.subscripts[axis], source.shape[axis], where, sizes, reader)
    outside = [axis for axis in axes if _boundary(read.subscripts[axis]) is Boundary.ELSE]
    if outside:
        base, indices = _with_fill(
            body, base, indices, [stand_ins[a] for a in outside], read, source.shape
        )
    return _take(body, base, indices, sizes, ordered)


def _rolled(
    body: Body, base: Operand, subscript: Subscript, size: Size, sizes: Sequence[Size], axis: int
) -> Operand | None:
    """A whole axis around itself: wrap(n + k)."""
    match subscript:
        case Affine(((index, 1),), offset, Boundary.WRAP) if same(sizes[index], size):
            place = base.labels.index(-1 - axis)
            shift = body.size_text(simplest(-offset))[0]
            labels = tuple(index if label == -1 - axis else label for label in base.labels)
            return contiguous(f"{base.text}.roll({shift}, {place})", labels, base.dtype)
    return None


class _Sizes(Sequence[Size]):
    """Sizes of local indices, and of the stand-ins."""

    def __init__(self, sizes: Sequence[Size], more: dict[int, Size]) -> None:
        self._sizes, self._more = sizes, more

    def __getitem__(self, label: int) -> Size:  # type: ignore[override]
        return self._more[label] if label < 0 else self._sizes[label]

    def __len__(self) -> int:
        return len(self._sizes)


def _boundary(subscript: Subscript) -> Boundary:
    return subscript.boundary if isinstance(subscript, Affine | Gather) else Boundary.INSIDE


def position(
    body: Body, subscript: Subscript, size: Size, sizes: Sequence[Size], reader: Reader
) -> Operand:
    """The positions that a subscript reads, brought inside as its boundary says (ELSE is not)."""
    match subscript:
        case At(index):
            return contiguous(body.arange(sizes[index]), (index,), _INT)
        case Group(indices):
            return _group(body, indices, sizes)
        case Affine(_, _, boundary):
            raw = _affine(body, subscript, sizes)
        case Gather(read, boundary):
            raw = reader(body, read, sizes)
            if not raw.labels:
                raw = contiguous(f"{raw.text}[None]", (), _INT)
    return brought_inside(body, raw, boundary, size)


def check_positions(
    body: Body, subscript: Subscript, index: Operand, size: Size, axis: str
) -> None:
    """Print the range check of a gathered index, which acts in eager runs on the CPU."""
    if not body.index_checks or not isinstance(subscript, Gather):
        return
    function = body.file.require("_check_index")
    name = body.source_names.get(subscript.read.node, "index")
    shown = body.size_text(size)[0]
    call = f"{function}({bare(index.text)}, {shown}, {quoted(name)}, {quoted(axis)})"
    same = f"{index.text}, {shown}"
    if same not in body.checked:
        body.checked.add(same)
        body.line(call)


_MOVED = (Boundary.WRAP, Boundary.CLAMP, Boundary.REFLECT)


def _check_room(
    body: Body, subscript: Subscript, size: Size, axis: str, sizes: Sequence[Size], reader: Reader
) -> None:
    """Print the check that a gathered position has cells to go to."""
    if not body.index_checks or not isinstance(subscript, Gather) or isinstance(size, int):
        return
    if (size - 1).is_nonnegative:
        return
    function = body.file.require("_check_room")
    raw = bare(reader(body, subscript.read, sizes).text)
    shown, boundary = body.size_text(size)[0], quoted(subscript.boundary.value)
    body.line(f"{function}({raw}, {shown}, {boundary}, {quoted(axis)})")


def _group(body: Body, indices: Sequence[int], sizes: Sequence[Size]) -> Operand:
    stride: Size = 1
    terms: list[tuple[int, Size]] = []
    for index in reversed(indices):
        terms.append((index, stride))
        stride = stride * sizes[index]
    parts = []
    for index, factor in reversed(terms):
        part = aligned(contiguous(body.arange(sizes[index]), (index,), _INT), indices).text
        parts.append(part if factor == 1 else f"{body.size(factor)} * {part}")
    return contiguous(f"({' + '.join(parts)})", indices, _INT)


def _affine(body: Body, affine: Affine, sizes: Sequence[Size]) -> Operand:
    labels = [index for index, _ in affine.terms]
    if not labels:
        offset = body.size_text(affine.offset)[0]
        # one cell, not a number: that would have to be read back from the device
        return contiguous(f"torch.full((1,), {offset}, device={body.device})", (), _INT)
    text = ""
    for index, factor in affine.terms:
        part = aligned(contiguous(body.arange(sizes[index]), (index,), _INT), labels).text
        scaled = part if abs(factor) == 1 else f"{abs(factor)} * {part}"
        if not text:
            text = scaled if factor > 0 else f"-{scaled}"
        else:
            text += f" + {scaled}" if factor > 0 else f" - {scaled}"
    if affine.offset != 0:
        if isinstance(affine.offset, int) and affine.offset < 0:
            text += f" - {-affine.offset}"
        else:
            shown = bound(body.size_text(affine.offset), _SUM)
            text += f" - {shown[1:]}" if shown.startswith("-") else f" + {shown}"
    return contiguous(text if text.isidentifier() else f"({text})", labels, _INT)


def brought_inside(body: Body, raw: Operand, boundary: Boundary, size: Size) -> Operand:
    shown = body.size(size, _PRODUCT + 1)
    match boundary:
        case Boundary.INSIDE | Boundary.ELSE:
            return raw
        case Boundary.CHECKED:
            return raw
        case Boundary.WRAP:
            text = f"({raw.text} % {shown})"
        case Boundary.CLAMP:
            text = f"{raw.text}.clamp(0, {body.size_text(simplest(size - 1))[0]})"
        case Boundary.REFLECT:
            function = body.file.require("_reflect")
            text = f"{function}({bare(raw.text)}, {body.size_text(size)[0]})"
    return Operand(text, raw.labels, raw.memory, raw.dtype)


def bare(text: str) -> str:
    """Without the parentheses that enclose all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and place < len(text) - 1:
            return text
    return text[1:-1]


def _with_fill(
    body: Body,
    base: Operand,
    indices: dict[int, Operand],
    outside: Sequence[int],
    read: Read,
    shape: Sequence[Size],
) -> tuple[Operand, dict[int, Operand]]:
    """Put one cell of `fill` behind the axes' ends and send positions outside there."""
    places = [base.labels.index(label) for label in outside]
    amounts: list[str] = []
    for place in range(len(base.labels) - 1, min(places) - 1, -1):
        amounts += ["0", "1" if place in places else "0"]
    text = padded(base.text, amounts, read.fill)
    filled = Operand(text, base.labels, base.memory, base.dtype)
    out = dict(indices)
    for label in outside:
        size = body.size_text(shape[-1 - label])[0]
        function = body.file.require("_or_past_end")
        index = indices[label]
        out[label] = Operand(
            f"{function}({bare(index.text)}, {size})", index.labels, index.memory, index.dtype
        )
    return filled, out


def padded(text: str, amounts: Sequence[str], fill: Fill | None) -> str:
    """F.pad, which takes a real value only, also for complex tensors."""
    pads = ", ".join(amounts)
    if isinstance(fill, complex) and fill.imag:
        return f"(F.pad({text} - {fill!r}, ({pads})) + {fill!r})"
    if isinstance(fill, complex):
        fill = fill.real
    value = "" if not fill else f", value={fill!r}"
    if isinstance(fill, float) and math.isinf(fill):
        value = f", value={'-' if fill < 0 else ''}torch.inf"
    return f"F.pad({text}, ({pads}){value})"


def _take(
    body: Body, base: Operand, indices: dict[int, Operand], sizes: Sequence[Size], ordered: bool
) -> Operand:
    if len(indices) == 1:
        ((stand_in, index),) = indices.items()
        shared = [label for label in index.labels if label in base.labels]
        place = base.labels.index(stand_in)
        if not index.labels:
            text = f"{base.text}.index_select({place}, {bare(index.text)}).squeeze({place})"
            labels = tuple(label for label in base.labels if label != stand_in)
            return contiguous(text, labels, base.dtype)
        if not shared and len(index.labels) == 1:
            if ordered:
                others = iter(sorted(label for label in base.labels if label != stand_in))
                base = permuted(base, [x if x == stand_in else next(others) for x in base.labels])
            text = f"{base.text}.index_select({place}, {bare(index.text)})"
            labels = tuple(index.labels[0] if x == stand_in else x for x in base.labels)
            return contiguous(text, labels, base.dtype)
        if not shared:
            if place == 0 and len(base.labels) == 2 and base.dtype is Dtype.REAL:
                text = f"F.embedding({bare(index.text)}, {base.text})"
                return contiguous(text, (*index.labels, base.labels[1]), base.dtype)
            slices = [":"] * place + [bare(index.text)]
            text = f"{base.text}[{', '.join(slices)}]"
            labels = (*base.labels[:place], *index.labels, *base.labels[place + 1 :])
            return contiguous(text, labels, base.dtype)
    return _advanced(body, base, indices, sizes)


def _advanced(
    body: Body, base: Operand, indices: dict[int, Operand], sizes: Sequence[Size]
) -> Operand:
    """X[i, j, ...] with the indexed axes first, so that the result's axes come first too."""
    labels = list(dict.fromkeys(x for index in indices.values() for x in index.labels))
    # plain axes whose label the index tensors have are indexed as well
    shared = [label for label in base.labels if label in labels]
    chosen = {
        **{label: contiguous(body.arange(sizes[label]), (label,), _INT) for label in shared},
        **indices,
    }
    front = [label for label in base.labels if label in chosen]
    rest = [label for label in base.labels if label not in chosen]
    moved = permuted(base, (*front, *rest)) if not _adjacent(base.labels, front) else base
    texts = {label: bare(aligned(chosen[label], labels).text) for label in front}
    first = min(moved.labels.index(label) for label in front)
    slices = [":"] * first + [texts[label] for label in front]
    text = f"{moved.text}[{', '.join(slices)}]"
    if not labels:
        text = f"{text}.squeeze({first})"
    before = moved.labels[:first]
    after = [label for label in moved.labels[first:] if label not in chosen]
    return contiguous(text, (*before, *labels, *after), base.dtype)


def _adjacent(labels: Sequence[int], members: Sequence[int]) -> bool:
    places = [labels.index(member) for member in members]
    return places == list(range(places[0], places[0] + len(places)))
