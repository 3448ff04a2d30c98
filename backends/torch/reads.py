"""A read as torch code: views where subscripts allow, padded or indexed copies where not.

Each axis is taken in turn: whole, split, fixed, a slice, a window. What is left (gathers, several
indices in one subscript, an index in several) goes through one advanced indexing.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.indexing import Fill, indexed, padded
from tensorlang.backends.torch.operand import Joined, Operand, Value, contiguous
from tensorlang.backends.torch.windows import Window, straight
from tensorlang.check.program import Boundary
from tensorlang.ir.nodes import Affine, At, Gather, Group, Read, Subscript
from tensorlang.size import Size


def read_operand(body: Body, read: Read, sizes: Sequence[Size], ordered: bool = False) -> Operand:
    """The value of a read with one axis for each local index it mentions.

    `ordered`: what is gathered lies in memory in the order of its labels.
    """
    value = body.values[read.node]
    assert len(read.subscripts) == value.rank, (read, value)
    complex_axes = _indexed_axes(read, value.shape, sizes)
    if complex_axes:
        return indexed(body, read, sizes, complex_axes, read_operand, ordered)
    return _viewed(body, read, sizes)


def _indexed_axes(read: Read, shape: Sequence[Size], sizes: Sequence[Size]) -> tuple[int, ...]:
    """Axes that need index tensors, closed under sharing an index with one that does."""
    chosen = {axis for axis, s in enumerate(read.subscripts) if not _is_view(s, shape[axis], sizes)}
    while True:
        held = {i for axis in chosen for i in _indices(read.subscripts[axis])}
        more = {
            axis
            for axis, subscript in enumerate(read.subscripts)
            if axis not in chosen and held & set(_indices(subscript))
        }
        repeated = _repeated(read, chosen)
        if not more and not repeated:
            return tuple(sorted(chosen))
        chosen |= more | repeated


def _repeated(read: Read, chosen: set[int]) -> set[int]:
    """Axes that share an index where not all are plain: a diagonal of plain axes is a view."""
    seen: dict[int, list[int]] = {}
    for axis, subscript in enumerate(read.subscripts):
        for index in _indices(subscript):
            seen.setdefault(index, []).append(axis)
    out: set[int] = set()
    for axes in seen.values():
        plain = all(isinstance(read.subscripts[axis], At) for axis in axes)
        if len(axes) > 1 and not (plain and len(axes) == 2):
            out |= set(axes) - chosen
    return out


def _indices(subscript: Subscript) -> tuple[int, ...]:
    match subscript:
        case At(index):
            return (index,)
        case Group(indices):
            return indices
        case Affine(terms):
            return tuple(index for index, _ in terms)
        case Gather(read):
            return tuple(i for s in read.subscripts for i in _indices(s))


def _is_view(subscript: Subscript, size: Size, sizes: Sequence[Size]) -> bool:
    match subscript:
        case At() | Group():
            return True
        case Affine((), _, boundary):
            return boundary is Boundary.INSIDE
        case Affine():
            return straight(subscript, size, sizes) is not None
        case Gather():
            return False


def _viewed(body: Body, read: Read, sizes: Sequence[Size]) -> Operand:
    """A read without index tensors: axis by axis, keeping count of where each one is now."""
    value = body.values[read.node]
    text = value.text
    labels: list[int] = []
    axis = 0
    pads: list[tuple[int, Window]] = []
    for place, subscript in enumerate(read.subscripts):
        if isinstance(subscript, Affine) and subscript.terms:
            window = straight(subscript, value.shape[place], sizes)
            assert window is not None, read
            pads.append((place, window))
    text = _padded(body, text, value.rank, pads, read.fill)
    padded = dict(pads)
    memory: dict[int, tuple[int, ...]] = {}
    tail: list[int] = []  # window indices, which unfold puts last
    for place, subscript in enumerate(read.subscripts):
        match subscript:
            case At(index):
                labels.append(index)
                memory[place] = (index,)
                axis += 1
            case Group(indices):
                split = ", ".join(body.size_text(sizes[i])[0] for i in indices)
                text = f"{text}.unflatten({axis}, ({split}{',' if len(indices) == 1 else ''}))"
                labels.extend(indices)
                memory[place] = indices
                axis += len(indices)
            case Affine((), offset, _):
                text = _select(body, text, axis, offset)
                memory[place] = ()
            case Affine():
                text, made, last = padded[place].view(body, text, axis)
                labels.extend(made)
                tail.extend(last)
                memory[place] = (*made, *last)
                axis += len(made)
            case Gather():
                raise AssertionError(read)
    order = [label for axis in value.memory for label in memory[axis]]
    joined = _joined(value, read)
    return _diagonal(Operand(text, (*labels, *tail), tuple(order), value.dtype, joined))


def _joined(value: Value, read: Read) -> Joined | None:
    """What the axes were split from, here or where the value was made."""
    axes: list[tuple[int, ...]] = []
    for subscript in read.subscripts:
        match subscript:
            case At(index):
                axes.append((index,))
            case Group(indices) if indices:
                axes.append(indices)
            case _:
                return None
    every = [index for axis in axes for index in axis]
    if len(every) != len(set(every)):
        return None
    if value.joined is None:
        return (value.text, tuple(axes)) if any(len(axis) > 1 for axis in axes) else None
    text, parts = value.joined
    return text, tuple(tuple(i for axis in part for i in axes[axis]) for part in parts)


def _select(body: Body, text: str, axis: int, offset: Size) -> str:
    position = body.size_text(offset)[0]
    if axis == 0:
        return f"{text}[{position}]"
    return f"{text}.select({axis}, {position})"


def _padded(
    body: Body, text: str, rank: int, pads: Sequence[tuple[int, Window]], fill: Fill | None
) -> str:
    """One padding for all axes that need it; F.pad lists the last axis first."""
    amounts: dict[int, tuple[Size, Size]] = {
        place: window.pad for place, window in pads if window.pad != (0, 0)
    }
    if not amounts:
        return text
    flat: list[str] = []
    for place in range(rank - 1, min(amounts) - 1, -1):
        flat.extend(body.size_text(amount)[0] for amount in amounts.get(place, (0, 0)))
    return padded(text, flat, fill)


def _diagonal(operand: Operand) -> Operand:
    """X[i, i]: one axis for an index that occurs twice."""
    labels, text = list(operand.labels), operand.text
    for label in dict.fromkeys(operand.labels):
        places = [k for k, other in enumerate(labels) if other == label]
        if len(places) == 2:
            first, second = places
            text = f"{text}.diagonal(dim1={first}, dim2={second})"
            del labels[second], labels[first]
            labels.append(label)
    if text == operand.text:
        return operand
    return contiguous(text, labels, operand.dtype)
