"""Places a call of a sub-layer: its arguments become tensors, the callee gets their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tensorlang.check import terms as t
from tensorlang.check.calls import Form, Indices, PendingCall
from tensorlang.check.errors.layers import BadCall
from tensorlang.check.mentions import base
from tensorlang.check.program import At, Axis, Group, Index, Output, Read
from tensorlang.check.scope import LayerScope, Tensor

if TYPE_CHECKING:
    pass


# --- forms ---------------------------------------------------------------------------------------
def place_call(
    scope: LayerScope,
    term: t.SubLayer,
    sums: tuple[Indices, ...],
    targets: Sequence[Tensor] | None,
) -> str:
    """Hoist a call: its arguments become tensors, its outputs the targets or a new tensor.

    `sums[k]` are summed inside argument k. The first output's name is returned.
    """
    match, sub = term.match, term.match.sub
    callee = sub.interface
    assert callee is not None, sub
    batch = _batch(scope, term, sums)
    if batch is None:
        return _failed(scope, term, sums)
    names, passed = [], []
    for k, (arg, tensor) in enumerate(zip(term.args, callee.inputs, strict=True)):
        name, axes = _passed(scope, arg, sums[k], match.inputs[k], batch, tensor, sub.name)
        names.append(name)
        passed.append(axes)
    wanted = None if targets is None else [tuple(a.indices for a in x.axes) for x in targets]
    orders, outputs = [], []
    for m, tensor in enumerate(callee.outputs):
        own = _expanded(match.outputs[m], batch)
        if wanted is not None:
            axes = wanted[m]
        else:
            axes = (
                passed[0]
                if passed and sorted(own, key=_key) == sorted(passed[0], key=_key)
                else own
            )
        assert sorted(own, key=_key) == sorted(axes, key=_key), (own, axes)
        orders.append(tuple(own.index(axis) for axis in axes))
        if targets is not None:
            outputs.append(Output(targets[m].name, tuple(map(Axis, axes)), tensor.dtype))
        else:
            name = scope.define_temporary(
                f"{sub.name}_out", tuple(map(Axis, axes)), tensor.dtype, term.span
            )
            outputs.append(Output(name, tuple(map(Axis, axes)), tensor.dtype))
    ins = tuple(
        tuple(_expanded(slots, batch).index(axis) for axis in axes)
        for slots, axes in zip(match.inputs, passed, strict=True)
    )
    form: Form | None = Form(_batch_names(batch, callee.names), ins, tuple(orders))
    if form is not None and _as_written(form, callee.has_ellipsis):
        form = None
    scope.statement.hoisted.append(PendingCall(sub, form, tuple(names), tuple(outputs), term.span))
    return outputs[0].name


def direct(term: t.SubLayer, batch: Sequence[Index], targets: Sequence[Tensor]) -> bool:
    """Whether the outputs can be defined as they are: same axes, in some order."""
    for slots, tensor in zip(term.match.outputs, targets, strict=True):
        own = _expanded(slots, tuple(batch))
        if sorted(own, key=_key) != sorted((axis.indices for axis in tensor.axes), key=_key):
            return False
    return True


def batch_of(term: t.SubLayer, sums: tuple[Indices, ...]) -> Indices:
    """What the callee's `...` stands for, in the order of the first argument that has it."""
    callee = term.match.sub.interface
    assert callee is not None, term.match.sub
    for k, (arg, tensor) in enumerate(zip(term.args, callee.inputs, strict=True)):
        if None in tensor.slots:
            return _leftover(term, k, arg, sums[k])
    return ()


def _leftover(term: t.SubLayer, k: int, arg: t.Term, sums: Indices) -> Indices:
    return tuple(t.without(arg.free, (*term.match.consumed(k), *sums)))


def _batch(scope: LayerScope, term: t.SubLayer, sums: tuple[Indices, ...]) -> Indices | None:
    sub = term.match.sub
    assert sub.interface is not None, sub
    batch = batch_of(term, sums)
    for k, (arg, tensor) in enumerate(zip(term.args, sub.interface.inputs, strict=True)):
        left = _leftover(term, k, arg, sums[k])
        shown = f"{tensor.name}{tensor.shown()}"
        if None not in tensor.slots and left:
            names = ", ".join(index.name for index in left)
            fault = f"what is passed has {names} besides the axes of its input {shown}"
            hint = "batch indices need ... in the sub-layer's input"
            scope.report(BadCall(arg.span, sub.name, fault, sub.span, hint))
            return None
        if None in tensor.slots and set(left) != set(batch):
            both = [", ".join(index.name for index in part) or "none" for part in (batch, left)]
            fault = f"its ... stands for {both[0]}, but input {shown} gets {both[1]}"
            scope.report(BadCall(arg.span, sub.name, fault, sub.span))
            return None
    return batch


def _failed(scope: LayerScope, term: t.SubLayer, sums: tuple[Indices, ...]) -> str:
    """A stand-in for what a faulty call returns."""
    free = t.without(term.free, [index for part in sums for index in part])
    axes = tuple(Axis((index,)) for index in free)
    return scope.define_temporary(f"{term.match.sub.name}_out", axes, term.dtype, term.span)


def _passed(
    scope: LayerScope,
    arg: t.Term,
    sums: Indices,
    slots: tuple[Indices | None, ...],
    batch: Indices,
    tensor: Tensor,
    sub: str,
) -> tuple[str, tuple[Indices, ...]]:
    """The tensor that is passed for an input, and its axes in the caller's indices."""
    grouped = any(slot is not None and len(slot) > 1 for slot in slots)
    if isinstance(arg, t.Leaf) and not sums and arg.dtype is tensor.dtype:
        axes = _plain_axes(scope, arg)
        own = _expanded(slots, batch)
        if axes is not None and sorted(axes, key=_key) == sorted(own, key=_key):
            assert isinstance(arg.expr, Read), arg
            return arg.expr.tensor, axes
    if grouped:
        order: tuple[Indices, ...] = _expanded(slots, batch)
    else:
        order = tuple((index,) for index in t.without(arg.free, sums))
    name = scope.hoist(arg, sums, f"{sub}_in", tuple(map(Axis, order)), tensor.dtype)
    return name, order


def _plain_axes(scope: LayerScope, arg: t.Leaf) -> tuple[Indices, ...] | None:
    """Axes of a read of whole axes at indices of their own, None if it is not one."""
    if not isinstance(arg.expr, Read):
        return None
    out: list[Indices] = []
    tensor = scope.tensors[arg.expr.tensor]
    for subscript, axis in zip(arg.expr.subscripts, tensor.axes, strict=True):
        if isinstance(subscript, At) and len(axis.indices) == 1:
            part: Indices = (subscript.index,)
        elif isinstance(subscript, Group) and subscript.indices == axis.indices:
            part = axis.indices
        else:
            return None
        if part in out:
            return None
        out.append(part)
    return tuple(out)


def _expanded(slots: tuple[Indices | None, ...], batch: Indices) -> tuple[Indices, ...]:
    out: list[Indices] = []
    for slot in slots:
        out += [(index,) for index in batch] if slot is None else [slot]
    return tuple(out)


def _key(axis: Indices) -> tuple[str, ...]:
    return tuple(f"{index.name} {index.fresh}" for index in axis)


def _batch_names(batch: Indices, taken: frozenset[str]) -> tuple[str, ...]:
    """Names of the batch dims within the callee, apart from its own."""
    out: list[str] = []
    for index in batch:
        if index.ellipsis:
            out.append("...")
            continue
        wish = base(index.name)
        name, k = wish, 1
        while name in taken or name in out:
            name, k = f"{wish}_{k}", k + 1
        out.append(name)
    return tuple(out)


def _as_written(form: Form, has_ellipsis: bool) -> bool:
    orders = (*form.inputs, *form.outputs)
    plain = all(order == tuple(range(len(order))) for order in orders)
    return plain and form.batch == (("...",) if has_ellipsis else ())
