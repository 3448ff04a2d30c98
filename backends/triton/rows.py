"""K5: pointwise steps and row reductions in one pass over memory, forward and backward.

A program holds a tile of rows × lanes in registers. The backward recomputes the forward from the
inputs and walks it in reverse (derivative.py). Gradients of tensors that all rows share are summed
per program and then over programs: no atomics, deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from tensorlang.backends.triton.build import add, integer, least, product, real, walk
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
    Ref,
    Role,
    Stmt,
    Store,
    Tensor,
)
from tensorlang.backends.triton.row_space import Gradient, Operand, Result, RowSpace, spread
from tensorlang.backends.triton.row_values import RowValues
from tensorlang.backends.triton.ssa import Values
from tensorlang.backends.triton.tails import mask_tails
from tensorlang.dtype import Dtype
from tensorlang.plan.plan import Slot, Step
from tensorlang.plan.rows import Space
from tensorlang.size import Size


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
    at = RowSpace(tuple(steps), space, tuple(needed), dtypes)
    build = _Build(name, at)
    forward = build.forward()
    operands = tuple(at.operands.values())
    if any(o.dtype is Dtype.REAL for o in operands):
        backward = build.backward()
        operands = tuple(
            replace(o, gradient=at.gradient(o)) if o.name in build.reached else o for o in operands
        )
    else:
        backward = None
    if all(operand.gradient is None for operand in operands):
        backward = None  # rounding and comparisons alone
    return Rows(
        operands,
        tuple(at.results()),
        tuple(at.sizes.items()),
        space,
        mask_tails(forward),
        None if backward is None else mask_tails(backward),
        build.persistent,
    )


@dataclass(slots=True)
class _Build:
    name: str
    at: RowSpace
    reached: set[str] = field(default_factory=set)
    persistent: bool = False

    def forward(self) -> Kernel:
        axes = [self.at.rows(AxisKind.TILE), self.at.lanes()]
        values = Values(self.empty("forward", axes, "Results of the group."))
        made = RowValues(self.at, values).evaluate()
        stores = tuple(
            Store(result.name, self.at.positions(result.axes), made[result.slot])
            for result in self.at.results()
        )
        tensors = [self.at.argument(o) for o in self.at.operands.values()]
        tensors += [
            Tensor(r.name, Role.OUT, DType.COMPUTE, tuple(map(self.at.extent, r.axes)))
            for r in self.at.results()
        ]
        return replace(
            values.kernel,
            tensors=tuple(tensors),
            sizes=tuple(self.at.sizes),
            body=(*values.lets, *stores),
        )

    def backward(self) -> Kernel:
        """Recomputes the results, then their adjoints; see Gradient for what leaves."""
        kinds = {
            o.name: self.at.gradient(o) for o in self.at.operands.values() if o.dtype is Dtype.REAL
        }
        persistent = self.persistent = Gradient.PARTIAL in kinds.values()
        axes = [self.at.rows(AxisKind.CHUNK if persistent else AxisKind.TILE), self.at.lanes()]
        if persistent:
            axes.insert(0, Axis("p", AxisKind.GRID, Ref("P")))
        values = Values(self.empty("backward", axes, "Gradients of the operands."))
        made = RowValues(self.at, values).evaluate()
        seeds: dict[str, Expr] = {}
        for result in self.at.results():
            value = made[result.slot]
            seed = values.load(f"G{result.name}", self.at.positions(result.axes), DType.ACCUMULATE)
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
        tensors = [self.at.argument(o) for o in self.at.operands.values()]
        tensors += [
            Tensor(f"G{r.name}", Role.IN, DType.COMPUTE, tuple(map(self.at.extent, r.axes)))
            for r in self.at.results()
        ]
        for operand in self.at.operands.values():
            adjoint = found.get(loads.get(operand.name, ""))
            if operand.dtype is not Dtype.REAL or adjoint is None:
                continue
            self.reached.add(operand.name)
            out = f"D{operand.name}"
            match kinds[operand.name]:
                case Gradient.DIRECT:
                    tensors.append(replace(self.at.argument(operand), name=out, role=Role.OUT))
                    stores.append(Store(out, self.at.index(operand.dims), adjoint))
                case Gradient.SPREAD:
                    space = spread(self.at.space, operand)
                    extents = tuple(map(self.at.extent, space))
                    tensors.append(Tensor(out, Role.OUT, DType.ACCUMULATE, extents))
                    stores.append(
                        Store(out, self.at.positions(space), self.once(values, adjoint, space))
                    )
                case Gradient.PARTIAL:
                    extents = (Ref("P"), *map(self.at.extent, operand.axes))
                    tensors.append(Tensor(out, Role.OUT, DType.ACCUMULATE, extents))
                    name = f"sum_{operand.name}"
                    lanes = tuple(axis for axis in values.type(adjoint).axes if axis != "r")
                    if operand.axes and not lanes:
                        lanes = ("l",)
                    before.append(Let(name, Const(0.0, DType.ACCUMULATE, lanes)))
                    inner.append(Let(name, Map("add", (Ref(name), adjoint))))
                    carried.append(name)
                    index = (Iota("p"), *self.at.positions(operand.axes))
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
        sizes = (*self.at.sizes, "P", "SPAN") if persistent else tuple(self.at.sizes)
        return replace(values.kernel, tensors=tuple(tensors), sizes=sizes, body=body)

    def once(self, values: Values, adjoint: Expr, space: Sequence[int]) -> Expr:
        """An adjoint that is summed over a tile's axis already counts at the tile's first cell."""
        stored = {"r"} if set(space) & set(self.at.space.rows) else set()
        stored |= {"l"} if set(space) & set(self.at.space.lanes) else set()
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
        rows = {"r", *(self.at.axis_name(axis) for axis in self.at.space.rows)}
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
        for k, step in enumerate(self.at.steps):
            for read in step.node.reads:
                if read.node not in self.at.space.values:
                    self.at.operand(read, k)
        tensors = [self.at.argument(o) for o in self.at.operands.values()]
        tensors += [Tensor(f"G{r.name}", Role.IN, DType.COMPUTE, ()) for r in self.at.results()]
        lanes: int | None = 0
        if self.at.space.whole:
            sizes = [self.at.space.sizes[axis] for axis in self.at.space.lanes]
            known = [size for size in sizes if isinstance(size, int)]
            lanes = math.prod(known) if len(known) == len(sizes) else None
        configs = row_configs(lanes, bool(self.at.space.rows), self.at.has_angles())
        arguments = (*self.at.sizes, "P", "SPAN")
        return Kernel(
            f"{self.name}_{what}", doc, tuple(tensors), arguments, tuple(axes), (), configs
        )
