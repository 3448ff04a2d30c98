"""Kernels printed as Triton functions, in the words that 3.6 to 3.9 on CUDA and HIP share.

Every printed kernel takes its tensors, their strides, its sizes and then the constants MODE (0:
dots in the storage dtype; 1: all in float32, as the interpreter needs; 2: all in float64), WIDE
(64-bit offsets inside tiles too), PREC (precision of dots) and its blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import assert_never

from tensorlang.backends.triton.build import expressions as held
from tensorlang.backends.triton.build import statements, walk
from tensorlang.backends.triton.kernel_ir import (
    GRID_KINDS,
    Atomic,
    Axis,
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
    Store,
)
from tensorlang.backends.triton.ops import op, uses
from tensorlang.backends.triton.types import Types

FLAGS = ("MODE", "WIDE", "PREC")


def arguments(kernel: Kernel) -> list[str]:
    """Run-time arguments in order: tensors, strides, sizes."""
    strides = [stride(t.name, k) for t in kernel.tensors for k in range(len(t.extents))]
    return [*(t.name for t in kernel.tensors), *strides, *kernel.sizes]


def blocks(kernel: Kernel) -> list[str]:
    """Names of the blocks that a configuration gives."""
    return list(dict.fromkeys(a.block for a in kernel.axes if isinstance(a.block, str)))


def stride(tensor: str, dimension: int) -> str:
    return f"{tensor}_s{dimension}"


def to_triton(kernel: Kernel) -> str:
    """The kernel as a `@triton.jit` function."""
    return _Printer(kernel).function()


def launch_grid(kernel: Kernel) -> str:
    """The number of programs, as a Python expression over sizes and blocks."""
    printer = _Printer(kernel)
    counts = [printer.count(axis) for axis in kernel.axes if axis.kind in GRID_KINDS]
    return " * ".join(count for count in counts if count != "1") or "1"


@dataclass(slots=True)
class _Printer:
    kernel: Kernel
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    bases: dict[tuple[str, tuple[tuple[int, Expr], ...]], str] = field(default_factory=dict)
    types: Types = field(init=False)

    def __post_init__(self) -> None:
        self.types = Types(self.kernel)

    def function(self) -> str:
        kernel = self.kernel
        constants = [f"{name}: tl.constexpr" for name in (*FLAGS, *blocks(kernel))]
        rows = [
            ", ".join(t.name for t in kernel.tensors),
            *(
                ", ".join(stride(t.name, k) for k in range(len(t.extents)))
                for t in kernel.tensors
                if t.extents
            ),
            ", ".join(kernel.sizes),
            ", ".join(constants),
        ]
        header = [f"    {row}," for row in rows if row]
        self.prelude()
        self.statements(kernel.body)
        return "\n".join(
            [
                "@triton.jit",
                f"def {kernel.name}(",
                *header,
                "):",
                f'    """{kernel.doc}"""',
                *self.lines,
            ]
        )

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    # --- where this program stands ---------------------------------------------------------------
    def prelude(self) -> None:
        first = next((t for t in self.kernel.tensors if t.dtype is DType.COMPUTE), None)
        self.emit("ACC: tl.constexpr = tl.float64 if MODE == 2 else tl.float32")
        if first is not None and self.mentions_compute():
            self.emit(f"CT: tl.constexpr = {first.name}.dtype.element_ty if MODE == 0 else ACC")
        self.emit("AT: tl.constexpr = tl.int64 if WIDE else tl.int32")
        grid = [axis for axis in self.kernel.axes if axis.kind in GRID_KINDS]
        if grid:
            self.emit("program = tl.program_id(0)")
        for axis in reversed(grid):
            count = self.count(axis)
            name = f"{axis.name}_block" if axis.kind is AxisKind.TILE else axis.name
            position = "program" if axis is grid[0] else f"program % {_tight(count)}"
            if axis.reverse:
                position = f"{count} - 1 - {position}"
            self.emit(f"{name} = {position}")
            if axis is not grid[0]:
                self.emit(f"program = program // {_tight(count)}")
            if axis.kind is AxisKind.TILE:
                block = self.block(axis)
                self.emit(f"{axis.name}_first = {name} * {block}")
                self.emit(f"{axis.name} = {axis.name}_first + tl.arange(0, {block})")
            self.parts(axis)
        for axis in self.kernel.axes:
            if axis.kind is AxisKind.LANE:
                offset = f"{axis.offset} + " if axis.offset else ""
                self.emit(f"{axis.name} = {offset}tl.arange(0, {self.block(axis)})")
                self.parts(axis)
        for stmt, _ in statements(self.kernel.body):
            if isinstance(stmt, (Store, Atomic)):
                self.base(stmt.tensor, stmt.index)
            for expr in held(stmt):
                for node in walk(expr):
                    if isinstance(node, Load):
                        self.base(node.tensor, node.index)

    def mentions_compute(self) -> bool:
        return any(
            isinstance(node, (Cast, Const)) and node.dtype is DType.COMPUTE
            for stmt, _ in statements(self.kernel.body)
            for expr in held(stmt)
            for node in walk(expr)
        )

    def block(self, axis: Axis) -> str:
        return str(axis.block)

    def count(self, axis: Axis) -> str:
        """Blocks on an axis of the grid."""
        extent = self.expr(axis.extent)
        if axis.kind is AxisKind.GRID:
            return extent
        return f"(({_bare(extent)} + {axis.block} - 1) // {axis.block})"

    def parts(self, axis: Axis) -> None:
        inner: list[str] = []
        texts = []
        for k, part in reversed(list(enumerate(axis.parts))):
            extent = self.expr(part.extent)
            text = axis.name
            if inner:
                text += f" // {_tight(' * '.join(inner))}"
            if k:
                text += f" % {_tight(extent)}"
            texts.append(f"{part.name} = {text}")
            if extent != "1":
                inner.insert(0, extent)
        for text in reversed(texts):
            self.emit(text)

    # --- statements ------------------------------------------------------------------------------
    def statements(self, body: tuple[Stmt, ...]) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        match stmt:
            case Let(name, value):
                text = self.expr(value)
                if isinstance(value, Const) and not value.axes and value.dtype is DType.ACCUMULATE:
                    text = f"tl.full((), {text}, {_DTYPE[value.dtype]})"  # a loop may rebind it
                self.emit(f"{name} = {_bare(text)}")
                self.types.names[name] = self.types.of(value)
            case For(axis=name, lo=lo, hi=hi, body=body):
                axis = self.kernel.axis(name)
                serial = axis.kind is AxisKind.SERIAL
                start = name if serial else f"{name}_start"
                step = "" if serial else f", {self.block(axis)}"
                self.emit(
                    f"for {start} in range({_bare(self.expr(lo))}, {_bare(self.expr(hi))}{step}):"
                )
                self.depth += 1
                if not serial:
                    self.emit(f"{name} = {start} + tl.arange(0, {self.block(axis)})")
                self.parts(axis)
                self.statements(body)
                self.depth -= 1
            case If(condition, body):
                self.emit(f"if {_bare(self.expr(condition))}:")
                self.depth += 1
                self.statements(body)
                self.depth -= 1
            case Store(tensor, index, value, pred):
                self.emit(f"tl.store({self.write(tensor, index, value, pred)})")
            case Atomic(tensor, index, value, pred):
                self.emit(f"tl.atomic_add({self.write(tensor, index, value, pred)})")
            case _:
                assert_never(stmt)

    def write(self, tensor: str, index: tuple[Expr, ...], value: Expr, pred: Expr | None) -> str:
        axes = self.types.union(index)
        text = self.fitted(value, axes) if axes else self.expr(value)
        if set(self.types.of(value).axes) != set(axes):
            shape = ", ".join(self.block(self.kernel.axis(axis)) for axis in axes)
            text = f"tl.broadcast_to({_bare(text)}, ({shape},))"
        mask = "" if pred is None else f", mask={_bare(self.fitted(pred, axes))}"
        cast = f"{text}.to({tensor}.dtype.element_ty)"
        if isinstance(value, Const) and not value.axes:
            shape = ", ".join(self.block(self.kernel.axis(axis)) for axis in axes)
            cast = f"tl.full(({shape},), {text}, {tensor}.dtype.element_ty)"
        return f"{self.address(tensor, index)}, {cast}{mask}"

    # --- expressions -----------------------------------------------------------------------------
    def expr(self, expr: Expr) -> str:
        match expr:
            case Const(value, dtype, axes):
                if axes:
                    shape = ", ".join(self.block(self.kernel.axis(axis)) for axis in axes)
                    return f"tl.full(({shape},), {_literal(value)}, {_DTYPE[dtype]})"
                return _literal(value)
            case Ref(name) | Iota(name):
                return name
            case Load(tensor, index, pred, other):
                address = self.address(tensor, index)
                if pred is None:
                    return f"tl.load({address})"
                mask = _bare(self.fitted(pred, self.types.of(expr).axes))
                return f"tl.load({address}, mask={mask}, other={_literal(other)})"
            case Map(name, args):
                return self.map(name, args)
            case Dot(a, b, axis, acc):
                left = self.operand(a, axis, last=True)
                right = self.operand(b, axis, last=False)
                into = "" if acc is None else f"acc={_bare(self.expr(acc))}, "
                return f"tl.dot({left}, {right}, {into}input_precision=PREC, out_dtype=ACC)"
            case Reduce(reduction, a, axis):
                position = self.types.of(a).axes.index(axis)
                return f"tl.{reduction.value}({_bare(self.expr(a))}, axis={position})"
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
        condition, mask = (_bare(_flat(name, side) if side[1:] else side[0]) for side in sides)
        rest = f"{mask}, False" if name == "and" else f"True, {mask}"
        return f"tl.where({condition}, {rest})"

    def operand(self, expr: Expr, axis: str, last: bool) -> str:
        """A tile of rank 2 with the summed axis last (left operand) or first (right operand)."""
        text = _bare(self.expr(expr))
        axes = self.types.of(expr).axes
        return text if (axes[1] == axis) == last else f"tl.trans({text})"

    def cast(self, expr: Expr, dtype: DType) -> str:
        text = self.expr(expr)
        if dtype is DType.BOOL:
            return f"({text} != 0)"
        if self.types.of(expr).axes or isinstance(expr, (Load, Dot)):
            return f"{text}.to({_DTYPE[dtype]})"
        return f"tl.cast({_bare(text)}, {_DTYPE[dtype]})"

    def fitted(self, expr: Expr, axes: tuple[str, ...]) -> str:
        """The expression, with axes of size one where it lacks some of `axes`."""
        have = self.types.of(expr).axes
        text = self.expr(expr)
        if not have or have == axes:
            return text
        if not text.isidentifier() and not text.endswith(")"):
            text = f"({text})"
        return f"{text}[{', '.join(':' if axis in have else 'None' for axis in axes)}]"

    # --- addresses -------------------------------------------------------------------------------
    def base(self, tensor: str, index: tuple[Expr, ...]) -> str:
        """Pointer to where this program's part of a tensor starts; 64-bit arithmetic."""
        fixed = enumerate(index)
        outer = tuple((k, e) for k, e in fixed if self.outer(e) and not isinstance(e, Const))
        if not outer:
            return tensor
        key = (tensor, outer)
        if key not in self.bases:
            name = f"{tensor}_at"
            while name in self.bases.values():
                name += "_"
            self.bases[key] = name
            terms = [f"{self.wide(e)} * {stride(tensor, k)}" for k, e in outer]
            self.emit(f"{name} = {tensor} + " + " + ".join(terms))
        return self.bases[key]

    def wide(self, expr: Expr) -> str:
        if isinstance(expr, Const):
            return self.expr(expr)
        return f"tl.cast({_bare(self.expr(expr))}, tl.int64)"

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
        terms = [self.base(tensor, index)]
        for k, position in enumerate(index):
            if isinstance(position, Const):
                if position.value:
                    terms.append(f"tl.cast({position.value}, AT) * {stride(tensor, k)}")
                continue
            if self.outer(position):
                continue
            text = self.expr(position)
            if self.types.of(position).axes:
                text = f"{text}.to(AT)"
                text = self.spread(text, self.types.of(position).axes, axes)
            else:
                text = self.wide(position)
            terms.append(f"{text} * {stride(tensor, k)}")
        return " + ".join(terms)

    def spread(self, text: str, have: tuple[str, ...], axes: tuple[str, ...]) -> str:
        if have == axes:
            return text
        return f"{text}[{', '.join(':' if axis in have else 'None' for axis in axes)}]"


_DTYPE = {
    DType.BOOL: "tl.int1",
    DType.INT: "tl.int64",
    DType.COMPUTE: "CT",
    DType.ACCUMULATE: "ACC",
}


def _flat(name: str, texts: list[str]) -> str:
    sign = {"add": " + ", "mul": " * ", "and": " & ", "or": " | "}[name]
    return f"({sign.join(texts)})"


def _literal(value: bool | int | float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "float('nan')" if math.isnan(value) else f"float('{value}')"
    return repr(value)


def _bare(text: str) -> str:
    """The text without one pair of parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for k, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and k < len(text) - 1:
            return text
    return text[1:-1]


def _tight(text: str) -> str:
    """The text as an operand of // or %."""
    return text if text.isidentifier() or text.isdigit() or text.startswith("(") else f"({text})"
