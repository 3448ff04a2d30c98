"""Scatter: index_add, scatter_add, scatter_reduce along one axis, or several made one."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.indexing import bare, check_positions, position
from tensorlang.backends.torch.operand import Operand, aligned, expanded, grouped, permuted
from tensorlang.backends.torch.reads import read_operand
from tensorlang.backends.torch.sizes import UNARY
from tensorlang.check.program import Boundary, ScatterOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Affine, At, Gather, Node, Scatter, Subscript
from tensorlang.size import product


def scatter(body: Body, node: Node, name: str) -> Operand:
    """The value of a Scatter over its axes; cells that nothing lands on are 0."""
    assert isinstance(node.op, Scatter), node
    op = node.op
    landing = [
        axis for axis in range(node.rank) if any(target[axis] != At(axis) for target in op.targets)
    ]
    plain = [axis for axis in range(node.rank) if axis not in landing]
    assert landing, node
    # the axes landed on are merged into one, which stands where the first of them stands
    front = [axis for axis in plain if axis < landing[0]]
    back = [axis for axis in plain if axis > landing[0]]
    memory = _memory(body, node)
    if set(back) <= set(memory):  # as the values lie: the result is a view in the declared order
        back.sort(key=memory.index)
    cells = product(node.sizes[axis] for axis in landing)
    drop = any(_drops(target[axis]) for target in op.targets for axis in landing)
    parts = [
        _part(body, node, k, (front, back, landing), drop, name) for k in range(len(op.targets))
    ]
    shape = [*(node.sizes[axis] for axis in front)]
    total = body.size_text(cells)[0] if not drop else f"{body.size(cells, UNARY)} + 1"
    texts = [body.size_text(size)[0] for size in shape]
    texts += [total, *(body.size_text(node.sizes[axis])[0] for axis in back)]
    place = len(front)
    out = _landed(op.op, parts, texts, place)
    if drop:
        cut = ", ".join([":"] * place + [":-1"])
        out = f"{out}[{cut}]"
    if len(landing) > 1:
        sizes = ", ".join(body.size_text(node.sizes[axis])[0] for axis in landing)
        out = f"{out}.unflatten({place}, ({sizes}))"
    labels = (*front, *landing, *back)
    return permuted(Operand(out, labels, labels, node.dtype), tuple(range(node.rank)))


def _drops(subscript: Subscript) -> bool:
    return isinstance(subscript, Affine | Gather) and subscript.boundary is Boundary.ELSE


def _memory(body: Body, node: Node) -> tuple[int, ...]:
    """The order in which the first value lies."""
    return read_operand(body, node.reads[0], node.sizes).memory


class _Part:
    """One contribution: value with the landing axis at its place, positions along it."""

    def __init__(self, value: str, index: str, shared: bool) -> None:
        self.value, self.index, self.shared = value, index, shared


def _part(
    body: Body,
    node: Node,
    k: int,
    axes: tuple[Sequence[int], Sequence[int], Sequence[int]],
    drop: bool,
    name: str,
) -> _Part:
    assert isinstance(node.op, Scatter), node
    front, back, landing = axes
    target = node.op.targets[k]
    value = read_operand(body, node.reads[k], node.sizes)
    positions = []
    for axis in landing:
        subscript = target[axis]
        body_position = position(body, subscript, node.sizes[axis], node.sizes, read_operand)
        if isinstance(subscript, Gather) and subscript.boundary is Boundary.CHECKED:
            body_position = body.hold(body_position, "cell")
            check_positions(
                body, subscript, body_position, node.sizes[axis], f"axis {axis} of {name}"
            )
        positions.append(body_position)
    used = {label for p in positions for label in p.labels} | set(value.labels)
    bound = [i for i in node.bound if i in used]
    index = _flat_position(body, node, positions, landing, drop)

    def size(label: int) -> str:
        return body.size_text(node.sizes[label])[0]

    every = (*front, *bound, *back)
    value = expanded(value, every, size)
    value = body.cast(value, node.dtype)
    value_text = grouped(value, [*([i] for i in front), bound, *([i] for i in back)], size)
    if not value_text.isidentifier():
        value_text = body.assign(f"{name}_values", value_text)
    shared = any(label in index.labels for label in (*front, *back))
    if not shared and not bound:
        return _Part(value_text, f"{index.text}.reshape(1)", False)
    if not shared:
        index = expanded(index, bound, size)
        text = grouped(index, [bound], size)
        return _Part(value_text, bare(text), False)
    index = expanded(index, every, size)
    return _Part(
        value_text,
        bare(grouped(index, [*([i] for i in front), bound, *([i] for i in back)], size)),
        True,
    )


def _flat_position(
    body: Body, node: Node, positions: Sequence[Operand], landing: Sequence[int], drop: bool
) -> Operand:
    labels = tuple(dict.fromkeys(label for p in positions for label in p.labels))
    if len(positions) == 1:
        (single,) = positions
        if not drop:
            return body.hold(single, "cell") if " " in single.text else single
        function = body.file.require("_or_past_end")
        size = body.size_text(node.sizes[landing[0]])[0]
        text = f"{function}({bare(single.text)}, {size})"
        return Operand(body.assign("cell", text), single.labels, single.labels, Dtype.INT)
    texts = [aligned(p, labels).text for p in positions]
    flat = texts[0]
    for text, axis in zip(texts[1:], landing[1:], strict=True):
        flat = (
            f"({flat}) * {body.size(node.sizes[axis])} + {text}"
            if " " in flat
            else (f"{flat} * {body.size(node.sizes[axis])} + {text}")
        )
    name = body.assign("cell", flat)
    if drop:
        inside = [
            f"({text} >= 0) & ({text} < {body.size_text(node.sizes[axis])[0]})"
            for text, axis in zip(texts, landing, strict=True)
        ]
        cells = body.size_text(product(node.sizes[axis] for axis in landing))[0]
        name = body.assign("cell", f"torch.where({' & '.join(inside)}, {name}, {cells})")
    return Operand(name, labels, labels, Dtype.INT)


def _landed(op: ScatterOp, parts: Sequence[_Part], sizes: Sequence[str], place: int) -> str:
    shape = ", ".join(sizes)
    first = parts[0].value
    if op is ScatterOp.SUM:
        out = f"{first}.new_zeros({shape})"
        for part in parts:
            method = "scatter_add" if part.shared else "index_add"
            out = f"{out}.{method}({place}, {part.index}, {part.value})"
        return out
    if len(parts) == 1:
        value, index = first, _as_wide(parts[0], sizes, place)
    else:
        value = f"torch.cat(({', '.join(part.value for part in parts)}), {place})"
        indices = ", ".join(_as_wide(part, sizes, place) for part in parts)
        index = f"torch.cat(({indices}), {place})"
    extreme = "amax" if op is ScatterOp.MAX else "amin"
    return (
        f"{first}.new_zeros({shape})"
        f'.scatter_reduce({place}, {index}, {value}, "{extreme}", include_self=False)'
    )


def _as_wide(part: _Part, sizes: Sequence[str], place: int) -> str:
    """The positions repeated over the value's other axes."""
    if part.shared or len(sizes) == 1:
        return part.index
    index = part.index
    after = len(sizes) - place - 1
    if after == 1:
        index = f"{index}.unsqueeze(-1)"
    elif after > 1:
        index = f"{index}[:, {', '.join(['None'] * after)}]"
    return f"{index}.expand_as({part.value})"
