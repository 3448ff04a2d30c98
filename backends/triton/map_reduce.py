"""K5 map-reduce: a value per pair (i, j) of samples, reduced over j as it is made.

Points are small: their coordinates are written out, or one lane axis, or operands of a Dot. The
forward owns a block of rows i and walks the samples j. Of the backward one kernel owns rows, one
owns samples; both make the pairs again: no atomics, deterministic, no tensor over pairs. Loops are
written twice: whole blocks without masks, and the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tensorlang.backends.triton.build import (
    floor_to,
    integer,
    real,
    walk,
)
from tensorlang.backends.triton.configs import map_configs
from tensorlang.backends.triton.derivative import adjoints
from tensorlang.backends.triton.kernel_ir import (
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
from tensorlang.backends.triton.map_space import Coordinates, MapAxes, Operand
from tensorlang.backends.triton.map_values import End, MapValues
from tensorlang.backends.triton.ssa import Values
from tensorlang.backends.triton.tails import mask_tails, tail
from tensorlang.backends.triton.types import Type
from tensorlang.backends.triton.unmasked import loaded, needed, unmasked
from tensorlang.check.program import ReduceOp
from tensorlang.dtype import Dtype
from tensorlang.plan.map_reduce import MapSpace, written_out
from tensorlang.plan.plan import Slot, Step
from tensorlang.size import Size

INF = math.inf
_REDUCTION = {None: Reduction.SUM, ReduceOp.MAX: Reduction.MAX, ReduceOp.MIN: Reduction.MIN}
_IDENTITY = {None: 0.0, ReduceOp.MAX: -INF, ReduceOp.MIN: INF}


@dataclass(frozen=True, slots=True)
class Result:
    """`logs` names the tensor that keeps a log-sum-exp for the backward, +inf where it is empty."""

    name: str
    slot: Slot
    axes: tuple[int, ...]
    logs: str | None


@dataclass(frozen=True, slots=True)
class MapReduce:
    """The kernels of one group. `backward` is empty where torch differentiates."""

    operands: tuple[Operand, ...]
    results: tuple[Result, ...]
    sizes: tuple[tuple[str, Size], ...]
    axes: MapAxes
    forward: Kernel
    backward: tuple[Kernel, ...]


def kernels(
    name: str, steps: Sequence[Step], space: MapSpace, dtypes: Mapping[Slot, Dtype]
) -> MapReduce:
    """Kernels of a group of steps in their space; `dtypes` of the slots read from outside."""
    axes = MapAxes(tuple(steps), space, dtypes)
    build = _Build(name, axes)
    forward = build.forward()
    backward = build.backward()
    operands = tuple(
        replace(o, grads=axes.left_in(o)) if o.name in build.reached else o
        for o in axes.operands.values()
    )
    return MapReduce(
        operands,
        tuple(build.results),
        tuple(axes.sizes.items()),
        axes,
        mask_tails(forward),
        tuple(map(mask_tails, backward)),
    )


def configurations(space: MapSpace) -> dict[str, Config]:
    """Configurations by precision."""
    count = written_out(space.sizes, space.places, space.unrolled)
    return map_configs(count, space.lane is not None, bool(space.wide))


@dataclass(slots=True)
class _Build:
    kernel_name: str
    at: MapAxes
    reached: set[str] = field(default_factory=set)
    results: list[Result] = field(init=False)

    def __post_init__(self) -> None:
        finals = [step for step in self.at.steps if self.at.space.is_end(step)]
        self.results = []
        for k, step in enumerate(finals):
            logs = getattr(step.node.op, "op", None) is ReduceOp.LOGSUMEXP
            axes = self.at.space.values[step.out]
            self.results.append(Result(f"Y{k}", step.out, axes, f"L{k}" if logs else None))

    # --- forward ---------------------------------------------------------------------------------
    def forward(self) -> Kernel:
        values = self.empty("forward", "i", "Results of the group.")
        ends = MapValues(self.at, values).ends()
        before: list[Stmt] = []
        inner: list[Stmt] = []
        after: list[Stmt] = []
        carried: list[str] = []
        for number, end in enumerate(ends):
            result = self.results[end.result]
            if end.op is ReduceOp.LOGSUMEXP:
                names = (f"top_{number}", f"sum_{number}")
                before += [Let(names[0], _full(-INF, ("i",))), Let(names[1], _full(0.0, ("i",)))]
                inner += self.exponentials(values, end, names)
                after += self.logarithm(end, names)
                carried += names
                continue
            name = f"out_{number}"
            carried.append(name)
            lanes = ("i",) if end.tensor is None else ("i", "e")
            before.append(Let(name, _full(_IDENTITY[end.op], lanes)))
            values.types.names[name] = Type(DType.ACCUMULATE, lanes)
            inner.append(Let(name, self.added(values, end, name)))
            value = Ref(name) if end.coefficient == 1 else _call("mul", Ref(name), end.coefficient)
            after.append(Store(result.name, self.index(result.axes, end.at), value))
        body = self.walked(values, "j", "M", carried, before, inner, after)
        tensors = [self.at.argument(o) for o in self.at.operands.values()]
        tensors += [self.result(r, r.name, Role.OUT, DType.COMPUTE) for r in self.results]
        tensors += [
            self.result(r, r.logs, Role.OUT, DType.ACCUMULATE)
            for r in self.results
            if r.logs is not None
        ]
        return replace(values.kernel, tensors=tuple(tensors), sizes=tuple(self.at.sizes), body=body)

    def added(self, values: Values, end: End, name: str) -> Expr:
        """The reduction so far with that of one more block."""
        value = self.kept(values, end.value, _IDENTITY[end.op])
        if end.tensor is not None:
            return values.dot(value, end.tensor, "j", Ref(name))
        block = values.let(Reduce(_REDUCTION[end.op], value, "j"))
        kind = "add" if end.op is None else end.op.value
        return Map(kind, (Ref(name), block))

    def kept(self, values: Values, value: Expr, identity: float) -> Expr:
        """A value per pair, `identity` past the end of the samples."""
        if "j" not in values.type(value).axes:  # the same for all samples
            value = values.let(Map("mul", (value, _full(1.0, ("j",)))))
        inside_ = tail(values.kernel, "j")
        if inside_ is None:
            return value
        return values.let(Map("where", (values.let(inside_, "in"), value, real(identity))))

    def exponentials(self, values: Values, end: End, names: tuple[str, str]) -> list[Stmt]:
        """One more block of a log-sum-exp: its maximum so far, and the sum of exp beside it."""
        top, total = names
        for name in names:
            values.types.names[name] = Type(DType.ACCUMULATE, ("i",))
        value = self.kept(values, end.value, -INF)
        largest = values.let(Reduce(Reduction.MAX, value, "j"))
        now = values.let(Map("max", (Ref(top), largest)))
        none = values.map("eq", now, real(-INF))
        finite = values.map("where", none, real(0), now)
        block = values.let(Map("exp", (values.map("sub", value, finite),)))
        decay = values.let(Map("exp", (values.map("sub", Ref(top), finite),)))
        both = _call("add", _call("mul", Ref(total), decay), Reduce(Reduction.SUM, block, "j"))
        return [Let(total, both), Let(top, now)]

    def logarithm(self, end: End, names: tuple[str, str]) -> list[Stmt]:
        result = self.results[end.result]
        assert result.logs is not None, end
        top, total = Ref(names[0]), Ref(names[1])
        seen, log = f"seen_{names[0]}", f"log_{names[0]}"
        safe = _call("where", Ref(seen), total, 1.0)
        index = self.index(result.axes, end.at)
        return [
            Let(seen, _call("gt", total, 0.0)),
            Let(log, _call("add", _call("log", safe), top)),
            Store(result.name, index, _call("where", Ref(seen), Ref(log), -INF)),
            Store(result.logs, index, _call("where", Ref(seen), Ref(log), INF)),
        ]

    # --- backward --------------------------------------------------------------------------------
    def backward(self) -> list[Kernel]:
        """For rows and for samples, as far as an operand needs them."""
        ops = {getattr(step.node.op, "op", None) for step in self.at.steps}
        if ops & {ReduceOp.MAX, ReduceOp.MIN}:
            return []  # which sample was the largest is not kept
        made = [self.gradients("i", "rows"), self.gradients("j", "samples")]
        return [kernel for kernel in made if kernel is not None]

    def gradients(self, owner: str, what: str) -> Kernel | None:
        walked, extent = ("j", "M") if owner == "i" else ("i", "N")
        values = self.empty(what, owner, f"Gradients of the operands over {what}.")
        ends = MapValues(self.at, values).ends()
        loads = {
            let.name: let.value.a
            for let in values.lets
            if isinstance(let.value, Cast) and isinstance(let.value.a, Load)
        }
        seeds: dict[str, Expr] = {}
        for end in ends:
            target, seed = self.seed(values, end)
            if isinstance(target, Ref):
                other = seeds.get(target.name)
                seeds[target.name] = seed if other is None else values.map("add", other, seed)
        found = adjoints(values, seeds)
        by_name = {o.name: o for o in self.at.operands.values()}
        before: list[Stmt] = []
        inner: list[Stmt] = []
        after: list[Stmt] = []
        carried: list[str] = []
        outputs: dict[str, Tensor] = {}
        for load in loads:
            operand = by_name.get(loads[load].tensor)
            if operand is None or operand.dtype is not Dtype.REAL or load not in found:
                continue
            if self.at.owner(operand) != owner:
                continue
            self.reached.add(operand.name)
            out = f"D{operand.name}"
            left = self.at.left_in(operand)
            direct = left == operand.axes
            extents = tuple(map(self.at.extent, left))
            kind = DType.COMPUTE if direct else DType.ACCUMULATE
            if direct:
                extents = self.at.argument(operand).extents
            outputs[out] = Tensor(out, Role.OUT, kind, extents)
            at = self.coordinates(loads[load].index, operand)
            index = self.at.index(operand.dims if direct else [(a,) for a in left], at)
            axes = values.type(Ref(load)).axes
            if walked in axes:  # an operand over pairs
                inner.append(Store(out, index, found[load]))
                continue
            name = f"d_{load}"
            carried.append(name)
            before.append(Let(name, _full(0.0, axes)))
            values.types.names[name] = Type(DType.ACCUMULATE, axes)
            inner.append(Let(name, Map("add", (Ref(name), found[load]))))
            value: Expr = Ref(name)
            if owner not in axes:  # counted at the first cell of the block
                first = Map("eq", (Map("mod", (Iota(owner), Ref("BM"))), integer(0)))
                value = Map("where", (first, value, real(0)))
            after.append(Store(out, index, value))
        if not outputs:
            return None
        tensors = [self.at.argument(o) for o in self.at.operands.values()]
        tensors += [
            self.result(r, r.logs, Role.IN, DType.ACCUMULATE)
            for r in self.results
            if r.logs is not None
        ]
        tensors += [self.result(r, f"G{r.name}", Role.IN, DType.COMPUTE) for r in self.results]
        body = self.walked(values, walked, extent, carried, before, inner, after)
        mentioned = loaded(body)
        tensors = [t for t in tensors if t.name in mentioned]
        return replace(
            values.kernel,
            tensors=(*tensors, *outputs.values()),
            sizes=tuple(self.at.sizes),
            body=body,
        )

    def seed(self, values: Values, end: End) -> tuple[Expr, Expr]:
        """A value and its adjoint, as the gradient of one end gives it."""
        result = self.results[end.result]
        index = self.index(result.axes, end.at)
        gradient = values.load(f"G{result.name}", index, DType.ACCUMULATE)
        gradient = values.map("mul", gradient, real(end.coefficient))
        if end.tensor is not None:
            return values.let(values.dot(end.value, end.tensor, "j")), gradient
        if end.op is None:
            return end.value, gradient
        log = Load(str(result.logs), index, None, INF)
        held = values.let(Cast(log, DType.ACCUMULATE), "log")
        share = values.map("exp", values.map("sub", end.value, held))
        return end.value, values.map("mul", gradient, share)

    def coordinates(self, index: tuple[Expr, ...], operand: Operand) -> Coordinates:
        """Where a load stands on unrolled axes: the fixed positions of its index."""
        out: list[tuple[int, int]] = []
        for position, dim in zip(index, operand.dims, strict=True):
            inner = [axis for axis in dim if axis in self.at.space.unrolled]
            if len(dim) == 1 and inner:
                assert isinstance(position, Const), (position, operand)
                out.append((dim[0], int(position.value)))
            assert len(dim) == 1 or not inner, operand
        return tuple(out)

    # --- bodies ----------------------------------------------------------------------------------
    def walked(
        self,
        values: Values,
        axis: str,
        extent: str,
        carried: Sequence[str],
        before: Sequence[Stmt],
        inner: Sequence[Stmt],
        after: Sequence[Stmt],
    ) -> tuple[Stmt, ...]:
        """All statements: what no step of the loop changes, whole blocks, the rest, the ends."""
        lets = needed(values.lets, [*inner, *after])
        parts = {axis, *(part.name for part in values.kernel.axis(axis).parts)}
        outer: list[Stmt] = []
        looped: list[Stmt] = []
        changing = set(carried)
        for let in lets:
            moves = any(
                (isinstance(node, Iota) and node.axis in parts)
                or (isinstance(node, Ref) and node.name in changing)
                or (isinstance(node, Const) and axis in node.axes)
                for node in walk(let.value)
            )
            (looped if moves else outer).append(let)
            if moves:
                changing.add(let.name)
        end = values.kernel.axis(axis).extent
        block = str(values.kernel.axis(axis).block)
        body = (*looped, *inner)
        whole = tuple(unmasked(values, body, axis, frozenset(carried)))
        return (
            Let("whole", floor_to(end, block)),
            *outer,
            *before,
            For(axis, integer(0), Ref("whole"), tuple(carried), whole, True),
            For(axis, Ref("whole"), end, tuple(carried), body),
            *after,
        )

    # --- tensors ---------------------------------------------------------------------------------
    def index(self, axes: Sequence[int], at: Coordinates) -> tuple[Expr, ...]:
        return tuple(self.at.position(axis, at) for axis in axes)

    def result(self, result: Result, name: str | None, role: Role, dtype: DType) -> Tensor:
        return Tensor(str(name), role, dtype, tuple(map(self.at.extent, result.axes)))

    def empty(self, what: str, owner: str, doc: str) -> Values:
        """The kernel without its body; all tensors are there so that values can be typed."""
        for k, step in enumerate(self.at.steps):
            for read in step.node.reads:
                if read.node not in self.at.space.values:
                    self.at.operand(read, k)
        tensors = [self.at.argument(o) for o in self.at.operands.values()]
        for r in self.results:
            tensors.append(self.result(r, f"G{r.name}", Role.IN, DType.COMPUTE))
            if r.logs is not None:
                tensors.append(self.result(r, r.logs, Role.IN, DType.ACCUMULATE))
        axes = self.at.axes(owner)
        space = self.at.space
        configs = tuple(configurations(space).values())
        return Values(
            Kernel(
                f"{self.kernel_name}_{what}", doc, tuple(tensors), tuple(self.at.sizes),
                tuple(axes), (), configs,
            )
        )  # fmt: skip


def _full(value: float, axes: Sequence[str]) -> Const:
    return Const(value, DType.ACCUMULATE, tuple(axes))


def _call(op: str, *args: Expr | float) -> Expr:
    return Map(op, tuple(real(arg) if isinstance(arg, float | int) else arg for arg in args))
