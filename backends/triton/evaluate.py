"""Kernels run on numpy, one program after the other: what Triton should compute, without Triton."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from tensorlang.backends.triton.kernel_ir import (
    GRID_KINDS,
    Atomic,
    Axis,
    AxisKind,
    Cast,
    Config,
    Const,
    Dot,
    DType,
    Expr,
    For,
    If,
    Iota,
    Kernel,
    Let,
    Load,
    Map,
    Reduce,
    Reduction,
    Ref,
    Role,
    Stmt,
    Store,
    block_of,
)
from tensorlang.backends.triton.ops import op
from tensorlang.backends.triton.types import Types

Array = npt.NDArray[Any]


def run(
    kernel: Kernel,
    tensors: Mapping[str, Array],
    sizes: Mapping[str, int],
    config: Config | None = None,
) -> None:
    """Run all programs in float64, writing into the arrays of OUT and ACC tensors.

    An access outside a tensor, a cell stored twice and a read of a cell that nothing wrote are
    AssertionErrors.
    """
    config = config or kernel.configs[0]
    written: dict[str, Array] = {
        t.name: np.zeros(tensors[t.name].shape, bool) for t in kernel.tensors if t.role is Role.OUT
    }
    for positions in grid(kernel, sizes, config):
        program = Program(kernel, tensors, config, written, dict(sizes))
        program.names.update(dict(config.blocks))
        for axis, position in positions:
            program.enter(axis, position)
        for axis in kernel.axes:
            if axis.kind is AxisKind.LANE:
                program.enter(axis, axis.offset)
        program.run(kernel.body)


def grid(
    kernel: Kernel, sizes: Mapping[str, int], config: Config
) -> Iterator[tuple[tuple[Axis, int], ...]]:
    """The grid axes and first positions of every program."""
    axes = [axis for axis in kernel.axes if axis.kind in GRID_KINDS]
    starts = []
    for axis in axes:
        block = block_of(axis, config)
        starts.append(range(0, scalar(kernel, axis.extent, sizes, config), block))
    for chosen in itertools.product(*starts):
        yield tuple(zip(axes, chosen, strict=True))


def scalar(kernel: Kernel, expr: Expr, sizes: Mapping[str, int], config: Config) -> int:
    """Value of an integer expression in sizes and blocks."""
    program = Program(kernel, {}, config, {}, {**sizes, **dict(config.blocks)})
    return int(program.value(expr))


@dataclass(slots=True)
class Program:
    kernel: Kernel
    tensors: Mapping[str, Array]
    config: Config
    written: dict[str, Array]
    names: dict[str, Any]
    positions: dict[str, Any] = field(default_factory=dict)
    types: Types = field(init=False)
    rank: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.types = Types(self.kernel)
        self.rank = {axis.name: k for k, axis in enumerate(self.kernel.axes)}

    # Every value is an array of rank len(axes) of the kernel, with size 1 on axes it lacks.
    def enter(self, axis: Axis, start: int) -> None:
        """Place the program on a block of an axis, and on its parts."""
        position: Any = start
        if axis.kind not in (AxisKind.GRID, AxisKind.SERIAL):
            shape = [1] * len(self.kernel.axes)
            shape[self.rank[axis.name]] = block_of(axis, self.config)
            position = (start + np.arange(block_of(axis, self.config))).reshape(shape)
        if axis.kind is AxisKind.TILE:
            self.names[f"{axis.name}_first"] = start
        self.positions[axis.name] = position
        inner = 1
        for part in reversed(axis.parts):
            extent = int(self.value(part.extent))
            self.positions[part.name] = position // inner % max(extent, 1)
            inner *= extent

    def run(self, body: tuple[Stmt, ...]) -> None:
        for stmt in body:
            match stmt:
                case Let(name, value):
                    self.names[name] = self.value(value)
                case For(axis=name, lo=lo, hi=hi, body=inner):
                    axis = self.kernel.axis(name)
                    first, last = (int(np.asarray(self.value(end)).item()) for end in (lo, hi))
                    for start in range(first, last, block_of(axis, self.config)):
                        self.enter(axis, start)
                        self.run(inner)
                case If(condition, inner):
                    if bool(self.value(condition)):
                        self.run(inner)
                case Store(tensor, index, value, pred):
                    cells, keep = self.cells(tensor, index, pred)
                    values = self.spread(value, keep.shape)
                    assert not self.written[tensor][tuple(c[keep] for c in cells)].any(), (
                        "stored twice",
                        self.kernel.name,
                        tensor,
                    )
                    self.tensors[tensor][tuple(c[keep] for c in cells)] = values[keep]
                    self.written[tensor][tuple(c[keep] for c in cells)] = True
                case Atomic(tensor, index, value, pred):
                    cells, keep = self.cells(tensor, index, pred)
                    values = self.spread(value, keep.shape)
                    np.add.at(self.tensors[tensor], tuple(c[keep] for c in cells), values[keep])
                case _:
                    assert_never(stmt)

    def value(self, expr: Expr) -> Any:
        match expr:
            case Const(value, dtype, axes):
                shape = [1] * len(self.kernel.axes) if axes else []
                for axis in axes:
                    shape[self.rank[axis]] = block_of(self.kernel.axis(axis), self.config)
                return np.full(shape, value, _numpy(dtype))
            case Ref(name):
                return self.names[name]
            case Iota(axis):
                return self.positions[axis]
            case Load(tensor, index, pred, other):
                cells, keep = self.cells(tensor, index, pred)
                array = self.tensors[tensor]
                if tensor in self.written:
                    assert self.written[tensor][tuple(c[keep] for c in cells)].all(), (
                        "read before it is written",
                        self.kernel.name,
                        tensor,
                    )
                out = np.full(keep.shape, other, array.dtype)
                out[keep] = array[tuple(c[keep] for c in cells)]
                return out
            case Map(name, args):
                function = op(name)
                assert function is not None, name
                with np.errstate(all="ignore"):
                    return function.numpy(*(self.value(arg) for arg in args))
            case Dot(a, b, axis, acc):
                with np.errstate(all="ignore"):
                    out = (self.value(a) * self.value(b)).sum(self.rank[axis], keepdims=True)
                return out if acc is None else out + self.value(acc)
            case Reduce(reduction, a, axis):
                reduce = _REDUCE[reduction]
                return reduce(self.value(a), axis=self.rank[axis], keepdims=True)
            case Cast(a, dtype):
                return np.asarray(self.value(a)).astype(_numpy(dtype))
        assert_never(expr)

    def spread(self, expr: Expr, shape: tuple[int, ...]) -> Array:
        """A value over the cells that it goes to; a scalar may have axes of size one."""
        value = np.asarray(self.value(expr))
        return np.broadcast_to(value if shape else value.reshape(()), shape)

    def cells(
        self, tensor: str, index: tuple[Expr, ...], pred: Expr | None
    ) -> tuple[list[Array], Array]:
        """Positions of a tile in each dimension of a tensor, and which of them are accessed."""
        shape = self.tensors[tensor].shape
        assert len(index) == len(shape), (self.kernel.name, tensor, len(index), shape)
        arrays = [np.asarray(self.value(i)) for i in index]
        keep = np.asarray(True if pred is None else self.value(pred))
        *cells, keep = np.broadcast_arrays(*arrays, keep)
        for cell, extent in zip(cells, shape, strict=True):
            bad = keep & ((cell < 0) | (cell >= extent))
            assert not bad.any(), ("outside", self.kernel.name, tensor, int(cell[bad][0]), extent)
        return list(cells), keep


_REDUCE: dict[Reduction, Callable[..., Any]] = {
    Reduction.SUM: np.sum,
    Reduction.MAX: np.max,
    Reduction.MIN: np.min,
}


def _numpy(dtype: DType) -> type:
    match dtype:
        case DType.BOOL:
            return np.bool_
        case DType.INT:
            return np.int64
        case _:
            return np.float64
