"""Masks derived from axes: a tile that may reach past the end of its axis is masked there."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from tensorlang.backends.triton.build import both, rebuild
from tensorlang.backends.triton.kernel_ir import (
    Atomic,
    Axis,
    AxisKind,
    Cast,
    Const,
    DType,
    Expr,
    For,
    If,
    Iota,
    Kernel,
    Let,
    Load,
    Map,
    Stmt,
    Store,
    block_of,
)
from tensorlang.backends.triton.types import Types


def mask_tails(kernel: Kernel) -> Kernel:
    """The kernel with the tails of tile axes in the predicate of each Load, Store and Atomic."""
    return replace(kernel, body=_body(Types(kernel), kernel.body, frozenset()))


def has_tail(kernel: Kernel, axis: Axis) -> bool:
    """Whether a block of the axis may reach past its end for some size or configuration."""
    if axis.kind in (AxisKind.GRID, AxisKind.SERIAL):
        return False
    if not isinstance(axis.extent, Const):
        return True
    length = int(axis.extent.value) - axis.offset
    return any(length % block_of(axis, config) for config in kernel.configs)


def tail(kernel: Kernel, name: str, full: bool = False) -> Expr | None:
    """The condition that positions on an axis are inside it, None where it always holds."""
    axis = kernel.axis(name)
    return None if full or not has_tail(kernel, axis) else inside(axis)


def inside(axis: Axis) -> Expr:
    return Map("lt", (Iota(axis.name), axis.extent))


def _body(types: Types, body: tuple[Stmt, ...], full: frozenset[str]) -> tuple[Stmt, ...]:
    return tuple(_stmt(types, stmt, full) for stmt in body)


def _stmt(types: Types, stmt: Stmt, full: frozenset[str]) -> Stmt:
    match stmt:
        case Let(name, value):
            value = _expr(types, value, full)
            match value:
                case Cast(Load(), DType.INT):  # positions for an index
                    types.names[name] = types.of(value)
            return Let(name, value)
        case For(axis=axis, body=body, full=whole):
            return replace(stmt, body=_body(types, body, full | {axis} if whole else full))
        case If(condition, body):
            return If(condition, _body(types, body, full))
        case (
            Store(index=index, value=value, pred=pred) | Atomic(index=index, value=value, pred=pred)
        ):
            value = _expr(types, value, full)
            return replace(stmt, value=value, pred=_masked(types, index, pred, full))
    assert_never(stmt)


def _expr(types: Types, expr: Expr, full: frozenset[str]) -> Expr:
    expr = rebuild(expr, lambda child: _expr(types, child, full))
    if isinstance(expr, Load):
        return replace(expr, pred=_masked(types, expr.index, expr.pred, full))
    return expr


def _masked(
    types: Types, index: tuple[Expr, ...], pred: Expr | None, full: frozenset[str]
) -> Expr | None:
    axes = types.union(index)
    return both(*(tail(types.kernel, axis, axis in full) for axis in axes), pred)
