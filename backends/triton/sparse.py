"""K3: multilinear forms with few terms at every point of a space, forward and backward.

A program takes one row and a block of lanes; components are values of their own, in registers.
Rows that an integer tensor picks are gathered as they are read and added to atomically as they are
written. The backward computes the gradients of all operands at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tensorlang.backends.triton.build import add, integer, real, walk
from tensorlang.backends.triton.kernel_ir import (
    Atomic,
    Axis,
    AxisKind,
    Cast,
    Config,
    Const,
    DType,
    Expr,
    For,
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
    Tensor,
)
from tensorlang.backends.triton.sparse_space import Space
from tensorlang.backends.triton.straight import (
    Line,
    Product,
    Straight,
    cell_name,
    gradients,
    program,
)
from tensorlang.backends.triton.tails import mask_tails
from tensorlang.plan.form import Cell, Component, Form, Free, Picked
from tensorlang.size import Size

WHOLE = 256
"""The most lanes that one block holds."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """The kernels of a form. `sizes` are the run-time sizes by argument name."""

    form: Form
    space: Space
    forward: Kernel
    backward: Kernel
    ordered: Ordered | None


@dataclass(frozen=True, slots=True)
class Ordered:
    """Kernels that add in the same order every time. `sums` by operand: programs own the rows that
    are added to, and walk over what lands there; `rest` has the gradients of all others."""

    sums: Mapping[int, Kernel]
    rest: Kernel | None

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return (*self.sums.values(), *(() if self.rest is None else (self.rest,)))


def kernels(name: str, form: Form, extents: Sequence[Sequence[Size]]) -> Sparse:
    """The kernels of a form; `extents` of its tensors, the result first."""
    space = Space(form, extents)
    for axis in (*space.rows, space.lane):
        space.extent(axis)
    for operand in range(len(form.operands)):
        space.shape(operand)
    forward = program(form.terms)
    seeds = {result: f"g{result}" for result in forward.results}
    backward = gradients(forward, seeds)
    build = _Build(name, space)
    every = range(1, len(form.operands))
    return Sparse(
        form,
        space,
        build.forward(forward),
        build.backward("backward", backward, every),
        _ordered(build, forward, backward),
    )


def _ordered(build: _Build, forward: Straight, backward: Straight) -> Ordered | None:
    """None if nothing is added to, or rows that several tensors pick, or sums over long lanes."""
    space = build.space
    atomic = [k for k in range(len(space.operands)) if space.atomic(k)]
    if not atomic or any(space.landing(k) is None for k in atomic):
        return None
    if build.long and not all(map(build.has_lane, atomic)):
        return None
    sums = {
        k: replace(build, operand=k).sums(backward.only(build.names(k)) if k else forward)
        for k in atomic
    }
    others = [k for k in range(1, len(space.operands)) if k not in atomic]
    if not others:
        return Ordered(sums, None)
    names = [name for k in others for name in build.names(k)]
    return Ordered(sums, build.backward("others", backward.only(names), others))


@dataclass(slots=True)
class _Build:
    """`operand`: the one whose rows the programs of a kernel own, None if they own points."""

    name: str
    space: Space
    operand: int | None = None

    def forward(self, straight: Straight) -> Kernel:
        space, straight = self.space, straight.inlined()
        loads = self.loads(straight.inputs, straight)
        writes: list[Stmt] = []
        for cell in self.cells(0):
            index = self.index(0, cell)
            value = Ref(straight.results[cell_name(0, cell)])
            writes.append(
                Atomic("Y", index, value) if space.atomic(0) else Store("Y", index, value)
            )
        y = Tensor("Y", *self.written(0), space.shape(0))
        tensors = (*self.inputs(), y)
        body = (*self.positions(), *loads, *map(_let, straight.lines), *writes)
        return self.kernel("forward", "The form.", tensors, body, tiled=True)

    def backward(self, what: str, straight: Straight, wanted: Sequence[int]) -> Kernel:
        """The gradients of some operands."""
        space, straight = self.space, straight.inlined()
        tensors = [*self.inputs(), Tensor("G", Role.IN, DType.COMPUTE, space.shape(0))]
        loads = self.loads(straight.inputs, straight)
        walked = self.long and not all(map(self.has_lane, wanted))
        outer: list[Stmt] = []
        inner: list[Stmt] = []
        before: list[Stmt] = []
        after: list[Stmt] = []
        carried: list[str] = []
        for operand in wanted:
            lost = tuple(Iota(space.axis_name(axis)) for axis in space.lost(operand))
            shape = tuple(space.extent(axis) for axis in space.lost(operand))
            role, dtype = self.written(operand)
            dtype = DType.ACCUMULATE if lost else dtype
            tensors.append(Tensor(f"D{operand}", role, dtype, (*shape, *space.shape(operand))))
            for cell in self.cells(operand):
                name = cell_name(operand, cell)
                value: Expr = Ref(straight.results[name])
                writes = inner
                if not self.has_lane(operand):
                    value = Reduce(Reduction.SUM, value, "u")
                    if walked:
                        before.append(Let(f"sum_{name}", real(0)))
                        inner.append(Let(f"sum_{name}", Map("add", (Ref(f"sum_{name}"), value))))
                        carried.append(f"sum_{name}")
                        value, writes = Ref(f"sum_{name}"), after
                    else:
                        inner.append(Let(f"sum_{name}", value))
                        value = Ref(f"sum_{name}")
                index = (*lost, *self.index(operand, cell))
                kind = Atomic if space.atomic(operand) else Store
                writes.append(kind(f"D{operand}", index, value))
        outer += self.positions()
        lines: list[Stmt] = [*loads, *map(_let, straight.lines)]
        body: tuple[Stmt, ...] = (*outer, *lines, *inner)
        if walked:
            fixed, moving = self.hoisted((*outer, *lines))
            loop = For("u", integer(0), space.extent(space.lane), tuple(carried), (*moving, *inner))
            body = (*fixed, *before, loop, *after)
        doc = "The gradients of its operands."
        return self.kernel(what, doc, tuple(tensors), body, tiled=not walked)

    def sums(self, straight: Straight) -> Kernel:
        """The result or one gradient, its rows owned: P has the points in the order of the rows
        that they land in, S where those of each row start."""
        space, operand, straight = self.space, self.operand, straight.inlined()
        landing = self.owned
        assert operand is not None
        assert landing is not None
        out = f"D{operand}" if operand else "Y"
        count = space.shape(operand)[space.operands[operand].dims.index(landing)]
        walked = space.extent(landing.axes[0])
        tensors = self.inputs()
        if operand:
            tensors.append(Tensor("G", Role.IN, DType.COMPUTE, space.shape(0)))
        tensors.append(Tensor("P", Role.IN, DType.INT, (walked,)))
        tensors.append(Tensor("S", Role.IN, DType.INT, (add(count, integer(1)),)))
        tensors.append(Tensor(out, Role.OUT, DType.COMPUTE, space.shape(operand)))
        inner: list[Stmt] = [Let("at_row", _whole(Load("P", (Iota("s"),)))), *self.positions()]
        inner += [*self.loads(straight.inputs, straight), *map(_let, straight.lines)]
        before: list[Stmt] = [
            Let("lo", _whole(Load("S", (Iota("n"),)))),
            Let("hi", _whole(Load("S", (add(Iota("n"), integer(1)),)))),
        ]
        after: list[Stmt] = []
        names = self.names(operand)
        for cell, name in zip(self.cells(operand), names, strict=True):
            lanes = ("u",) if self.has_lane(operand) else ()
            value: Expr = Ref(straight.results[name])
            value = value if lanes else Reduce(Reduction.SUM, value, "u")
            before.append(Let(f"sum_{name}", Const(0.0, DType.ACCUMULATE, lanes)))
            inner.append(Let(f"sum_{name}", Map("add", (Ref(f"sum_{name}"), value))))
            after.append(Store(out, self.index(operand, cell), Ref(f"sum_{name}")))
        carried = tuple(f"sum_{name}" for name in names)
        loop = For("s", Ref("lo"), Ref("hi"), carried, tuple(inner))
        what = "sums" if operand == 0 else f"sums_{operand}"
        doc = "The form, sums in order." if operand == 0 else "A gradient, sums in order."
        body = (*before, loop, *after)
        return self.kernel(what, doc, tuple(tensors), body, tiled=True, owned=(count, walked))

    # --- parts ---
    @property
    def long(self) -> bool:
        """Whether lanes may need several blocks."""
        size = self.space.form.sizes[self.space.lane]
        return not isinstance(size, int) or size > WHOLE

    def has_lane(self, operand: int) -> bool:
        return self.space.lane in self.space.operands[operand].axes

    def config(self) -> Config:
        """A lane a thread."""
        size = self.space.form.sizes[self.space.lane]
        block = 128
        if isinstance(size, int) and not self.long:
            block = max(32, 1 << (size - 1).bit_length())
        return Config((("BU", block),), max(1, min(4, block // 32)), 1)

    def kernel(
        self,
        what: str,
        doc: str,
        tensors: tuple[Tensor, ...],
        body: tuple[Stmt, ...],
        tiled: bool,
        owned: tuple[Expr, Expr] | None = None,
    ) -> Kernel:
        space = self.space
        rows = [axis for axis in space.rows if self.at(axis) == Iota(space.axis_name(axis))]
        axes = [Axis(space.axis_name(a), AxisKind.GRID, space.extent(a)) for a in rows]
        if owned is not None:
            axes.insert(0, Axis("n", AxisKind.GRID, owned[0]))
            axes.append(Axis("s", AxisKind.SERIAL, owned[1]))
        kind = AxisKind.LANE
        if self.long:
            kind = AxisKind.TILE if tiled else AxisKind.CHUNK
        if not axes and kind is not AxisKind.TILE:
            axes.append(Axis("one", AxisKind.GRID, integer(1)))
        axes.append(Axis("u", kind, space.extent(space.lane), "BU"))
        named = tuple(space.sizes)
        made = Kernel(
            f"{self.name}_{what}", doc, tensors, named, tuple(axes), body, (self.config(),)
        )
        return mask_tails(made)

    def inputs(self) -> list[Tensor]:
        space = self.space
        out = [
            Tensor(f"X{k}", Role.IN, DType.COMPUTE, space.shape(k))
            for k in range(1, len(space.operands))
        ]
        for picked in self.picks():
            shape = tuple(space.extent(axis) for axis in picked.axes)
            out.append(Tensor(space.position_tensor(picked), Role.IN, DType.INT, shape))
        return out

    def written(self, operand: int) -> tuple[Role, DType]:
        if self.space.atomic(operand):
            return Role.ACC, DType.ACCUMULATE
        return Role.OUT, DType.COMPUTE

    def cells(self, operand: int) -> list[Cell]:
        return sorted({term.cells[operand] for term in self.space.form.terms})

    def positions(self) -> list[Let]:
        space = self.space
        lets = []
        for picked in self.picks():
            name = space.position_tensor(picked)
            index = tuple(self.at(axis) for axis in picked.axes)
            lets.append(Let(f"at_{name}", _whole(Load(name, index))))
        return lets

    @property
    def owned(self) -> Picked | None:
        """What picks the rows that programs own."""
        return None if self.operand is None else self.space.landing(self.operand)

    def picks(self) -> list[Picked]:
        """What picks the others."""
        return [picked for picked in self.space.picks if picked != self.owned]

    def at(self, axis: int) -> Expr:
        """Where a program stands on an axis of the space."""
        if self.owned is not None and axis == self.owned.axes[0]:
            return Ref("at_row")
        return Iota(self.space.axis_name(axis))

    def names(self, operand: int) -> list[str]:
        return [cell_name(operand, cell) for cell in self.cells(operand)]

    def index(self, operand: int, cell: Cell) -> tuple[Expr, ...]:
        space, numbers = self.space, iter(cell)
        out: list[Expr] = []
        for dim in space.operands[operand].dims:
            match dim:
                case Free(axis):
                    out.append(self.at(axis))
                case Picked() if dim == self.owned:
                    out.append(Iota("n"))
                case Picked():
                    out.append(Ref(f"at_{space.position_tensor(dim)}"))
                case Component():
                    out.append(integer(next(numbers)))
        return tuple(out)

    def loads(self, wanted: Sequence[str], straight: Straight) -> list[Let]:
        """The inputs that a program reads or gives back, operand by operand."""
        needed = {*wanted, *straight.results.values()} - {line.name for line in straight.lines}
        lets = []
        for operand in range(len(self.space.operands)):
            for cell in self.cells(operand):
                name = cell_name(operand, cell) if operand else f"g{cell_name(0, cell)}"
                if name in needed:
                    load = Load(f"X{operand}" if operand else "G", self.index(operand, cell))
                    lets.append(Let(name, Cast(load, DType.ACCUMULATE)))
        return lets

    def hoisted(self, lets: Sequence[Stmt]) -> tuple[list[Stmt], list[Stmt]]:
        """What is the same for all lanes, and the rest."""
        fixed: list[Stmt] = []
        moving: list[Stmt] = []
        varies: set[str] = set()
        for let in lets:
            assert isinstance(let, Let), let
            if _reads_lanes(let.value, varies):
                varies.add(let.name)
                moving.append(let)
            else:
                fixed.append(let)
        return fixed, moving


def _whole(load: Load) -> Expr:
    return Cast(load, DType.INT)


def _reads_lanes(expr: Expr, varies: set[str]) -> bool:
    return any(
        node == Iota("u") or (isinstance(node, Ref) and node.name in varies) for node in walk(expr)
    )


def _let(line: Line) -> Let:
    plus = [_product(term) for term in line.terms if term.coefficient > 0]
    minus = [_product(term) for term in line.terms if term.coefficient < 0]
    if not minus:
        return Let(line.name, _total(plus))
    if not plus:
        return Let(line.name, Map("neg", (_total(minus),)))
    return Let(line.name, Map("sub", (_total(plus), _total(minus))))


def _total(terms: Sequence[Expr]) -> Expr:
    return terms[0] if len(terms) == 1 else Map("add", tuple(terms))


def _product(term: Product) -> Expr:
    """The product without its sign."""
    factors: list[Expr] = [Ref(name) for name in term.factors]
    if abs(term.coefficient) != 1:
        factors.insert(0, Const(abs(term.coefficient), DType.ACCUMULATE))
    return factors[0] if len(factors) == 1 else Map("mul", tuple(factors))
