"""Types of values in a kernel: a dtype and the axes of the tile, in the kernel's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from tensorlang.backends.triton.build import expressions
from tensorlang.backends.triton.kernel_ir import (
    SCALAR_KINDS,
    AxisKind,
    Cast,
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
    Ref,
    Stmt,
)
from tensorlang.backends.triton.ops import result


@dataclass(frozen=True, slots=True)
class Type:
    dtype: DType
    axes: tuple[str, ...] = ()


@dataclass(slots=True)
class Types:
    """Types the expressions of one kernel; `names` grows as statements are entered."""

    kernel: Kernel
    names: dict[str, Type] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names.update({size: Type(DType.INT) for size in self.kernel.sizes})
        self.names.update(
            {
                axis.block: Type(DType.INT)
                for axis in self.kernel.axes
                if isinstance(axis.block, str)
            }
        )
        tiles = (axis for axis in self.kernel.axes if axis.kind is AxisKind.TILE)
        self.names.update({f"{axis.name}_first": Type(DType.INT) for axis in tiles})

    def of(self, expr: Expr) -> Type:
        """Type of an expression. An AssertionError names what does not fit."""
        match expr:
            case Const(dtype=dtype, axes=axes):
                return Type(dtype, self.order(axes))
            case Ref(name):
                assert name in self.names, ("read before it is bound", self.kernel.name, name)
                return self.names[name]
            case Iota(name):
                axis = self.kernel.axis(name)
                return Type(DType.INT, () if axis.kind in SCALAR_KINDS else (axis.name,))
            case Load(tensor=tensor, index=index, pred=pred):
                self.kernel.tensor(tensor)
                axes = self.union(index if pred is None else (*index, pred))
                return Type(DType.STORED, axes)
            case Map(op, args):
                return Type(result(op, tuple(self.of(arg).dtype for arg in args)), self.union(args))
            case Dot(a=a, b=b, axis=axis_name):
                kept = [x for x in (*self.of(a).axes, *self.of(b).axes) if x != axis_name]
                return Type(DType.ACCUMULATE, self.order(kept))
            case Reduce(a=a, axis=axis_name):
                of = self.of(a)
                return Type(of.dtype, tuple(x for x in of.axes if x != axis_name))
            case Cast(a=a, dtype=dtype):
                return Type(dtype, self.of(a).axes)
        assert_never(expr)

    def union(self, exprs: Iterable[Expr]) -> tuple[str, ...]:
        return self.order(axis for expr in exprs for axis in self.of(expr).axes)

    def order(self, axes: Iterable[str]) -> tuple[str, ...]:
        """Axes in the kernel's order, each once."""
        wanted = set(axes)
        return tuple(axis.name for axis in self.kernel.axes if axis.name in wanted)

    def bind(self, body: Iterable[Stmt]) -> None:
        """Enter the names that statements bind, and type all that they read."""
        for stmt in body:
            for expr in expressions(stmt):
                self.of(expr)
            match stmt:
                case Let(name, value):
                    self.names[name] = self.of(value)
                case For(body=inner) | If(body=inner):
                    self.bind(inner)
                case _:
                    pass


def typed(kernel: Kernel) -> Mapping[str, Type]:
    """Types of all names of a kernel."""
    types = Types(kernel)
    types.bind(kernel.body)
    return types.names
