"""Contractions over windows of one operand as F.conv1d, conv2d, conv3d.

position = stride * out + dilation * k + offset, k summed with a filter, which is flipped where k
counts down. Borders: `else 0` is padding, wrap, clamp and reflect read a padded copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.indexing import brought_inside
from tensorlang.backends.torch.operand import Operand, contiguous, grouped
from tensorlang.backends.torch.reads import read_operand
from tensorlang.backends.torch.windows import bounded
from tensorlang.check.program import Boundary
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Affine, At, Node, Read
from tensorlang.size import Size, same, simplest


@dataclass(frozen=True, slots=True)
class _Axis:
    """A spatial axis of the data: where it stands, its size, and the affine form."""

    place: int
    size: Size
    out: int
    count: Size
    stride: int
    inner: int
    width: int
    dilation: int
    offset: Size
    boundary: Boundary
    flip: bool = False  # the filter is read from its end: offset is that of its last cell

    @property
    def reach(self) -> int:
        return self.dilation * (self.width - 1)

    @property
    def length(self) -> Size:
        """Cells that the windows cover, first to last."""
        return simplest(self.stride * (self.count - 1) + self.reach + 1)


@dataclass(frozen=True, slots=True)
class _Roles:
    batch: tuple[int, ...]
    group: tuple[int, ...]
    channel: tuple[int, ...]
    feature: tuple[int, ...]


def convolution(body: Body, node: Node, bias: str | None = None) -> Operand | None:
    """The contraction as a convolution, or None where it is not one; `bias` over its features."""
    for data, kernel in (node.reads, node.reads[::-1]):
        axes = _spatial(body.values[data.node].shape, node, data)
        if axes is None:
            continue
        roles = _roles(node, data, kernel, axes)
        if roles is not None:
            return _printed(body, node, data, kernel, axes, roles, bias)
    return None


def feature_of(node: Node, shapes: Callable[[int], Sequence[Size] | None]) -> int | None:
    """The axis of a convolution's only feature index, where torch can add a bias; else None.

    `shapes` gives the shape of a slot, None if it is not known yet.
    """
    for data, kernel in (node.reads, node.reads[::-1]):
        shape = shapes(data.node)
        axes = None if shape is None else _spatial(shape, node, data)
        roles = None if axes is None else _roles(node, data, kernel, axes)
        if roles is not None:
            return roles.feature[0] if len(roles.feature) == 1 and not roles.group else None
    return None


def _spatial(shape: Sequence[Size], node: Node, data: Read) -> list[_Axis] | None:
    found: list[_Axis] = []
    for place, subscript in enumerate(data.subscripts):
        match subscript:
            case At():
                continue
            case Affine(((a, step_a), (b, step_b)), offset, boundary):
                if (a < node.rank) == (b < node.rank):
                    return None
                out, stride, inner, dilation = (
                    (a, step_a, b, step_b) if a < node.rank else (b, step_b, a, step_a)
                )
                width = node.sizes[inner]
                if stride < 1 or not isinstance(width, int):
                    return None
                if flip := dilation < 0:
                    offset = simplest(offset + dilation * (width - 1))
                if boundary is Boundary.ELSE and (data.fill or not isinstance(offset, int)):
                    return None
                axis = _Axis(
                    place,
                    shape[place],
                    out,
                    node.sizes[out],
                    stride,
                    inner,
                    width,
                    abs(dilation),
                    offset,
                    boundary,
                    flip,
                )
                found.append(axis)
            case _:
                return None
    used = [label for axis in found for label in (axis.out, axis.inner)]
    if not 1 <= len(found) <= 3 or len(set(used)) != len(used):
        return None
    return found


def _roles(node: Node, data: Read, kernel: Read, axes: Sequence[_Axis]) -> _Roles | None:
    """Which labels are batch, groups, summed channels and output features."""
    if not all(isinstance(s, At) for s in kernel.subscripts):
        return None
    mine = [s.index for s in data.subscripts if isinstance(s, At)]
    theirs = [s.index for s in kernel.subscripts if isinstance(s, At)]
    spatial = {axis.out for axis in axes} | {axis.inner for axis in axes}
    if len(set(mine)) != len(mine) or len(set(theirs)) != len(theirs):
        return None
    if spatial & set(mine) or not {axis.inner for axis in axes} <= set(theirs):
        return None
    if {axis.out for axis in axes} & set(theirs):
        return None
    theirs = [i for i in theirs if i not in spatial]
    shared = [i for i in mine if i in theirs]
    alone = [i for i in (*mine, *theirs) if i not in shared and i >= node.rank]
    if alone:
        return None
    if any(axis.flip for axis in axes) and all(i in shared and i < node.rank for i in mine):
        return None  # a Toeplitz matrix, with what multiplies it: a matrix product
    return _Roles(
        tuple(i for i in mine if i not in theirs),
        tuple(i for i in shared if i < node.rank),
        tuple(i for i in shared if i >= node.rank),
        tuple(i for i in theirs if i not in mine),
    )


def _printed(
    body: Body,
    node: Node,
    data: Read,
    kernel: Read,
    axes: Sequence[_Axis],
    roles: _Roles,
    bias: str | None,
) -> Operand:
    def size(label: int) -> str:
        if label >= 0:
            return body.size_text(node.sizes[label])[0]
        axis = axes[-1 - label]
        copied = axis.boundary not in (Boundary.INSIDE, Boundary.ELSE)
        return body.size_text(axis.length if copied else axis.size)[0]

    # the data, its spatial axes under labels -1, -2, …
    value = body.values[data.node]
    stand_in = {axis.place: -1 - k for k, axis in enumerate(axes)}
    labels = [
        s.index if isinstance(s, At) else stand_in[place] for place, s in enumerate(data.subscripts)
    ]
    x = Operand(value.text, tuple(labels), tuple(labels[a] for a in value.memory), value.dtype)
    x = body.cast(x, node.dtype)
    for axis in axes:
        if axis.boundary not in (Boundary.INSIDE, Boundary.ELSE):
            x = _gathered(body, x, axis, stand_in[axis.place])
    channels = [*roles.group, *roles.channel]
    groups = [list(roles.batch), channels, *([stand_in[axis.place]] for axis in axes)]
    x_text = grouped(x, groups, size)
    w = body.cast(read_operand(body, kernel, node.sizes), node.dtype)
    flipped = [w.labels.index(axis.inner) for axis in axes if axis.flip]
    if flipped:
        shown = ", ".join(map(str, flipped))
        w = Operand(f"{w.text}.flip({shown})", w.labels, w.labels, w.dtype)
    filters = [*roles.group, *roles.feature]
    w_groups = [filters, list(roles.channel), *([axis.inner] for axis in axes)]
    w_text = grouped(w, w_groups, size)

    x_text, padding, cuts = _bordered(body, axes, x_text)
    arguments = [x_text, w_text] if bias is None else [x_text, w_text, bias]
    for name, numbers, default in (
        ("stride", [axis.stride for axis in axes], 1),
        ("padding", padding, 0),
        ("dilation", [axis.dilation for axis in axes], 1),
    ):
        if any(number != default for number in numbers):
            same_all = len(set(numbers)) == 1
            arguments.append(
                f"{name}={numbers[0] if same_all else '(' + ', '.join(map(str, numbers)) + ')'}"
            )
    if roles.group:
        count = " * ".join(size(i) for i in roles.group)
        arguments.append(f"groups={count}")
    text = f"F.conv{len(axes)}d({', '.join(arguments)})"
    if any(cuts):
        text = f"{text}[:, :, {', '.join(cut or ':' for cut in cuts)}]"
    counts = [body.size_text(axis.count)[0] for axis in axes if _maybe_none(axis)]
    if counts:  # torch refuses a filter that is larger than the data
        shape = [" * ".join(map(size, i)) or "1" for i in (roles.batch, filters)]
        shape += [body.size_text(axis.count)[0] for axis in axes]
        function = body.file.require("_no_windows")
        read = [x.text, w.text] if bias is None else [x.text, w.text, bias]
        empty = f"{function}(({', '.join(shape)}), {', '.join(read)})"
        some = " and ".join(f"{count} > 0" for count in dict.fromkeys(counts))
        text = f"({text} if {some} else {empty})"
    return _split(text, node, roles, axes, size)


def _maybe_none(axis: _Axis) -> bool:
    """Whether there may be no window, as over an input's axis; computed sizes are checked."""
    own = axis.boundary in (Boundary.INSIDE, Boundary.ELSE)  # others fail in an empty axis
    return own and (axis.count == 0 or isinstance(axis.count, sympy.Symbol))


def _gathered(body: Body, x: Operand, axis: _Axis, label: int) -> Operand:
    """A copy that holds the positions of all windows one after the other."""
    length = body.size_text(axis.length)[0]
    start = body.size_text(axis.offset)[0]
    stop = body.size_text(simplest(axis.length + axis.offset))[0]
    span = f"{start}, {stop}" if axis.offset != 0 else length
    text = f"torch.arange({span}, device={body.device})"
    inside = brought_inside(body, contiguous(text, (0,), Dtype.INT), axis.boundary, axis.size)
    place = x.labels.index(label)
    index = inside.text
    if index.startswith("(") and index.endswith(")"):
        index = index[1:-1]
    name = body.assign("cells", index)
    return Operand(f"{x.text}.index_select({place}, {name})", x.labels, x.labels, x.dtype)


def _bordered(body: Body, axes: Sequence[_Axis], text: str) -> tuple[str, list[int], list[str]]:
    """Padding: by the convolution where it is symmetric, by F.pad where not, and cuts."""
    paddings: list[int] = []
    before: list[Size] = []
    after: list[Size] = []
    starts: list[str] = []
    padded_starts: list[str] = []
    cuts: list[str] = []
    for axis in axes:
        size = axis.size
        left = right = 0
        start = padded_start = ""
        if axis.boundary is Boundary.INSIDE:
            start = "" if axis.offset == 0 else f"{body.size_text(axis.offset)[0]}:"
            size = simplest(size - axis.offset)
        elif axis.boundary is Boundary.ELSE:
            assert isinstance(axis.offset, int), axis
            left = max(-axis.offset, 0)
            padded_start = f"{axis.offset}:" if axis.offset > 0 else ""
            right = _overhang(axis)
            size = simplest(size - max(axis.offset, 0))
            symmetric = isinstance(right, int) and right <= left
            if symmetric and _made(size, left, left, axis) is not None:
                right = left
        else:
            size = axis.length
        exact = _made(size, left, right, axis)
        cuts.append("" if exact is not None else f":{body.size_text(axis.count)[0]}")
        starts.append(start)
        padded_starts.append(padded_start)  # later: the axis may have fewer cells
        before.append(left)
        after.append(right)
    if any(starts):
        text = f"{text}[:, :, {', '.join(start or ':' for start in starts)}]"
    if all(left == right for left, right in zip(before, after, strict=True)):
        paddings = [int(left) for left in before]
    else:
        flat = [
            body.size_text(amount)[0]
            for left, right in reversed(list(zip(before, after, strict=True)))
            for amount in (left, right)
        ]
        text = f"F.pad({text}, ({', '.join(flat)}))"
        paddings = [0] * len(before)
    if any(padded_starts):
        text = f"{text}[:, :, {', '.join(start or ':' for start in padded_starts)}]"
    return text, paddings, cuts


def _overhang(axis: _Axis) -> Size:
    """How far the last window runs past the axis: exact or a bound."""
    last = simplest(axis.stride * (axis.count - 1) + axis.reach + axis.offset + 1)
    exact = simplest(last - axis.size)
    if isinstance(exact, int):
        return max(exact, 0)
    limit = simplest(bounded(last) - axis.size)
    if isinstance(limit, int):
        return max(limit, 0)
    return simplest(axis.stride * axis.count + axis.reach + max(int(axis.offset), 0))


def _made(size: Size, left: Size, right: Size, axis: _Axis) -> Size | None:
    """The size that the convolution makes, if it is provably the one wanted."""
    span = simplest(size + left + right - axis.reach - 1)
    made: Size
    if axis.stride == 1:
        made = simplest(span + 1)
    elif isinstance(span, int):
        made = span // axis.stride + 1
    else:
        made = simplest(sympy.floor(span / sympy.Integer(axis.stride)) + 1)
    return made if same(made, axis.count) else None


def _split(
    text: str,
    node: Node,
    roles: _Roles,
    axes: Sequence[_Axis],
    size: object,
) -> Operand:
    assert callable(size)
    filters = (*roles.group, *roles.feature)
    if len(filters) > 1:
        text = f"{text}.unflatten(1, ({', '.join(size(i) for i in filters)}))"
    elif not filters:
        text = f"{text}.squeeze(1)"
    if len(roles.batch) > 1:
        text = f"{text}.unflatten(0, ({', '.join(size(i) for i in roles.batch)}))"
    elif not roles.batch:
        text = f"{text}.squeeze(0)"
    labels = (*roles.batch, *filters, *(axis.out for axis in axes))
    return contiguous(text, labels, node.dtype)
