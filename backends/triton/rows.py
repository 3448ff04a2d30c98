"""K5: pointwise steps and row reductions in one pass over memory, forward and backward.

A program holds a tile of rows × lanes in registers. The backward recomputes the forward from the
inputs and walks it in reverse (derivative.py). Gradients of tensors that all rows share are summed
per program and then over programs: no atomics, deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import assert_never

from tensorlang import registry
from tensorlang.backends.triton.build import add, integer, least, product, real, scale, walk
from tensorlang.backends.triton.configs import row_configs
from tensorlang.backends.triton.derivative import adjoints
from tensorlang.backends.triton.kernel_ir import (
    Axis,
    AxisKind,
    Cast,
    Const,
    DType,
    Expr,
    For,
    Iota,
    Kernel,
    Let,
    Load,
    Map,
    Part,
    Reduction,
    Ref,
    Role,
    Stmt,
    Store,
    Tensor,
)
from tensorlang.backends.triton.ssa import Values
from tensorlang.backends.triton.tails import mask_tails, tail
from tensorlang.backends.triton.types import Type
from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    App,
    Arg,
    At,
    Contract,
    Group,
    Lit,
    Node,
    Pointwise,
    Read,
    Scalar,
    SizeOf,
    Softmax,
)
from tensorlang.ir.nodes import Iota as Position
from tensorlang.ir.nodes import Reduce as ReduceNode
from tensorlang.library.signature import promoted
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.rows import Space
from tensorlang.size import Size

INF = math.inf
_DTYPE = {Dtype.BOOL: DType.BOOL, Dtype.INT: DType.INT, Dtype.REAL: DType.ACCUMULATE}


class Gradient(Enum):
    """How the gradient of an operand leaves the kernel."""

    DIRECT = "direct"  # stored in place, one cell per cell of the operand
    PARTIAL = "partial"  # one copy per program, [P, lanes…]: summed over the first axis
    SPREAD = "spread"  # over the whole space: summed over the axes that the operand lacks


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor at one index. `axes` are the axes of the space that it has, in its order.

    `dims` gives per dimension of the tensor the axes of the space that index it, row-major.
    """

    name: str
    slot: Slot
    dtype: Dtype
    dims: tuple[tuple[int, ...], ...]
    gradient: Gradient | None

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(axis for dim in self.dims for axis in dim)


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    slot: Slot
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The kernels of one group. `sizes` are the run-time sizes by argument name, in order.

    `persistent`: the backward takes P programs that walk SPAN rows each.
    """

    operands: tuple[Operand, ...]
    results: tuple[Result, ...]
    sizes: tuple[tuple[str, Size], ...]
    space: Space
    forward: Kernel
    backward: Kernel | None
    persistent: bool


def kernels(
    name: str,
    steps: Sequence[Step],
    space: Space,
    needed: Sequence[Slot],
    dtypes: Mapping[Slot, Dtype],
) -> Rows:
    """Kernels of a group of steps in their space; `dtypes` of the slots read from outside."""
    build = _Build(name, tuple(steps), space, tuple(needed), dtypes)
    forward = build.forward()
    operands = tuple(build.operands.values())
    if any(o.dtype is Dtype.REAL for o in operands):
        backward = build.backward()
        operands = tuple(
            replace(o, gradient=build.gradient(o)) if o.name in build.reached else o
            for o in operands
        )
    else:
        backward = None
    if all(operand.gradient is None for operand in operands):
        backward = None  # rounding and comparisons alone
    return Rows(
        operands,
        tuple(build.results()),
        tuple(build.sizes.items()),
        space,
        mask_tails(forward),
        None if backward is None else mask_tails(backward),
        build.persistent,
    )


def spread(space: Space, operand: Operand) -> tuple[int, ...]:
    """Axes of the tensor that holds a SPREAD gradient: all, or the rows if lanes are summed."""
    if space.whole and not set(operand.axes) & set(space.lanes):
        return space.rows
    return (*space.rows, *space.lanes)


@dataclass(slots=True)
class _Build:
    name: str
    steps: tuple[Step, ...]
    space: Space
    needed: tuple[Slot, ...]
    dtypes: Mapping[Slot, Dtype]
    sizes: dict[str, Size] = field(default_factory=dict)
    operands: dict[tuple[Slot, tuple[tuple[int, ...], ...]], Operand] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    persistent: bool = False

    # --- the space -------------------------------------------------------------------------------
    def axis_name(self, axis: int) -> str:
        letter, axes = (
            ("r", self.space.rows) if axis in self.space.rows else ("l", self.space.lanes)
        )
        return f"{letter}{axes.index(axis)}" if len(axes) > 1 else letter

    def extent(self, axis: int) -> Expr:
        return self.size(self.space.sizes[axis], self.axis_name(axis).upper())

    def size(self, size: Size, name: str) -> Expr:
        """A size as an expression: a number, or an argument of that name."""
        if isinstance(size, int):
            return integer(size)
        for known, value in self.sizes.items():
            if value == size:
                return Ref(known)
        if name in self.sizes:
            name = f"{name}_{len(self.sizes)}"
        self.sizes[name] = size
        return Ref(name)

    def split(self, axes: Sequence[int]) -> tuple[Part, ...]:
        if len(axes) < 2:
            return ()
        return tuple(Part(self.axis_name(axis), self.extent(axis)) for axis in axes)

    def rows(self, kind: AxisKind) -> Axis:
        extent = product(*(self.extent(axis) for axis in self.space.rows))
        if not self.space.rows:
            return Axis("r", AxisKind.GRID, integer(1))
        return Axis("r", kind, extent, "BR", self.split(self.space.rows))

    def lanes(self) -> Axis:
        extent = product(*(self.extent(axis) for axis in self.space.lanes))
        kind = AxisKind.LANE if self.space.whole else AxisKind.TILE
        return Axis("l", kind, extent, "BL", self.split(self.space.lanes))

    # --- kernels ---------------------------------------------------------------------------------
    def forward(self) -> Kernel:
        axes = [self.rows(AxisKind.TILE), self.lanes()]
        values = Values(self.empty("forward", axes, "Results of the group."))
        made = self.evaluate(values)
        stores = tuple(
            Store(result.name, self.positions(result.axes), made[result.slot])
            for result in self.results()
        )
        tensors = [self.argument(o) for o in self.operands.values()]
        tensors += [
            Tensor(r.name, Role.OUT, DType.COMPUTE, tuple(map(self.extent, r.axes)))
            for r in self.results()
        ]
        return replace(
            values.kernel,
            tensors=tuple(tensors),
            sizes=tuple(self.sizes),
            body=(*values.lets, *stores),
        )

    def backward(self) -> Kernel:
        """Recomputes the results, then their adjoints; see Gradient for what leaves."""
        kinds = {o.name: self.gradient(o) for o in self.operands.values() if self.real(o)}
        persistent = self.persistent = Gradient.PARTIAL in kinds.values()
        axes = [self.rows(AxisKind.CHUNK if persistent else AxisKind.TILE), self.lanes()]
        if persistent:
            axes.insert(0, Axis("p", AxisKind.GRID, Ref("P")))
        values = Values(self.empty("backward", axes, "Gradients of the operands."))
        made = self.evaluate(values)
        seeds: dict[str, Expr] = {}
        for result in self.results():
            value = made[result.slot]
            seed = values.load(f"G{result.name}", self.positions(result.axes), DType.ACCUMULATE)
            for axis in values.type(seed).axes:
                if axis not in values.type(value).axes:  # the value is the same along the axis
                    seed = values.sum(seed, axis)
            if isinstance(value, Ref):
                other = seeds.get(value.name)
                seeds[value.name] = seed if other is None else values.map("add", other, seed)
        loads = {
            let.value.a.tensor: let.name
            for let in values.lets
            if isinstance(let.value, Cast) and isinstance(let.value.a, Load)
        }
        found = adjoints(values, seeds)
        stores: list[Stmt] = []
        before: list[Stmt] = []
        after: list[Stmt] = []
        inner: list[Stmt] = []
        carried: list[str] = []
        tensors = [self.argument(o) for o in self.operands.values()]
        tensors += [
            Tensor(f"G{r.name}", Role.IN, DType.COMPUTE, tuple(map(self.extent, r.axes)))
            for r in self.results()
        ]
        for operand in self.operands.values():
            adjoint = found.get(loads.get(operand.name, ""))
            if not self.real(operand) or adjoint is None:
                continue
            self.reached.add(operand.name)
            out = f"D{operand.name}"
            match kinds[operand.name]:
                case Gradient.DIRECT:
                    tensors.append(replace(self.argument(operand), name=out, role=Role.OUT))
                    stores.append(Store(out, self.index(operand.dims), adjoint))
                case Gradient.SPREAD:
                    space = self.spread(operand)
                    extents = tuple(map(self.extent, space))
                    tensors.append(Tensor(out, Role.OUT, DType.ACCUMULATE, extents))
                    stores.append(
                        Store(out, self.positions(space), self.once(values, adjoint, space))
                    )
                case Gradient.PARTIAL:
                    extents = (Ref("P"), *map(self.extent, operand.axes))
                    tensors.append(Tensor(out, Role.OUT, DType.ACCUMULATE, extents))
                    name = f"sum_{operand.name}"
                    lanes = tuple(axis for axis in values.type(adjoint).axes if axis != "r")
                    if operand.axes and not lanes:
                        lanes = ("l",)
                    before.append(Let(name, Const(0.0, DType.ACCUMULATE, lanes)))
                    inner.append(Let(name, Map("add", (Ref(name), adjoint))))
                    carried.append(name)
                    index = (Iota("p"), *self.positions(operand.axes))
                    after.append(Store(out, index, Ref(name)))
                case _:
                    assert_never(kinds[operand.name])
        body: tuple[Stmt, ...]
        if persistent:
            lo = product(Iota("p"), Ref("SPAN"), Ref("BR"))
            hi = least(values.kernel.axis("r").extent, add(lo, product(Ref("SPAN"), Ref("BR"))))
            outer, looped = self.hoisted(values)
            loop = For("r", Ref("lo"), Ref("hi"), tuple(carried), (*looped, *stores, *inner))
            body = (Let("lo", lo), Let("hi", hi), *outer, *before, loop, *after)
        else:
            body = (*values.lets, *stores)
        sizes = (*self.sizes, "P", "SPAN") if persistent else tuple(self.sizes)
        return replace(values.kernel, tensors=tuple(tensors), sizes=sizes, body=body)

    def spread(self, operand: Operand) -> tuple[int, ...]:
        """Axes over which a gradient is stored that rows or tiles of lanes share."""
        return spread(self.space, operand)

    def once(self, values: Values, adjoint: Expr, space: Sequence[int]) -> Expr:
        """An adjoint that is summed over a tile's axis already counts at the tile's first cell."""
        stored = {"r"} if set(space) & set(self.space.rows) else set()
        stored |= {"l"} if set(space) & set(self.space.lanes) else set()
        for axis, block in (("r", "BR"), ("l", "BL")):
            if axis in stored and axis not in values.type(adjoint).axes:
                first = values.map("eq", Map("mod", (Iota(axis), Ref(block))), integer(0))
                adjoint = values.map("where", first, adjoint, real(0))
        return adjoint

    def hoisted(self, values: Values) -> tuple[list[Let], list[Let]]:
        """Values that are the same for all rows, and the others."""
        outer: list[Let] = []
        looped: list[Let] = []
        inner: set[str] = set()
        rows = {"r", *(self.axis_name(axis) for axis in self.space.rows)}
        for let in values.lets:
            nodes = list(walk(let.value))
            if any(
                (isinstance(node, Iota) and node.axis in rows)
                or (isinstance(node, Ref) and node.name in inner)
                or (isinstance(node, Const) and "r" in node.axes)
                for node in nodes
            ):
                inner.add(let.name)
                looped.append(let)
            else:
                outer.append(let)
        return outer, looped

    def empty(self, what: str, axes: list[Axis], doc: str) -> Kernel:
        """The kernel without its body; all tensors are there so that values can be typed."""
        for k, step in enumerate(self.steps):
            for read in step.node.reads:
                if read.node not in self.space.values:
                    self.operand(read, k)
        tensors = [self.argument(o) for o in self.operands.values()]
        tensors += [Tensor(f"G{r.name}", Role.IN, DType.COMPUTE, ()) for r in self.results()]
        lanes: int | None = 0
        if self.space.whole:
            sizes = [self.space.sizes[axis] for axis in self.space.lanes]
            known = [size for size in sizes if isinstance(size, int)]
            lanes = math.prod(known) if len(known) == len(sizes) else None
        configs = row_configs(lanes, bool(self.space.rows))
        arguments = (*self.sizes, "P", "SPAN")
        return Kernel(
            f"{self.name}_{what}", doc, tuple(tensors), arguments, tuple(axes), (), configs
        )

    # --- operands --------------------------------------------------------------------------------
    def operand(self, read: Read, step: int) -> Operand:
        place = self.space.places[step]
        dims: list[tuple[int, ...]] = []
        for subscript in read.subscripts:
            match subscript:
                case At(index):
                    dims.append((place[index],))
                case Group(indices):
                    dims.append(tuple(place[index] for index in indices))
                case _:
                    raise AssertionError(read)
        key = (read.node, tuple(dims))
        if key not in self.operands:
            name = f"X{len(self.operands)}"
            self.operands[key] = Operand(name, read.node, self.dtypes[read.node], key[1], None)
        return self.operands[key]

    def argument(self, operand: Operand) -> Tensor:
        dtype = {Dtype.REAL: DType.COMPUTE}.get(operand.dtype, _DTYPE[operand.dtype])
        extents = tuple(product(*map(self.extent, dim)) for dim in operand.dims)
        return Tensor(operand.name, Role.IN, dtype, extents)

    def results(self) -> list[Result]:
        return [
            Result(f"Y{k}", slot, self.space.values[slot]) for k, slot in enumerate(self.needed)
        ]

    def real(self, operand: Operand) -> bool:
        return operand.dtype is Dtype.REAL

    def gradient(self, operand: Operand) -> Gradient:
        axes = set(operand.axes)
        lanes = axes & set(self.space.lanes)
        if axes.issuperset(self.space.rows):
            if lanes == set(self.space.lanes) or (not lanes and self.space.whole):
                return Gradient.DIRECT
        elif not axes & set(self.space.rows) and (
            lanes == set(self.space.lanes) or (not lanes and self.space.whole)
        ):
            return Gradient.PARTIAL
        return Gradient.SPREAD

    def position(self, axis: int) -> Expr:
        return Iota(self.axis_name(axis))

    def positions(self, axes: Sequence[int]) -> tuple[Expr, ...]:
        return tuple(self.position(axis) for axis in axes)

    def index(self, dims: Sequence[Sequence[int]]) -> tuple[Expr, ...]:
        out = []
        for dim in dims:
            total: Expr = integer(0)
            for axis in dim:
                total = add(scale(total, self.extent(axis)), self.position(axis))
            out.append(total)
        return tuple(out)

    # --- values ----------------------------------------------------------------------------------
    def evaluate(self, values: Values) -> dict[Slot, Expr]:
        """Every step's value, in order."""
        made: dict[Slot, Expr] = {}
        for k, step in enumerate(self.steps):
            reads = [self.read(values, read, k, made) for read in step.node.reads]
            made[step.out] = self.step(values, step.node, k, reads)
        return made

    def read(self, values: Values, read: Read, step: int, made: Mapping[Slot, Expr]) -> Expr:
        if read.node in made:
            return made[read.node]
        operand = self.operand(read, step)
        return values.load(operand.name, self.index(operand.dims), _DTYPE[operand.dtype])

    def step(self, values: Values, node: Node, step: int, reads: list[Expr]) -> Expr:
        match node.op:
            case Pointwise(expr):
                kinds = [self.dtype(read.node) for read in node.reads]
                value, dtype = _Scalar(self, values, step, reads, kinds).value(expr)
                return values.cast(value, _DTYPE[max(dtype, node.dtype)])
            case Contract(coefficient):
                assert not isinstance(coefficient, complex), node
                factors = [values.cast(read, DType.ACCUMULATE) for read in reads]
                value = values.map("mul", *factors)
                if node.bound:
                    value = values.sum(value, "l")
                return values.map("mul", value, real(coefficient))
            case ReduceNode(ReduceOp.LOGSUMEXP):
                _, top, total = self.exponentials(values, reads[0], None)
                seen = values.map("gt", total, real(0))
                log = values.map("log", values.map("where", seen, total, real(1)))
                return values.map("where", seen, values.map("add", log, top), real(-INF))
            case ReduceNode(op):
                kind = {ReduceOp.MAX: Reduction.MAX, ReduceOp.MIN: Reduction.MIN}[op]
                return values.reduce(kind, reads[0], "l")
            case Softmax(log=log):
                mask = reads[1] if len(reads) > 1 else None
                shifted, _, total = self.exponentials(values, reads[0], mask)
                seen = values.map("gt", total, real(0))
                divisor = values.map("where", seen, total, real(1))
                if not log:
                    return values.map("div", values.map("exp", shifted), divisor)
                value = values.map("sub", shifted, values.map("log", divisor))
                return values.map("where", seen, value, real(0))
        raise AssertionError(node)

    def exponentials(self, values: Values, x: Expr, mask: Expr | None) -> tuple[Expr, Expr, Expr]:
        """x minus the maximum of its row (-inf where masked), that maximum, the sum of exp."""
        x = values.cast(x, DType.ACCUMULATE)
        keep = [values.let(c, "in") for c in (tail(values.kernel, "l"),) if c is not None]
        if mask is not None:
            keep.append(mask)
        kept = None
        if keep:
            kept = keep[0] if len(keep) == 1 else values.map("and", *keep)
        masked = x if kept is None else values.map("where", kept, x, real(-INF))
        largest = values.let(Map("stopgrad", (values.reduce(Reduction.MAX, masked, "l"),)))
        none = values.map("eq", largest, real(-INF))
        top = values.map("where", none, real(0), largest)
        shifted = values.map("sub", x, top)
        if kept is not None:
            shifted = values.map("where", kept, shifted, real(-INF))
        return shifted, top, values.sum(values.map("exp", shifted), "l")

    def dtype(self, slot: Slot) -> Dtype:
        for step in self.steps:
            if step.out == slot:
                return step.node.dtype
        return self.dtypes[slot]


@dataclass(frozen=True, slots=True)
class _Scalar:
    """The value of a Pointwise's expression."""

    build: _Build
    values: Values
    step: int
    reads: list[Expr]
    kinds: list[Dtype]

    def value(self, expr: Scalar) -> tuple[Expr, Dtype]:
        match expr:
            case Arg(position):
                return self.reads[position], self.kinds[position]
            case Lit(value, dtype):
                assert not isinstance(value, complex), expr
                if dtype is Dtype.REAL:
                    return real(value), dtype
                return Const(value, _DTYPE[dtype]), dtype
            case Position(index):
                return self.build.position(self.build.space.places[self.step][index]), Dtype.INT
            case SizeOf(size):
                known = self.build.size(size, f"S{len(self.build.sizes)}")
                if isinstance(known, Ref):
                    self.values.types.names[known.name] = Type(DType.INT)
                return known, Dtype.INT
            case App(function, args, dtype):
                return self.values.cast(self.app(function, args), _DTYPE[dtype]), dtype
        assert_never(expr)

    def app(self, function: str, args: tuple[Scalar, ...]) -> Expr:
        if function == "pow":
            (exponent,) = (arg for arg in args[1:] if isinstance(arg, Lit))
            assert not isinstance(exponent.value, complex), exponent
            base, _ = self.value(args[0])
            return self.values.power(self.cast(base, Dtype.REAL), float(exponent.value))
        pairs = [self.value(arg) for arg in args]
        if function in ("to_real", "to_int"):
            return self.cast(pairs[0][0], Dtype.REAL if function == "to_real" else Dtype.INT)
        row = registry.functions()[function]
        kinds = promoted(row, tuple(dtype for _, dtype in pairs))
        cast = [self.cast(value, kind) for (value, _), kind in zip(pairs, kinds, strict=True)]
        return self.values.map(function, *cast)

    def cast(self, expr: Expr, dtype: Dtype) -> Expr:
        return self.values.cast(expr, _DTYPE[dtype])
