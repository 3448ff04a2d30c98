"""Reductions, softmax, scans, merges and transforms as torch code."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.operand import (
    Operand,
    aligned,
    contiguous,
    expanded,
    grouped,
    permuted,
)
from tensorlang.backends.torch.reads import read_operand
from tensorlang.check.program import ReduceOp, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Merge, Node, Reduce, Scan, ScanOp, Softmax, Transform
from tensorlang.ir.reads import read_indices
from tensorlang.registry import transforms


def full(body: Body, node: Node, operand: Operand, axes: Sequence[int]) -> Operand:
    """The operand with exactly these labels, missing ones repeated."""
    return expanded(operand, tuple(axes), lambda label: body.size_text(node.sizes[label])[0])


def reduce(body: Body, node: Node, infinite: bool) -> Operand:
    """`infinite`: the operand may have cells that are -inf by a condition."""
    assert isinstance(node.op, Reduce), node
    operand = read_operand(body, node.reads[0], node.sizes)
    missing = [i for i in node.bound if i not in operand.labels]
    if missing:
        operand = full(body, node, operand, [*operand.labels, *missing])
    operand = _of_dtype(body, node.op.op, operand)
    bound = [i for i in operand.labels if i >= node.rank]
    rest = [i for i in operand.labels if i < node.rank]
    rank = len(operand.labels)
    places = [operand.labels.index(i) for i in bound]
    if places == list(range(rank - len(places), rank)):
        places = [place - rank for place in places]
    never_empty = all(isinstance(node.sizes[i], int) for i in bound)
    if node.op.op is ReduceOp.LOGSUMEXP and infinite:
        function = body.file.require("_logsumexp")
        text = f"{function}({operand.text}, {_dims(places)})"
    else:
        text = _reduced(body, node.op.op, operand, places, bound, never_empty)
    memory = tuple(label for label in operand.memory if label in rest)
    return full(body, node, Operand(text, tuple(rest), memory, node.dtype), range(node.rank))


def _of_dtype(body: Body, op: ReduceOp, operand: Operand) -> Operand:
    if op is ReduceOp.LOGSUMEXP and operand.dtype < Dtype.REAL:
        return body.cast(operand, Dtype.REAL)
    if op in (ReduceOp.PROD,) and operand.dtype is Dtype.BOOL:
        return body.cast(operand, Dtype.INT)
    return operand


def _reduced(
    body: Body,
    op: ReduceOp,
    operand: Operand,
    places: Sequence[int],
    bound: Sequence[int],
    never_empty: bool,
) -> str:
    text, dims = operand.text, _dims(places)
    match op:
        case ReduceOp.MAX | ReduceOp.MIN:
            name = "amax" if op is ReduceOp.MAX else "amin"
            if never_empty:
                return f"{text}.{name}({dims})"
            return f"{body.file.require('_' + name)}({text}, {dims})"
        case ReduceOp.LOGSUMEXP:
            return f"{text}.logsumexp({dims})"
        case ReduceOp.ANY | ReduceOp.ALL:
            return f"{text}.{op.value}({dims})"
        case ReduceOp.PROD:
            return f"{_one_axis(operand, bound)}.prod({'-1' if len(bound) > 1 else dims})"
        case ReduceOp.ARGMAX | ReduceOp.ARGMIN:
            if never_empty:
                return f"{text}.{op.value}({dims})"
            return f"{body.file.require('_' + op.value)}({text}, {dims})"
        case _:
            raise AssertionError(("lowered to other nodes", op))


def _dims(places: Sequence[int]) -> str:
    return str(places[0]) if len(places) == 1 else f"({', '.join(map(str, places))})"


def _one_axis(operand: Operand, bound: Sequence[int]) -> str:
    """Several reduced axes as one, the last."""
    if len(bound) == 1:
        return operand.text
    rest = [label for label in operand.labels if label not in bound]
    moved = permuted(operand, [*rest, *bound])
    return f"{moved.text}.flatten({-len(bound)})"


def softmax(body: Body, node: Node) -> Operand:
    """Rows without a true cell of the mask are 0, in value and in gradient."""
    assert isinstance(node.op, Softmax), node
    axes = tuple(range(node.rank))
    logits = full(body, node, read_operand(body, node.reads[0], node.sizes), axes)
    if logits.dtype < Dtype.REAL:
        logits = body.cast(logits, Dtype.REAL)
    mask = None
    if len(node.reads) > 1:
        read = aligned(read_operand(body, node.reads[1], node.sizes), axes)
        mask = body.hold(read, "mask").text
        text = f"{logits.text}.masked_fill(~{mask}, -torch.inf)"
        logits = Operand(text, axes, axes, logits.dtype)
    function = "log_softmax" if node.op.log else "softmax"
    over = list(node.op.axes)
    if len(over) == 1:
        place = over[0] if over[0] != node.rank - 1 else -1
        out = Operand(f"{logits.text}.{function}({place})", axes, logits.memory, node.dtype)
    else:
        rest = [axis for axis in axes if axis not in over]
        moved = permuted(logits, [*rest, *over])
        sizes = body.sizes([node.sizes[axis] for axis in over])
        text = f"{moved.text}.flatten({-len(over)}).{function}(-1).unflatten(-1, ({sizes}))"
        out = permuted(contiguous(text, [*rest, *over], node.dtype), axes)
    if mask is None:
        return out
    if node.op.log:
        # a masked cell is -inf, without a gradient, but a row without a true cell is 0
        empty = _some(mask, node, [a for a in over if a >= min(read.labels, default=node.rank)])
        text = f"{out.text}.masked_fill(~{mask}, -torch.inf).masked_fill(~{empty}, 0.0)"
    else:
        text = f"{out.text}.masked_fill(~{mask}, 0.0)"
    return Operand(text, axes, out.memory, node.dtype)


def _some(mask: str, node: Node, over: Sequence[int]) -> str:
    """Whether a row of the mask has a true cell; the mask is aligned to the right."""
    places = sorted(axis - node.rank for axis in over)
    text = mask
    for place in places:
        text = f"{text}.any({place}, keepdim=True)"
    return text


def scan(body: Body, node: Node) -> Operand:
    assert isinstance(node.op, Scan), node
    axes = tuple(range(node.rank))
    operand = full(body, node, read_operand(body, node.reads[0], node.sizes), axes)
    name = "cumsum" if node.op.op is ScanOp.CUMSUM else "cumprod"
    return Operand(f"{operand.text}.{name}({node.op.axis})", axes, operand.memory, node.dtype)


def merge(body: Body, node: Node, slot_rank: int) -> Operand:
    """Axis k of the node is the row-major merge of groups[k]."""
    assert isinstance(node.op, Merge), node
    source = node.reads[0].node
    labels = tuple(range(slot_rank))
    value = body.values[source]

    def size(label: int) -> str:
        return body.size_text(value.shape[label])[0]

    text = grouped(body.whole(source, labels), node.op.groups, size)
    order = {label: k for k, group in enumerate(node.op.groups) for label in group}
    memory = tuple(dict.fromkeys(order[axis] for axis in value.memory))
    rest = tuple(k for k in range(len(node.op.groups)) if k not in memory)
    return Operand(text, tuple(range(len(node.op.groups))), (*memory, *rest), node.dtype)


def transform(body: Body, node: Node) -> Operand:
    assert isinstance(node.op, Transform), node
    op = node.op
    row = transforms()[op.op.value]
    batch = tuple(axis for axis in range(node.rank) if axis not in op.target)
    args = []
    for k, read in enumerate(node.reads):
        operand = read_operand(body, read, node.sizes)
        operand = _cast(body, operand, node, row.name)
        source = tuple(op.source)
        if op.op is TransformOp.CONCAT:
            source = (op.source[k],)
        elif op.op is TransformOp.SOLVE and k == 1:
            source = (op.source[0],)
        wanted = [axis for axis in batch if axis in operand.labels]
        missing = [label for label in source if label not in operand.labels]
        if op.op is TransformOp.CONCAT or missing:
            operand = full(body, node, operand, (*batch, *source))
        else:
            operand = aligned(permuted(operand, (*wanted, *source)), (*batch, *source))
        args.append(
            body.hold(operand, "argument").text if row.torch.count("{0}") > 1 else operand.text
        )
    if row.torch_helper:
        body.file.require_text(row.torch_helper)
    text = row.torch
    sizes = size = body.sizes([node.sizes[axis] for axis in op.target])
    if len(op.target) == 1:
        sizes += ","
    joined = ", ".join(args) + ("," if len(args) == 1 else "")
    replacements = {"args": joined, "sizes": f"({sizes})", "size": size, "norm": repr(op.norm)}
    for name, value in (*replacements.items(), *((str(k), arg) for k, arg in enumerate(args))):
        text = text.replace("{" + name + "}", value)
    if op.op is TransformOp.IRFFT:  # of half precisions it comes in float32
        text = f"{text}.to({body.dtype_text(Dtype.REAL)})"
    labels = (*batch, *op.target)
    mentioned = {index for read in node.reads for index in read_indices(read)}
    held = [axis for axis in batch if axis in mentioned]
    if len(held) != len(batch):
        shape = ", ".join(
            "-1" if axis in held or axis in op.target else body.size_text(node.sizes[axis])[0]
            for axis in labels
        )
        text = f"{text}.expand({shape})"
    return permuted(contiguous(text, labels, node.dtype), tuple(range(node.rank)))


def _cast(body: Body, operand: Operand, node: Node, name: str) -> Operand:
    """FFTs and concat take what `to` promotes; matrix functions only real and complex numbers."""
    wanted = node.dtype if name == "concat" else max(operand.dtype, Dtype.REAL)
    if name in ("fft", "ifft", "irfft"):
        wanted = Dtype.COMPLEX if name != "fft" or operand.dtype is Dtype.COMPLEX else Dtype.REAL
    if name == "solve":
        wanted = node.dtype
    if operand.dtype >= wanted:
        return operand
    return body.cast(operand, wanted)
