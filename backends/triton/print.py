"""Kernels printed as Triton functions: where a program stands, then its statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from tensorlang.backends.triton.build import expressions as held
from tensorlang.backends.triton.build import statements, walk
from tensorlang.backends.triton.expressions import DTYPES, Expressions, bare, tight
from tensorlang.backends.triton.kernel_ir import (
    GRID_KINDS,
    Atomic,
    Axis,
    AxisKind,
    Cast,
    Const,
    DType,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Stmt,
    Store,
)
from tensorlang.backends.triton.signature import parameters
from tensorlang.backends.triton.types import Types


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
    types: Types = field(init=False)
    texts: Expressions = field(init=False)

    def __post_init__(self) -> None:
        self.types = Types(self.kernel)
        self.texts = Expressions(self.kernel, self.types)

    def function(self) -> str:
        kernel = self.kernel
        self.prelude()
        self.statements(kernel.body)
        return "\n".join(
            [
                "@triton.jit",
                f"def {kernel.name}(",
                *parameters(kernel),
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
            position = "program" if axis is grid[0] else f"program % {tight(count)}"
            if axis.reverse:
                position = f"{count} - 1 - {position}"
            self.emit(f"{name} = {position}")
            if axis is not grid[0]:
                self.emit(f"program = program // {tight(count)}")
            if axis.kind is AxisKind.TILE:
                block = axis.block
                self.emit(f"{axis.name}_first = {name} * {block}")
                self.emit(f"{axis.name} = {axis.name}_first + tl.arange(0, {block})")
            self.parts(axis)
        for axis in self.kernel.axes:
            if axis.kind is AxisKind.LANE:
                offset = f"{axis.offset} + " if axis.offset else ""
                self.emit(f"{axis.name} = {offset}tl.arange(0, {axis.block})")
                self.parts(axis)
        for stmt, _ in statements(self.kernel.body):
            if isinstance(stmt, (Store, Atomic)):
                self.pointer(stmt.tensor, stmt.index)
            for expr in held(stmt):
                for node in walk(expr):
                    if isinstance(node, Load):
                        self.pointer(node.tensor, node.index)

    def pointer(self, tensor: str, index: tuple[Expr, ...]) -> None:
        line = self.texts.pointer(tensor, index)
        if line is not None:
            self.emit(line)

    def mentions_compute(self) -> bool:
        return any(
            isinstance(node, (Cast, Const)) and node.dtype is DType.COMPUTE
            for stmt, _ in statements(self.kernel.body)
            for expr in held(stmt)
            for node in walk(expr)
        )

    def count(self, axis: Axis) -> str:
        """Blocks on an axis of the grid."""
        extent = self.texts.expr(axis.extent)
        if axis.kind is AxisKind.GRID:
            return extent
        return f"(({bare(extent)} + {axis.block} - 1) // {axis.block})"

    def parts(self, axis: Axis) -> None:
        inner: list[str] = []
        texts = []
        for k, part in reversed(list(enumerate(axis.parts))):
            extent = self.texts.expr(part.extent)
            text = axis.name
            if inner:
                text += f" // {tight(' * '.join(inner))}"
            if k:
                text += f" % {tight(extent)}"
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
                text = self.texts.expr(value)
                if isinstance(value, Const) and not value.axes and value.dtype is DType.ACCUMULATE:
                    text = f"tl.full((), {text}, {DTYPES[value.dtype]})"  # a loop may rebind it
                self.emit(f"{name} = {bare(text)}")
                self.types.names[name] = self.types.of(value)
            case For(axis=name, lo=lo, hi=hi, body=body):
                axis = self.kernel.axis(name)
                serial = axis.kind is AxisKind.SERIAL
                start = name if serial else f"{name}_start"
                step = "" if serial else f", {axis.block}"
                ends = f"{bare(self.texts.expr(lo))}, {bare(self.texts.expr(hi))}"
                self.emit(f"for {start} in range({ends}{step}):")
                self.depth += 1
                if not serial:
                    self.emit(f"{name} = {start} + tl.arange(0, {axis.block})")
                self.parts(axis)
                self.statements(body)
                self.depth -= 1
            case If(condition, body):
                self.emit(f"if {bare(self.texts.expr(condition))}:")
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
        text = self.texts.fitted(value, axes) if axes else self.texts.expr(value)
        if set(self.types.of(value).axes) != set(axes):
            text = f"tl.broadcast_to({bare(text)}, {self.texts.shape(axes)})"
        mask = "" if pred is None else f", mask={bare(self.texts.fitted(pred, axes))}"
        cast = f"{text}.to({tensor}.dtype.element_ty)"
        if isinstance(value, Const) and not value.axes:
            cast = f"tl.full({self.texts.shape(axes)}, {text}, {tensor}.dtype.element_ty)"
        return f"{self.texts.address(tensor, index)}, {cast}{mask}"
