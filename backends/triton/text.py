"""Kernels as text: the IR itself, as `--emit kernels` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from tensorlang.backends.triton.kernel_ir import (
    Atomic,
    Axis,
    Cast,
    Const,
    Dot,
    Expr,
    For,
    If,
    Iota,
    Kernel,
    Let,
    Load,
    Map,
    Reduce,
    Ref,
    Stmt,
    Store,
)

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%"}
_SIGNS |= {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_SIGNS |= {"and": "and", "or": "or"}


def to_text(kernel: Kernel) -> str:
    """The kernel, readable, one statement a line."""
    return "\n".join(_lines(kernel))


def expr_text(expr: Expr) -> str:
    match expr:
        case Const(value, dtype, axes):
            over = f" over [{', '.join(axes)}]" if axes else ""
            return f"{value!r}{over}"
        case Ref(name) | Iota(name):
            return name
        case Load(tensor, index, pred, other):
            mask = "" if pred is None else f" if {expr_text(pred)} else {other!r}"
            return f"{tensor}[{_list(index)}]{mask}"
        case Map(op, args):
            if op in _SIGNS and len(args) > 1:
                return f"({f' {_SIGNS[op]} '.join(map(expr_text, args))})"
            return f"{op}({_list(args)})"
        case Dot(a, b, axis, acc):
            plus = "" if acc is None else f"{expr_text(acc)} + "
            return f"{plus}dot[{axis}]({expr_text(a)}, {expr_text(b)})"
        case Reduce(op, a, axis):
            return f"{op.value}[{axis}]({expr_text(a)})"
        case Cast(a, dtype):
            return f"{dtype.value}({expr_text(a)})"
    assert_never(expr)


def _list(exprs: tuple[Expr, ...]) -> str:
    return ", ".join(map(expr_text, exprs))


def _lines(kernel: Kernel) -> Iterator[str]:
    yield f"kernel {kernel.name}({', '.join(kernel.sizes)})  # {kernel.doc}"
    for tensor in kernel.tensors:
        shape = ", ".join(map(expr_text, tensor.extents))
        yield f"  {tensor.role.value} {tensor.name}[{shape}]: {tensor.dtype.value}"
    for axis in kernel.axes:
        yield f"  {_axis(axis)}"
    for config in kernel.configs:
        blocks = ", ".join(f"{name}={block}" for name, block in config.blocks)
        yield f"  config {blocks} warps={config.warps} stages={config.stages}"
    for stmt in kernel.body:
        yield from _stmt(stmt, 1)


def _axis(axis: Axis) -> str:
    text = f"{axis.kind.value} {axis.name} < {expr_text(axis.extent)}"
    if axis.offset:
        text += f" from {axis.offset}"
    if axis.block != 1:
        text += f" by {axis.block}"
    if axis.parts:
        parts = ", ".join(f"{part.name} < {expr_text(part.extent)}" for part in axis.parts)
        text += f" as ({parts})"
    if axis.support is not None:
        text += f" where {expr_text(axis.support)}"
    return f"{text} reversed" if axis.reverse else text


def _stmt(stmt: Stmt, depth: int) -> Iterator[str]:
    margin = "  " * depth
    match stmt:
        case Let(name, value):
            yield f"{margin}{name} = {expr_text(value)}"
        case For(axis, lo, hi, carried, body, full):
            kept = f" carrying {', '.join(carried)}" if carried else ""
            whole = " full" if full else ""
            yield f"{margin}for {axis} in {expr_text(lo)} .. {expr_text(hi)}{whole}{kept}:"
            for inner in body:
                yield from _stmt(inner, depth + 1)
        case If(condition, body):
            yield f"{margin}if {expr_text(condition)}:"
            for inner in body:
                yield from _stmt(inner, depth + 1)
        case Store(tensor, index, value, pred):
            mask = "" if pred is None else f" if {expr_text(pred)}"
            yield f"{margin}{tensor}[{_list(index)}] = {expr_text(value)}{mask}"
        case Atomic(tensor, index, value, pred):
            mask = "" if pred is None else f" if {expr_text(pred)}"
            yield f"{margin}{tensor}[{_list(index)}] += {expr_text(value)}{mask}"
        case _:
            assert_never(stmt)
