"""Expressions of kernels as Triton's, in the words that 3.6 to 3.9 on CUDA and HIP share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import assert_never

from tensorlang.backends.triton.build import walk
from tensorlang.backends.triton.kernel_ir import (
    AxisKind,
    Cast,
    Const,
    Dot,
    DType,
    Expr,
    Iota,
    Kernel,
    Load,
    Map,
    Reduce,
    Ref,
)
from tensorlang.backends.triton.ops import op, uses
from tensorlang.backends.triton.signature import blocks, stride
from tensorlang.backends.triton.types import Types

Fixed = tuple[tuple[int, Expr], ...]
"""Positions by dimension."""

DTYPES = {
    DType.BOOL: "tl.int1",
    DType.INT: "tl.int64",
    DType.COMPUTE: "CT",
    DType.ACCUMULATE: "ACC",
}


@dataclass(slots=True)
class Expressions:
    """Expressions of one kernel as text. `pointers` are the variables that hold where this
    program's part of a tensor starts."""

    kernel: Kernel
    types: Types
    pointers: dict[tuple[str, Fixed], str] = field(default_factory=dict)

    def expr(self, expr: Expr) -> str:
        match expr:
            case Const(value, dtype, axes):
                if axes:
                    return f"tl.full({self.shape(axes)}, {_literal(value)}, {DTYPES[dtype]})"
                return _literal(value)
            case Ref(name) | Iota(name):
                return name
            case Load(tensor, index, pred, other):
                address = self.address(tensor, index)
                if pred is None:
                    return f"tl.load({address})"
                mask = bare(self.fitted(pred, self.types.of(expr).axes))
                return f"tl.load({address}, mask={mask}, other={_literal(other)})"
            case Map(name, args):
                return self.map(name, args)
            case Dot(a, b, axis, acc):
                left = self.operand(a, axis, last=True)
                right = self.operand(b, axis, last=False)
                into = "" if acc is None else f"acc={bare(self.expr(acc))}, "
                return f"tl.dot({left}, {right}, {into}input_precision=PREC, out_dtype=ACC)"
            case Reduce(reduction, a, axis):
                position = self.types.of(a).axes.index(axis)
                return f"tl.{reduction.value}({bare(self.expr(a))}, axis={position})"
            case Cast(a, dtype):
                return self.cast(a, dtype)
        assert_never(expr)

    def map(self, name: str, args: tuple[Expr, ...]) -> str:
        function = op(name)
        assert function is not None, name
        axes = self.types.union(args)
        texts = [self.fitted(arg, axes) for arg in args]
        if name in ("and", "or") and axes and not all(self.types.of(arg).axes for arg in args):
            return self.with_conditions(name, args, texts)
        if function.nary:
            out = texts[0]
            for text in texts[1:]:
                out = function.triton.format(out, text)
            return (
                out
                if len(args) == 1 or name not in ("add", "mul", "and", "or")
                else _flat(name, texts)
            )
        counts = uses(function.triton)
        assert all(
            counts.get(k, 0) <= 1 or isinstance(arg, (Ref, Iota, Const))
            for k, arg in enumerate(args)
        ), ("name an argument that is used twice", self.kernel.name, name)
        return function.triton.format(*texts)

    def with_conditions(self, name: str, args: tuple[Expr, ...], texts: list[str]) -> str:
        """Masks beside conditions without axes, which Triton's interpreter cannot spread by &."""
        sides: tuple[list[str], list[str]] = ([], [])
        for arg, text in zip(args, texts, strict=True):
            sides[bool(self.types.of(arg).axes)].append(text)
        condition, mask = (bare(_flat(name, side) if side[1:] else side[0]) for side in sides)
        rest = f"{mask}, False" if name == "and" else f"True, {mask}"
        return f"tl.where({condition}, {rest})"

    def operand(self, expr: Expr, axis: str, last: bool) -> str:
        """A tile of rank 2 with the summed axis last (left operand) or first (right operand)."""
        text = bare(self.expr(expr))
        axes = self.types.of(expr).axes
        return text if (axes[1] == axis) == last else f"tl.trans({text})"

    def cast(self, expr: Expr, dtype: DType) -> str:
        text = self.expr(expr)
        if dtype is DType.BOOL:
            return f"({text} != 0)"
        if self.types.of(expr).axes or isinstance(expr, (Load, Dot)):
            return f"{text}.to({DTYPES[dtype]})"
        return f"tl.cast({bare(text)}, {DTYPES[dtype]})"

    def fitted(self, expr: Expr, axes: tuple[str, ...]) -> str:
        """The expression, with axes of size one where it lacks some of `axes`."""
        have = self.types.of(expr).axes
        text = self.expr(expr)
        if not have or have == axes:
            return text
        if not text.isidentifier() and not text.endswith(")"):
            text = f"({text})"
        return _spread(text, have, axes)

    def shape(self, axes: tuple[str, ...]) -> str:
        """The blocks of some axes."""
        return f"({', '.join(str(self.kernel.axis(axis).block) for axis in axes)},)"

    # --- addresses -------------------------------------------------------------------------------
    def pointer(self, tensor: str, index: tuple[Expr, ...]) -> str | None:
        """Where this program's part of a tensor starts, to be computed once, in 64 bits; None if
        that is known or is where the tensor starts."""
        key = (tensor, self.fixed(index))
        if not key[1] or key in self.pointers:
            return None
        name = f"{tensor}_at"
        while name in self.pointers.values():
            name += "_"
        self.pointers[key] = name
        terms = [f"{self.wide(e)} * {stride(tensor, k)}" for k, e in key[1]]
        return f"{name} = {tensor} + " + " + ".join(terms)

    def fixed(self, index: tuple[Expr, ...]) -> Fixed:
        """Positions that are fixed for the program, by dimension."""
        return tuple(
            (k, e) for k, e in enumerate(index) if self.outer(e) and not isinstance(e, Const)
        )

    def wide(self, expr: Expr) -> str:
        if isinstance(expr, Const):
            return self.expr(expr)
        return f"tl.cast({bare(self.expr(expr))}, tl.int64)"

    def outer(self, expr: Expr) -> bool:
        """A position that is fixed for the program: it depends on grid scalars and sizes only."""
        sizes = (*self.kernel.sizes, *blocks(self.kernel))
        return all(
            isinstance(node, (Const, Map))
            or (isinstance(node, Ref) and node.name in sizes)
            or (isinstance(node, Iota) and self.kernel.axis(node.axis).kind is AxisKind.GRID)
            for node in walk(expr)
        )

    def address(self, tensor: str, index: tuple[Expr, ...]) -> str:
        axes = self.types.union(index)
        fixed = self.fixed(index)
        terms = [self.pointers[tensor, fixed] if fixed else tensor]
        for k, position in enumerate(index):
            if isinstance(position, Const):
                if position.value:
                    terms.append(f"tl.cast({position.value}, AT) * {stride(tensor, k)}")
                continue
            if self.outer(position):
                continue
            text = self.expr(position)
            if self.types.of(position).axes:
                text = _spread(f"{text}.to(AT)", self.types.of(position).axes, axes)
            else:
                text = self.wide(position)
            terms.append(f"{text} * {stride(tensor, k)}")
        return " + ".join(terms)


def _spread(text: str, have: tuple[str, ...], axes: tuple[str, ...]) -> str:
    """A tile with axes of size one where it lacks some of `axes`."""
    if have == axes:
        return text
    return f"{text}[{', '.join(':' if axis in have else 'None' for axis in axes)}]"


def _flat(name: str, texts: list[str]) -> str:
    sign = {"add": " + ", "mul": " * ", "and": " & ", "or": " | "}[name]
    return f"({sign.join(texts)})"


def _literal(value: bool | int | float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "float('nan')" if math.isnan(value) else f"float('{value}')"
    return repr(value)


def bare(text: str) -> str:
    """The text without one pair of parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for k, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and k < len(text) - 1:
            return text
    return text[1:-1]


def tight(text: str) -> str:
    """The text as an operand of // or %."""
    return text if text.isidentifier() or text.isdigit() or text.startswith("(") else f"({text})"
