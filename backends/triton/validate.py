"""The rules that every kernel obeys before it is printed; a problem starts with its rule's number.

1 blocks, 2 masks, 3 races, 4 carried values, 5 casts, 7 loop bounds (coverage.py), 8 empty rows
of a softmax, 9 uniform control, 10 registers, 11 grid, 13 portable words, 14 roles. 64-bit base
offsets (6) and strides (14) are how expressions.py writes addresses; that gradients exist (12) is
for the families.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from tensorlang.backends.triton import coverage
from tensorlang.backends.triton.build import children, conjuncts, expressions, statements, walk
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
    Store,
    block_of,
)
from tensorlang.backends.triton.padding import IDENTITY, UNKNOWN, Padding
from tensorlang.backends.triton.print import to_triton
from tensorlang.backends.triton.tails import has_tail, inside
from tensorlang.backends.triton.types import Types

MOST_CELLS = 32768
MOST_REGISTERS = 255
MOST_SHARED = 227 * 1024
FORBIDDEN = ("make_block_ptr", "tl.advance", "boundary_check", "allow_tf32", "_start.to(")


def validate(kernel: Kernel) -> Kernel:
    """The kernel, if it obeys every rule; else an AssertionError with all that is wrong."""
    found = problems(kernel)
    assert not found, (kernel.name, found)
    return kernel


def problems(kernel: Kernel) -> list[str]:
    """What is wrong with a kernel, each starting with the number of the rule."""
    checker = _Checker(kernel)
    try:
        checker.types.bind(kernel.body)
    except AssertionError as error:
        return [f"4: {error.args[0]}"]
    found = [*checker.axes(), *checker.body()]
    if not found:
        found = [*coverage.problems(kernel), *_printed(kernel)]
    return list(dict.fromkeys(found))


def _printed(kernel: Kernel) -> Iterator[str]:
    text = to_triton(kernel)
    for word in FORBIDDEN:
        if word in text:
            yield f"13: {word} is not in every version of Triton"


@dataclass(slots=True)
class _Checker:
    kernel: Kernel
    types: Types = field(init=False)
    lets: dict[str, Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.types = Types(self.kernel)
        bound: dict[str, int] = {}
        for stmt, _ in statements(self.kernel.body):
            if isinstance(stmt, Let):
                bound[stmt.name] = bound.get(stmt.name, 0) + 1
                self.lets[stmt.name] = stmt.value
        carried = {
            n for s, _ in statements(self.kernel.body) if isinstance(s, For) for n in s.carried
        }
        self.lets = {name: e for name, e in self.lets.items() if name not in carried}

    # --- axes ------------------------------------------------------------------------------------
    def axes(self) -> Iterator[str]:
        kernel = self.kernel
        if not any(axis.kind in GRID_KINDS for axis in kernel.axes):
            yield "11: no axis of the grid"
        for axis in kernel.axes:
            for config in kernel.configs:
                block = block_of(axis, config)
                scalar = axis.kind in (AxisKind.GRID, AxisKind.SERIAL)
                if scalar and block != 1:
                    yield f"1: {axis.name} is walked one by one, its block is {block}"
                if block & (block - 1) or block < 1:
                    yield f"1: block {block} of {axis.name} is no power of two"
                whole = axis.kind is AxisKind.LANE and isinstance(axis.extent, Const)
                if whole and _length(axis) > block:
                    yield f"1: {axis.name} does not fit in its block of {block}"
        for config in kernel.configs[:1]:
            for name, type_ in self.types.names.items():
                if math.prod(self.block(axis, config) for axis in type_.axes) > MOST_CELLS:
                    yield f"1: {name} has more than {MOST_CELLS} cells"
        estimate = self.registers()
        if estimate > MOST_REGISTERS:
            yield f"10: about {estimate} registers a thread"
        shared = self.shared()
        if shared > MOST_SHARED:
            yield f"10: about {shared} bytes of shared memory"

    def block(self, axis: str, config: Config) -> int:
        return block_of(self.kernel.axis(axis), config)

    def registers(self) -> int:
        """Words a thread needs for carried tiles and the largest product, and 40 more."""
        config = self.kernel.configs[0]
        threads = 32 * config.warps
        loops = [s for s, _ in statements(self.kernel.body) if isinstance(s, For)]
        carried = dict.fromkeys(n for s in loops for n in s.carried if n in self.types.names)
        cells = sum(
            math.prod(self.block(axis, config) for axis in self.types.names[name].axes)
            for name in carried
        )
        dots = [
            math.prod(self.block(axis, config) for axis in self.types.of(node).axes)
            for stmt, _ in statements(self.kernel.body)
            for expr in expressions(stmt)
            for node in walk(expr)
            if isinstance(node, Dot)
        ]
        return 40 + cells // threads + max(dots, default=0) // threads

    def shared(self) -> int:
        """Bytes of Dot operands that a pipeline stage loads, times stages; 2 bytes a number."""
        config = self.kernel.configs[0]
        loaded = [
            node
            for stmt, loops in statements(self.kernel.body)
            if loops and loops[0].full
            for expr in expressions(stmt)
            for node in walk(expr)
            if isinstance(node, Cast) and isinstance(node.a, Load)
        ]
        cells = [
            math.prod(self.block(axis, config) for axis in self.types.of(node).axes)
            for node in loaded
            if node.dtype is DType.COMPUTE
        ]
        return 2 * sum(cells) * config.stages

    # --- statements ------------------------------------------------------------------------------
    def body(self) -> Iterator[str]:
        bound: dict[str, tuple[For, ...]] = {}
        for stmt, loops in statements(self.kernel.body):
            full = frozenset(loop.axis for loop in loops if loop.full)
            for expr in expressions(stmt):
                for node, parent in _with_parents(expr):
                    yield from self.expression(node, parent, full)
            match stmt:
                case Let(name, value):
                    yield from self.let(name, value, loops, bound)
                case For():
                    yield from self.loop(stmt)
                case If(condition, _):
                    if self.types.of(condition).axes:
                        yield "9: the condition of an If is a tile"
                case Store() | Atomic():
                    yield from self.write(stmt, loops, full)

    def let(
        self, name: str, value: Expr, loops: tuple[For, ...], bound: dict[str, tuple[For, ...]]
    ) -> Iterator[str]:
        carried = any(name in loop.carried for loop in loops)
        if name in bound and not carried and loops == bound[name]:
            yield f"4: {name} is bound twice"
        bound.setdefault(name, loops)
        if carried:
            before, now = self.types.names[name], self.types.of(value)
            if before != now:
                yield f"4: {name} changes its type in a loop, {before} to {now}"

    def loop(self, loop: For) -> Iterator[str]:
        if self.types.of(loop.lo).axes or self.types.of(loop.hi).axes:
            yield f"9: a bound of the loop over {loop.axis} is a tile"
        if self.kernel.axis(loop.axis).kind not in (AxisKind.CHUNK, AxisKind.SERIAL):
            yield f"9: {loop.axis} is no axis to walk"
        before = {s.name for s, _ in statements(self.kernel.body) if isinstance(s, Let)}
        inside_ = {s.name for s, _ in statements(loop.body) if isinstance(s, Let)}
        for name in loop.carried:
            if name not in before or name not in inside_:
                yield f"4: {name} is carried but not bound before the loop and in it"
            elif self.types.names[name].dtype is not DType.ACCUMULATE:
                yield f"4: {name} is carried in {self.types.names[name].dtype.value}"

    def write(
        self, stmt: Store | Atomic, loops: tuple[For, ...], full: frozenset[str]
    ) -> Iterator[str]:
        tensor = self.kernel.tensor(stmt.tensor)
        yield from self.masked(stmt.tensor, stmt.index, stmt.pred, full)
        spread = set(self.types.of(stmt.value).axes) - set(self.types.union(stmt.index))
        if spread:
            yield f"3: {stmt.tensor} has no axis for {', '.join(sorted(spread))} of its value"
        if isinstance(stmt, Atomic):
            if tensor.role is not Role.ACC or tensor.dtype is not DType.ACCUMULATE:
                yield f"3: {stmt.tensor} is no accumulator"
            return
        if tensor.role is not Role.OUT:
            yield f"14: {stmt.tensor} is stored to but is no result"
        covered = {name for position in stmt.index for name in radix(position, self.kernel)}
        walked = [self.kernel.axis(loop.axis) for loop in loops]
        shared = {name for loop in loops for name in coverage.split_by(self.kernel, loop.axis)}
        grid = [a for a in self.kernel.axes if a.kind in GRID_KINDS and a.name not in shared]
        for axis in (*grid, *walked):
            parts = [axis.name] if not axis.parts else [p.name for p in axis.parts]
            missing = [p for p in parts if p not in covered and axis.name not in covered]
            if missing and axis.extent != Const(1, DType.INT):
                yield f"3: {stmt.tensor} is stored once for every {', '.join(missing)}"

    # --- expressions -----------------------------------------------------------------------------
    def expression(self, node: Expr, parent: Expr | None, full: frozenset[str]) -> Iterator[str]:
        match node:
            case Load(tensor, index, pred, _):
                yield from self.masked(tensor, index, pred, full)
                if not isinstance(parent, Cast):
                    yield f"5: {tensor} is used in its storage dtype"
                if self.kernel.tensor(tensor).role is not Role.IN:
                    yield f"14: {tensor} is read but is no input"
            case Map(op, args):
                kinds = [self.types.of(arg).dtype for arg in args]
                if DType.COMPUTE in kinds or DType.STORED in kinds:
                    yield f"5: {op} of a value in its storage dtype"
                if op in ("exp", "exp2"):
                    yield from self.guarded(args[0], full)
            case Dot(a, b, axis, acc):
                yield from self.dot(a, b, axis, acc, full)
            case Reduce(reduction, a, axis):
                if axis not in self.types.of(a).axes:
                    yield f"2: a reduction over {axis}, which its operand lacks"
                elif axis not in full and has_tail(self.kernel, self.kernel.axis(axis)):
                    held = self.padding().of(a, axis)
                    if held != IDENTITY[reduction]:
                        yield f"2: {reduction.value} over {axis} takes {held} past its end"

    def dot(
        self, a: Expr, b: Expr, axis: str, acc: Expr | None, full: frozenset[str]
    ) -> Iterator[str]:
        left, right = self.types.of(a), self.types.of(b)
        if (
            len(left.axes) != 2
            or len(right.axes) != 2
            or set(left.axes) & set(right.axes) != {axis}
        ):
            yield f"1: a Dot over {axis} of tiles {left.axes} and {right.axes}"
            return
        for name in dict.fromkeys((*left.axes, *right.axes)):
            if any(self.block(name, config) < 16 for config in self.kernel.configs):
                yield f"1: {name} of a Dot has a block below 16"
        others = tuple(x for x in (*left.axes, *right.axes) if x != axis)
        if self.types.order(others) != others:
            yield f"1: a Dot over {axis} makes a tile over {', '.join(others)}, the wrong way round"
        if left.dtype is not DType.COMPUTE or right.dtype is not DType.COMPUTE:
            yield "4: an operand of a Dot is not cast to its compute dtype"
        if acc is not None and self.types.of(acc).dtype is not DType.ACCUMULATE:
            yield "4: a Dot adds to a value that is no accumulator"
        if axis not in full and has_tail(self.kernel, self.kernel.axis(axis)):
            held = [self.padding().of(a, axis), self.padding().of(b, axis)]
            if 0.0 not in held or UNKNOWN in held:
                yield f"2: a Dot over {axis} takes {held[0]} times {held[1]} past its end"

    def guarded(self, argument: Expr, full: frozenset[str]) -> Iterator[str]:
        """Nothing that may be -inf is subtracted inside an exponential."""
        for node in walk(argument):
            expr = node
            if isinstance(expr, Ref):
                expr = self.lets.get(expr.name, expr)
            if isinstance(expr, Map) and expr.op == "sub" and not full:
                taken = expr.args[1]
                while True:
                    if isinstance(taken, Map) and taken.op in ("mul", "stopgrad"):
                        taken = taken.args[0]
                    elif isinstance(taken, Ref) and taken.name in self.lets:
                        taken = self.lets[taken.name]
                    else:
                        break
                maximum = isinstance(taken, Map) and taken.op == "max"
                reduced = isinstance(taken, Reduce) and taken.op is Reduction.MAX
                if maximum or reduced:
                    yield "8: a maximum that may be -inf is subtracted in an exponential"

    def masked(
        self, tensor: str, index: tuple[Expr, ...], pred: Expr | None, full: frozenset[str]
    ) -> Iterator[str]:
        axes = self.types.union(index)
        if len(index) != len(self.kernel.tensor(tensor).extents):
            yield f"14: {tensor} has {len(self.kernel.tensor(tensor).extents)} axes"
        for name in axes:
            axis = self.kernel.axis(name)
            masked = name in full or inside(axis) in conjuncts(pred)
            if not masked and has_tail(self.kernel, axis):
                yield f"2: {tensor} is accessed past the end of {name}"
        if pred is not None and not set(self.types.of(pred).axes) <= set(axes):
            yield f"2: the mask of {tensor} has axes that its index lacks"

    def padding(self) -> Padding:
        return Padding(self.kernel, self.types, self.lets)


def radix(position: Expr, kernel: Kernel) -> tuple[str, ...]:
    """Axes and parts of which a position is the row-major number; none if it is no such thing."""
    match position:
        case Iota(name):
            return (name,)
        case Map("add", (Map("mul", (outer, extent)), Iota(name))):
            if _extent(kernel, name) == extent and (rest := radix(outer, kernel)):
                return (*rest, name)
        case Map("add", (outer, Iota(name))) if _extent(kernel, name) == Const(1, DType.INT):
            if rest := radix(outer, kernel):  # a factor of one position
                return (*rest, name)
    return ()


def _length(axis: Axis) -> int:
    assert isinstance(axis.extent, Const), axis
    return int(axis.extent.value) - axis.offset


def _extent(kernel: Kernel, name: str) -> Expr:
    axis: Axis = kernel.axis(name)
    for part in axis.parts:
        if part.name == name:
            return part.extent
    return axis.extent


def _with_parents(expr: Expr, parent: Expr | None = None) -> Iterator[tuple[Expr, Expr | None]]:
    yield expr, parent
    for child in children(expr):
        yield from _with_parents(child, expr)
