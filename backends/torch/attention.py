"""A softmax-contraction as scaled_dot_product_attention on tensors of rank 4.

Batch axes are flattened in the order in which they lie, so that torch's fused kernels take them
without copies. Masked attention over several keys goes through an operator in blocks of queries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.operand import Operand, Value, contiguous, expanded, grouped
from tensorlang.backends.torch.pointwise import pointwise
from tensorlang.backends.torch.reads import read_operand
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, At, Iota, Node, Pointwise, Read
from tensorlang.ir.reads import read_indices, rename_read, substitute
from tensorlang.plan.cost import used
from tensorlang.plan.plan import AnyStep, Attention, AttentionStep, Slot, Step
from tensorlang.size import Size, same

Labels = tuple[int, ...]


def attention(body: Body, step: AttentionStep, defined: Mapping[Slot, Step], name: str) -> Operand:
    """The value of an attention over its out_axes."""
    a = step.attention
    if in_blocks(a, defined):
        return _blocked(body, a, defined, name)
    a, shared = with_shared_keys(a)
    q, k, v = (read_operand(body, read, a.sizes) for read in (a.q, a.k, a.v))
    heads = _heads(q, a, shared)
    of_keys = _Heads(heads.outer, heads.inner[: len(heads.inner) - len(shared)])
    arguments = [
        _side(body, a, q, heads, (a.query, a.feature)),
        _side(body, a, k, of_keys, (a.key, a.feature)),
        _side(body, a, v, of_keys, (a.key, a.value)),
    ]
    if is_causal(a, defined):
        arguments.append("is_causal=True")
    elif a.mask is not None or a.bias is not None:
        arguments.append(f"attn_mask={_mask(body, a, heads)}")
    if not _usual_scale(a):
        arguments.append(f"scale={a.scale!r}")
    if shared:
        arguments.append("enable_gqa=True")
    text = f"F.scaled_dot_product_attention({', '.join(arguments)})"
    return _unflattened(body, a, text, heads)


@dataclass(frozen=True, slots=True)
class _Heads:
    """The two batch axes that attention kernels want, as groups of labels."""

    outer: Labels
    inner: Labels


def with_shared_keys(a: Attention) -> tuple[Attention, Labels]:
    """Query indices that keys, values and masks lack as batch: heads that share their keys.

    Without a mask, or with one that no query index is in, they are more queries.
    """
    if a.mask is None and a.bias is None:
        return a, ()
    held = {
        i for read in (a.k, a.v, a.mask, a.bias) if read is not None for i in read_indices(read)
    }
    shared = tuple(label for label in a.query if label not in held)
    query = tuple(label for label in a.query if label in held)
    if not shared or not query:
        return a, ()
    return replace(a, batch=(*a.batch, *shared), query=query), shared


def _heads(q: Operand, a: Attention, shared: Labels) -> _Heads:
    """Batch labels before and after the queries in q's memory; with none after, the last one.

    Those that share their keys come last.
    """
    heads = _split_heads(q, a)
    outer = tuple(label for label in heads.outer if label not in shared)
    inner = tuple(label for label in heads.inner if label not in shared)
    if shared and not inner:
        outer, inner = outer[:-1], outer[-1:]
    return _Heads(outer, (*inner, *shared))


def _split_heads(q: Operand, a: Attention) -> _Heads:
    place = min(q.memory.index(label) for label in a.query)
    before = [i for i in q.memory[:place] if i in a.batch]
    after = tuple(i for i in q.memory[place:] if i in a.batch)
    lacking = [i for i in a.batch if i not in q.labels]
    outer = (*lacking, *before)
    if not after and outer:
        return _Heads(outer[:-1], outer[-1:])
    return _Heads(outer, after)


def _side(
    body: Body, a: Attention, operand: Operand, heads: _Heads, last: tuple[Labels, Labels]
) -> str:
    def size(label: int) -> str:
        return body.size_text(a.sizes[label])[0]

    groups = (heads.outer, heads.inner, *last)
    wanted = [label for group in groups for label in group]
    if set(wanted) - set(operand.labels):
        operand = expanded(operand, wanted, size)
    return grouped(operand, groups, size)


def _unflattened(body: Body, a: Attention, text: str, heads: _Heads) -> Operand:
    groups = (heads.outer, heads.inner, a.query, a.value)
    # from the last axis, so that places stay what they are
    for place in range(3, -1, -1):
        group = groups[place]
        if len(group) > 1:
            sizes = ", ".join(body.size_text(a.sizes[label])[0] for label in group)
            text = f"{text}.unflatten({place if place < 3 else -1}, ({sizes}))"
        elif not group:
            text = f"{text}.squeeze({place if place < 3 else -1})"
    labels = tuple(label for group in groups for label in group)
    memory = (*heads.outer, *a.query, *heads.inner, *a.value)
    out = Operand(text, labels, memory, Dtype.REAL)
    missing = [label for label in a.out_axes if label not in labels]
    assert not missing, (a, labels)
    return out


def _usual_scale(a: Attention) -> bool:
    width: Size = 1
    for label in a.feature:
        width = width * a.sizes[label]
    return isinstance(width, int) and math.isclose(a.scale, width**-0.5, rel_tol=1e-15)


# --- masks ---------------------------------------------------------------------------------------
def is_causal(a: Attention, defined: Mapping[Slot, Step]) -> bool:
    """Whether the mask is exactly `key <= query` over equal sizes, and there is no bias."""
    if a.mask is None or a.bias is not None or len(a.query) != 1 or len(a.key) != 1:
        return False
    step = defined.get(a.mask.node)
    if step is None or not isinstance(step.node.op, Pointwise):
        return False
    if not same(a.sizes[a.query[0]], a.sizes[a.key[0]]):
        return False
    labels = {axis: s.index for axis, s in enumerate(a.mask.subscripts) if isinstance(s, At)}
    match step.node.op.expr:
        case App("le", (Iota(key), Iota(query))) | App("ge", (Iota(query), Iota(key))):
            pass
        case App("not", (App("gt", (Iota(key), Iota(query))),)):
            pass
        case App("not", (App("lt", (Iota(query), Iota(key))),)):
            pass
        case _:
            return False
    return labels.get(key) == a.key[0] and labels.get(query) == a.query[0]


def unprinted(steps: Sequence[AnyStep], kept: Sequence[Slot]) -> frozenset[Slot]:
    """Slots of masks that attentions express otherwise, so that no step need form them."""
    defined = {step.out: step for step in steps if isinstance(step, Step)}
    absorbed: dict[Slot, int] = {}
    for step in steps:
        if isinstance(step, AttentionStep) and step.attention.mask is not None:
            a = step.attention
            if in_blocks(a, defined) or is_causal(with_shared_keys(a)[0], defined):
                mask = step.attention.mask.node
                absorbed[mask] = absorbed.get(mask, 0) + 1
    return frozenset(
        slot
        for slot, count in absorbed.items()
        if slot not in kept and _readers(steps, slot) == count
    )


def _readers(steps: Sequence[AnyStep], slot: Slot) -> int:
    return sum(slot in used(step) for step in steps)


def _mask(body: Body, a: Attention, heads: _Heads) -> str:
    def grid(read: Read) -> str:
        operand = read_operand(body, read, a.sizes)
        return _broadcastable(body, a, operand, heads)

    if a.mask is None:
        assert a.bias is not None
        return grid(a.bias)
    if a.bias is None:
        return grid(a.mask)
    return f"torch.where({grid(a.mask)}, {grid(a.bias)}, -torch.inf)"


def _broadcastable(body: Body, a: Attention, operand: Operand, heads: _Heads) -> str:
    """Over (outer, inner, query, key), or (query, key) where no batch label is there."""

    def size(label: int) -> str:
        return body.size_text(a.sizes[label])[0]

    groups: list[Labels] = []
    for group in (heads.outer, heads.inner, a.query, a.key):
        there = [label for label in group if label in operand.labels]
        groups.append(group if there else ())
    wanted = [label for group in groups for label in group]
    if set(wanted) - set(operand.labels):
        operand = expanded(operand, wanted, size)
    if not groups[0] and not groups[1] and groups[2] and groups[3]:
        return grouped(operand, groups[2:], size)
    return grouped(operand, groups, size)


# --- several keys with a mask: blocks of queries -------------------------------------------------
def in_blocks(a: Attention, defined: Mapping[Slot, Step]) -> bool:
    """Whether the mask would be a tensor of queries times pairs of keys that we can do without."""
    if a.mask is None or a.bias is not None or len(a.key) < 2 or len(a.query) != 1:
        return False
    step = defined.get(a.mask.node)
    if step is None or not isinstance(step.node.op, Pointwise):
        return False
    if not all(isinstance(s, At) for s in a.mask.subscripts):
        return False
    names = {axis: s.index for axis, s in enumerate(a.mask.subscripts) if isinstance(s, At)}
    for read in step.node.reads:
        for subscript in read.subscripts:
            mentioned = [names[i] for i in read_indices(Read(0, (subscript,)))]
            if a.query[0] in mentioned and not isinstance(subscript, At):
                return False
    return True


def _blocked(body: Body, a: Attention, defined: Mapping[Slot, Step], name: str) -> Operand:
    def size(label: int) -> str:
        return body.size_text(a.sizes[label])[0]

    assert a.mask is not None, a
    q, k, v = (read_operand(body, read, a.sizes) for read in (a.q, a.k, a.v))
    batch = tuple(i for i in q.memory if i in a.batch)
    batch = (*(i for i in a.batch if i not in batch), *batch)
    sides = []
    for operand, last in (
        (q, (a.query, a.feature)),
        (k, (a.key, a.feature)),
        (v, (a.key, a.value)),
    ):
        groups = (batch, *last)
        wanted = [label for group in groups for label in group]
        if set(wanted) - set(operand.labels):
            operand = expanded(operand, wanted, size)
        sides.append(grouped(operand, groups, size))
    operator, tensors, sizes = _operator(body, a, defined[a.mask.node], batch, name)
    text = f"{operator}({', '.join(sides)}, [{tensors}], [{sizes}], {a.scale!r})"
    for place, group in ((2, a.value), (0, batch)):
        if len(group) > 1:
            shown = ", ".join(map(size, group))
            text = f"{text}.unflatten({place if place == 0 else -1}, ({shown}))"
        elif not group:
            text = f"{text}.squeeze({place if place == 0 else -1})"
    return contiguous(text, (*batch, *a.query, *a.value), Dtype.REAL)


def _operator(
    body: Body, a: Attention, mask: Step, batch: Labels, name: str
) -> tuple[str, str, str]:
    """Print the mask as a function of rows and the operator that calls it.

    Returns the operator's name, and what to pass as tensors and as sizes.
    """
    assert isinstance(mask.node.op, Pointwise) and a.mask is not None
    inner = body.nested()
    labels = [s.index for s in a.mask.subscripts if isinstance(s, At)]
    rows = sympy.Symbol("rows", integer=True, nonnegative=True)
    # the mask's axes: query, keys and what of the batch it mentions, in this order
    ordered = [*(i for i in batch if i in labels), *a.query, *a.key]
    names = {axis: ordered.index(label) for axis, label in enumerate(labels)}
    shape = tuple(rows if label in a.query else a.sizes[label] for label in ordered)
    inner.ranges["len(rows)"] = "rows"
    query_axis = ordered.index(a.query[0])
    passed: list[str] = []
    slots: dict[Slot, str] = {}
    reads = []
    for read in mask.node.reads:
        read = rename_read(read, names)
        reads.append(_of_rows(body, inner, read, query_axis, passed, slots))
    expr = _renamed(mask.node.op, names)
    node = Node(expr, tuple(reads), shape, len(shape), Dtype.BOOL)
    symbols = sorted({s.name for size in (*a.sizes, *shape) for s in _symbols(size)} - {"rows"})
    inner.symbols = {**{s: inner.names.fresh(s) for s in symbols}, "rows": "len(rows)"}
    operand = pointwise(inner, node, "mask")
    text = inner.assign("mask", operand.text)
    if any(label in labels for label in batch):

        def size(label: int) -> str:
            return inner.size_text(a.sizes[label])[0]

        mine = Operand(text, tuple(ordered), tuple(ordered), Dtype.BOOL)
        wide = expanded(mine, (*batch, *a.query, *a.key), size)
        text = grouped(wide, (batch, a.query, a.key), size)
    else:
        text = f"{text}.flatten(1)"
    needed = [s for s in symbols if _mentions(inner, text, inner.symbols[s])]
    head = ""
    if needed:
        head = f"    {_targets([inner.symbols[s] for s in needed])} = sizes\n"
    if passed:
        head += f"    {_targets(list(slots.values()))} = tensors\n"
    function = body.file.fresh(f"_{name}_mask")
    inner.line(f"return {text}")
    body.file.define(
        f"def {function}(rows: Tensor, sizes: list[int], tensors: list[Tensor]) -> Tensor:\n"
        f'    """Which keys the queries `rows` see."""\n' + head + "\n".join(inner.lines)
    )
    operator = body.file.fresh(f"_{name}_attention")
    body.file.define_operator(operator, function)
    return operator, ", ".join(passed), ", ".join(body.symbol(s) for s in needed)


def _targets(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) > 1 else f"({names[0]},)"


def _symbols(size: Size) -> list[sympy.Symbol]:
    return [] if isinstance(size, int) else list(size.free_symbols)


def _mentions(inner: Body, text: str, name: str) -> bool:
    return bool(re.search(rf"\b{re.escape(name)}\b", "\n".join([*inner.lines, text])))


def _of_rows(
    body: Body,
    inner: Body,
    read: Read,
    query: int,
    passed: list[str],
    slots: dict[Slot, str],
) -> Read:
    """The same read inside the mask's function, of the rows only along the query axis."""
    value = body.values[read.node]
    if read.node not in slots:
        slots[read.node] = inner.names.fresh(body.source_names.get(read.node, "tensor"))
        passed.append(value.text)
    text = slots[read.node]
    for axis, subscript in enumerate(read.subscripts):
        if isinstance(subscript, At) and subscript.index == query:
            text = f"{text}.index_select({axis}, rows)"
    stand_in = -2 - len(inner.values)
    rows = sympy.Symbol("rows", integer=True, nonnegative=True)
    shape = tuple(
        rows if isinstance(s, At) and s.index == query else size
        for s, size in zip(read.subscripts, value.shape, strict=True)
    )
    inner.values[stand_in] = Value(text, shape, value.memory, value.dtype)
    return Read(stand_in, read.subscripts, read.fill)


def _renamed(op: Pointwise, names: Mapping[int, int]) -> Pointwise:
    return Pointwise(
        substitute(
            op.expr, lambda leaf: Iota(names[leaf.index]) if isinstance(leaf, Iota) else leaf
        )
    )
