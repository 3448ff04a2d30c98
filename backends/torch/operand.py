"""A tensor expression whose axes carry local indices, and the views that rearrange them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlang.dtype import Dtype
from tensorlang.size import Size

Label = int
SizeOfLabel = Callable[[Label], str]
Joined = tuple[str, tuple[tuple[Label, ...], ...]]
"""The text before axes were split, and what each of its axes was split into."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a slot holds: an expression, its shape, its axes from slowest to fastest in memory."""

    text: str
    shape: tuple[Size, ...]
    memory: tuple[int, ...]
    dtype: Dtype
    joined: Joined | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Operand:
    """A primary expression, one label per axis, and the labels in memory order (best knowledge)."""

    text: str
    labels: tuple[Label, ...]
    memory: tuple[Label, ...]
    dtype: Dtype
    joined: Joined | None = None


def contiguous(text: str, labels: Sequence[Label], dtype: Dtype) -> Operand:
    return Operand(text, tuple(labels), tuple(labels), dtype)


def permuted(operand: Operand, order: Sequence[Label]) -> Operand:
    """The same tensor with its axes in this order: a view."""
    order = tuple(order)
    assert sorted(order) == sorted(operand.labels), (operand, order)
    if order == operand.labels:
        return operand
    places = [operand.labels.index(label) for label in order]
    text = permuted_text(operand.text, places)
    return Operand(text, order, operand.memory, operand.dtype, _joined(operand, order))


def _joined(operand: Operand, order: tuple[Label, ...]) -> Joined | None:
    """The axes in another order before they are split, where those split from one stay together."""
    if operand.joined is None:
        return None
    text, parts = operand.joined
    places = _places(parts, order)
    if places is None:
        return None
    return permuted_text(text, places), tuple(parts[place] for place in places)


def _places(parts: Sequence[tuple[Label, ...]], order: Sequence[Label]) -> list[int] | None:
    """Which of `parts`, one after another, are `order`; None if it is made otherwise."""
    starts = {part[0]: place for place, part in enumerate(parts)}
    out: list[int] = []
    at = 0
    while at < len(order):
        place = starts.get(order[at])
        if place is None or tuple(order[at : at + len(parts[place])]) != parts[place]:
            return None
        out.append(place)
        at += len(parts[place])
    return out


def permuted_text(text: str, places: Sequence[int]) -> str:
    """A permutation as an expert writes it: nothing, one transposition, or permute."""
    moved = [k for k, place in enumerate(places) if k != place]
    if not moved:
        return text
    if len(moved) == 2:
        first, second = moved
        if (first, second) == (len(places) - 2, len(places) - 1):
            return f"{text}.mT"
        return f"{text}.transpose({first}, {second})"
    return f"{text}.permute({', '.join(map(str, places))})"


def aligned(operand: Operand, axes: Sequence[Label]) -> Operand:
    """A view that broadcasts against tensors with these axes: ordered, missing ones of size 1."""
    present = [label for label in axes if label in operand.labels]
    out = permuted(operand, present)
    if not present:
        return out
    wanted = list(axes)[list(axes).index(present[0]) :]
    text = inserted_text(out.text, [label in operand.labels for label in wanted])
    return Operand(text, out.labels, out.memory, out.dtype)


def inserted_text(text: str, present: Sequence[bool]) -> str:
    """Insert an axis of size 1 wherever `present` is False."""
    if all(present):
        return text
    if not any(present):
        return f"{text}[{', '.join(['None'] * len(present))}]"
    missing = [k for k, there in enumerate(present) if not there]
    if len(missing) == 1 and missing[0] == len(present) - 1 and len(present) > 2:
        return f"{text}.unsqueeze(-1)"
    if len(missing) == 1 and len(present) - missing[0] > 1 and missing[0] > 1:
        return f"{text}.unsqueeze({missing[0]})"
    slices = [":" if there else "None" for there in present]
    while slices and slices[-1] == ":":
        slices.pop()
    return f"{text}[{', '.join(slices)}]"


def expanded(operand: Operand, axes: Sequence[Label], size: SizeOfLabel) -> Operand:
    """A view with exactly these axes, missing ones repeated."""
    if tuple(axes) == operand.labels:
        return operand
    present = [label in operand.labels for label in axes]
    out = permuted(operand, [label for label in axes if label in operand.labels])
    if all(present):
        return out
    first = present.index(True) if any(present) else len(present)
    inserted = inserted_text(out.text, present[first:]) if any(present) else out.text
    sizes = ["-1" if there else size(label) for there, label in zip(present, axes, strict=True)]
    text = f"{inserted}.expand({', '.join(sizes)})"
    missing = tuple(label for label in axes if label not in operand.labels)
    return Operand(text, tuple(axes), (*missing, *out.memory), out.dtype)


def grouped(operand: Operand, groups: Sequence[Sequence[Label]], size: SizeOfLabel) -> str:
    """The text with each group of labels merged into one axis; an empty group is an axis of size 1.

    A view where memory allows, else a copy. Axes are not split to be merged again.
    """
    if operand.joined is not None:
        before, parts = operand.joined
        chosen = [_places(parts, group) for group in groups]
        whole = [places for places in chosen if places is not None]
        if len(whole) == len(chosen):
            names = tuple(part[0] for part in parts)
            merged = [[names[place] for place in places] for places in whole]
            return grouped(Operand(before, names, names, operand.dtype), merged, size)
    order = [label for group in groups for label in group]
    text = permuted(operand, order).text
    empty = [k for k, group in enumerate(groups) if not group]
    wide = [k for k, group in enumerate(groups) if len(group) > 1]
    if len(wide) > 2:
        sizes = [_merged(group, size) for group in groups]
        return f"{text}.reshape({', '.join(sizes)})"
    shift = 0
    for k, group in enumerate(group for group in groups if group):
        if len(group) > 1:
            start, end = k, k + len(group) - 1
            rank = len(order) - shift
            if end == rank - 1:
                text = f"{text}.flatten({start})" if start else f"{text}.flatten()"
            else:
                text = f"{text}.flatten({start}, {end})"
            shift += len(group) - 1
    if empty:
        text = inserted_text(text, [bool(group) for group in groups])
    return text


def _merged(group: Sequence[Label], size: SizeOfLabel) -> str:
    texts = [size(label) for label in group]
    if all(text.isdecimal() for text in texts):
        product = 1
        for text in texts:
            product *= int(text)
        return str(product)
    return " * ".join(f"({t})" if " " in t else t for t in texts) if texts else "1"


def runs(order: Sequence[Label], members: Sequence[Label]) -> list[list[Label]]:
    """`members` in the order of `order`, cut where others lie between them."""
    out: list[list[Label]] = []
    last = None
    for place, label in enumerate(order):
        if label in members:
            if last is not None and place == last + 1:
                out[-1].append(label)
            else:
                out.append([label])
            last = place
    return out
