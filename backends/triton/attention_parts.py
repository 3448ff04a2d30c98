"""What the attention families K1 and K2 share: their description, and pieces of kernel bodies.

Rows of queries are `i`, keys `j` (and `k`), features come in pieces `c0`…, values in `e0`…. Logits
are in base 2: the scale is folded into exponentials where it is positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlang.backends.triton.build import (
    add,
    both,
    call,
    conjuncts,
    integer,
    product,
    real,
    walk,
)
from tensorlang.backends.triton.build import scale as times
from tensorlang.backends.triton.configs import pieces
from tensorlang.backends.triton.intervals import segments
from tensorlang.backends.triton.kernel_ir import (
    Axis,
    AxisKind,
    Cast,
    Config,
    Const,
    Dot,
    DType,
    Expr,
    For,
    Iota,
    Kernel,
    Let,
    Load,
    Part,
    Reduce,
    Reduction,
    Ref,
    Role,
    Stmt,
    Store,
    Tensor,
)
from tensorlang.backends.triton.tails import inside

INF = math.inf
LOG2E = math.log2(math.e)


@dataclass(frozen=True, slots=True)
class Mask:
    """A tensor that the condition or the bias reads: its dtype and its index over b0…, i, j, k."""

    name: str
    dtype: DType
    index: tuple[Expr, ...]
    extents: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """What one attention is: sizes of the batch (B0, B1, …: run-time), c and e (fixed), scale.

    `condition` is over Iota("i"), Iota("j"), Iota("b0")… and Loads of the masks; None: all keys.
    `bias` is added to the scaled logits, over the same. `sizes` are further integer arguments that
    these mention. `graded` is the mask that the bias is, if it needs a gradient.
    """

    name: str
    batch: int
    features: int
    values: int
    scale: float
    condition: Expr | None = None
    masks: tuple[Mask, ...] = ()
    sizes: tuple[str, ...] = ()
    bias: Expr | None = None
    graded: Mask | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Builders of what kernels of one attention have in common."""

    a: Attention

    # --- bodies ----------------------------------------------------------------------------------
    def scaled(self) -> tuple[str, float]:
        """The name of the logits and what is still to be multiplied: a scale that is not positive
        would exchange max and min, and a bias has another, so it is applied at once."""
        if self.a.scale > 0 and self.a.bias is None:
            return "s", self.a.scale * LOG2E
        return "scaled", 1.0

    def logits(self, a: str, b: str) -> list[Stmt]:
        """s[a's rows, b's rows] = sum over c of a * b, one piece of c after the other."""
        stmts = self.dots("s", a, b, "c")
        if self.scaled()[0] == "scaled":
            scaled = call("mul", Ref("s"), real(self.a.scale * LOG2E))
            if self.a.bias is not None:
                scaled = call("add", scaled, call("mul", self.a.bias, real(LOG2E)))
            stmts.append(Let("scaled", scaled))
        return stmts

    def start(self, sums: Sequence[str]) -> list[Stmt]:
        """Before an online softmax: maximum m, sum l and weighted sums of values."""
        return [
            Let("m", Const(-INF, DType.ACCUMULATE, ("i",))),
            Let("l", Const(0.0, DType.ACCUMULATE, ("i",))),
            *(zeros(name, ("i", lane)) for name, lane in zip(sums, self.lanes("e"), strict=True)),
        ]

    def online(self, walked: str, full: bool, sums: Sequence[str], values: str) -> list[Stmt]:
        """Take a tile of logits and of values into m, l and the sums."""
        s, c = self.scaled()
        out: list[Stmt] = []
        if not full:
            out.append(Let("kept", call("where", self.keep(walked), Ref(s), real(-INF))))
            s = "kept"
        out.append(Let("m_next", call("max", Ref("m"), Reduce(Reduction.MAX, Ref(s), walked))))
        top = "m_next"
        if not full or self.a.bias is not None:  # which may be -inf itself
            out.append(Let("m_finite", self.finite("m_next")))
            top = "m_finite"
        shifted = call("sub", scaled_by(Ref(s), c), scaled_by(Ref(top), c))
        out.append(Let("p", call("exp2", shifted)))
        out.append(Let("decay", self.decay("m", top)))
        total = Reduce(Reduction.SUM, Ref("p"), walked)
        out.append(Let("l", call("add", call("mul", Ref("l"), Ref("decay")), total)))
        row = {"j": "V", "k": "V2"}[walked]
        out.extend(self.load(values, row, walked, "e"))
        for name, lane in zip(sums, self.lanes("e"), strict=True):
            kept = call("mul", Ref(name), Ref("decay"))
            p = Cast(Ref("p"), DType.COMPUTE)
            out.append(Let(name, Dot(p, Ref(f"{values}_{lane}"), walked, kept)))
        out.append(Let("m", Ref("m_next")))
        return out

    def finite(self, name: str) -> Expr:
        """0 for a row without a key so far: -inf - -inf is not to be taken."""
        return call("where", call("eq", Ref(name), real(-INF)), real(0), Ref(name))

    def decay(self, before: str, now: str) -> Expr:
        """What a maximum that has grown takes from sums made with the one before."""
        _, c = self.scaled()
        return call("exp2", scaled_by(call("sub", Ref(before), Ref(now)), c))

    def finish(self, sums: Sequence[str]) -> list[Stmt]:
        """Store output and log-sum-exp."""
        seen = call("gt", Ref("l"), real(0))
        out: list[Stmt] = [Let("total", call("where", seen, Ref("l"), real(1)))]
        for name, lane in zip(sums, self.lanes("e"), strict=True):
            out.append(Store("O", self.index("i", lane), call("div", Ref(name), Ref("total"))))
        _, c = self.scaled()
        lse = call("add", scaled_by(Ref("m"), c), call("log2", Ref("total")))
        out.append(Store("L", self.index("i"), call("where", seen, lse, real(INF))))
        return out

    def rows(self) -> list[Stmt]:
        """Log-sum-exp and delta of queries; +inf past the end, so that probabilities are 0."""
        lse = Cast(Load("L", self.index("i"), None, INF), DType.ACCUMULATE)
        delta = Cast(Load("D", self.index("i")), DType.ACCUMULATE)
        return [Let("lse", lse), Let("delta", delta)]

    def probabilities(self, walked: str, full: bool) -> list[Stmt]:
        s, c = self.scaled()
        p = call("exp2", call("sub", scaled_by(Ref(s), c), Ref("lse")))
        if full:
            return [Let("p", p)]
        return [Let("p_all", p), Let("p", call("where", self.keep(walked), Ref("p_all"), real(0)))]

    def slope(self, a: str, b: str) -> list[Stmt]:
        """ds = p * (dp - delta) with dp = sum over e of g * v."""
        ds = call("mul", Ref("p"), call("sub", Ref("dp"), Ref("delta")))
        return [*self.dots("dp", a, b, "e"), Let("ds", ds)]

    def gather(self, total: str, weights: str, rows: str, walked: str, letter: str) -> list[Stmt]:
        """total += sum over the walked axis of weights * rows."""
        out: list[Stmt] = []
        for lane in self.lanes(letter):
            w = Cast(Ref(weights), DType.COMPUTE)
            name = f"{total}_{lane}"
            out.append(Let(name, Dot(w, Ref(f"{rows}_{lane}"), walked, Ref(name))))
        return out

    def dots(self, name: str, a: str, b: str, letter: str) -> list[Stmt]:
        """name = sum over the pieces of an axis of a * b; partial sums are numbered."""
        lanes = self.lanes(letter)
        out: list[Stmt] = []
        acc: Expr | None = None
        for k, lane in enumerate(lanes):
            part = name if k == len(lanes) - 1 else f"{name}_{k}"
            out.append(Let(part, Dot(Ref(f"{a}_{lane}"), Ref(f"{b}_{lane}"), lane, acc)))
            acc = Ref(part)
        return out

    def keep(self, walked: str) -> Expr:
        """The condition on an edge tile, and that the walked positions are inside their axis."""
        condition = both(inside(self.chunk(walked)), self.a.condition)
        assert condition is not None
        return condition

    def walk(
        self,
        owner: str,
        walked: str,
        carried: tuple[str, ...],
        body: Callable[[bool], list[Stmt]],
        known: tuple[str, ...] = (),
    ) -> list[Stmt]:
        """Loops over the blocks that the condition lets through: masked edges, full middle.

        `known` are axes of which a position is fixed here.
        """
        axis = self.chunk(walked)
        block, owner_block = str(axis.block), BLOCKS[owner]
        runs = segments(self.a.condition, owner, owner_block, walked, block, axis.extent, known)
        out: list[Stmt] = []
        for k, run in enumerate(runs):
            lo, hi = Ref(f"lo_{k}"), Ref(f"hi_{k}")
            out += [Let(lo.name, run.lo), Let(hi.name, run.hi)]
            out.append(For(walked, lo, hi, carried, tuple(body(run.full)), run.full))
        return out

    # --- kernels ---------------------------------------------------------------------------------
    def delta(self, configs: tuple[Config, ...]) -> Kernel:
        total: Expr | None = None
        for e in self.lanes("e"):
            g = Cast(Load("G", self.index("i", e)), DType.ACCUMULATE)
            o = Cast(Load("O", self.index("i", e)), DType.ACCUMULATE)
            term = Reduce(Reduction.SUM, call("mul", g, o), e)
            total = term if total is None else call("add", total, term)
        assert total is not None
        return self.kernel(
            "delta", "D[i] = sum over e of G[i, e] * O[i, e].", ("G", "O"), ("D",), (),
            [self.tile("i")], [Store("D", self.index("i"), total)], ("N",), configs,
        )  # fmt: skip

    def kernel(
        self,
        what: str,
        doc: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        masks: Sequence[Mask],
        axes: list[Axis],
        body: list[Stmt],
        sizes: Sequence[str],
        configs: tuple[Config, ...],
        kept: Sequence[int] | None = None,
    ) -> Kernel:
        """`kept` are the batch axes of the grid, if not all."""
        grid = [self.batch("b", AxisKind.GRID, range(self.a.batch) if kept is None else kept)]
        tensors = [self.tensor(name, Role.IN) for name in inputs]
        tensors += [Tensor(m.name, Role.IN, m.dtype, m.extents) for m in masks]
        tensors += [self.tensor(name, Role.OUT) for name in outputs]
        lanes = []
        for letter, letters in (("c", "QK"), ("e", "VG")):
            if not any(name[0] in letters for name in inputs):
                continue
            size = self.a.features if letter == "c" else self.a.values
            for k, (first, block) in enumerate(pieces(size)):
                end = integer(min(first + block, size))
                lanes.append(Axis(f"{letter}{k}", AxisKind.LANE, end, block, offset=first))
        names = (*(f"B{k}" for k in range(self.a.batch)), *sizes)
        return Kernel(
            f"{self.a.name}_{what}", doc, tuple(tensors), names, tuple(grid + axes + lanes),
            tuple(body), configs,
        )  # fmt: skip

    # --- axes and tensors ------------------------------------------------------------------------
    def batch(self, name: str, kind: AxisKind, which: Sequence[int]) -> Axis:
        """Some of the batch axes as one."""
        parts = tuple(Part(f"b{k}", Ref(f"B{k}")) for k in which)
        return Axis(name, kind, product(*(part.extent for part in parts)), parts=parts)

    def lanes(self, letter: str) -> list[str]:
        size = self.a.features if letter == "c" else self.a.values
        return [f"{letter}{k}" for k in range(len(pieces(size)))]

    def index(self, *rest: str) -> tuple[Expr, ...]:
        batch = tuple(Iota(f"b{k}") for k in range(self.a.batch))
        return (*batch, *(Iota(axis) for axis in rest))

    def load(
        self,
        name: str,
        tensor: str,
        row: str,
        letter: str,
        dtype: DType = DType.COMPUTE,
        again: Expr | None = None,
    ) -> list[Stmt]:
        """Rows of a tensor; `again` is 0 in a way that a compiler cannot see, so that it loads them
        where it is told to and keeps no register for them."""
        out: list[Stmt] = []
        for lane in self.lanes(letter):
            *batch, at, c = self.index(row, lane)
            at = at if again is None else add(at, again)
            out.append(Let(f"{name}_{lane}", Cast(Load(tensor, (*batch, at, c)), dtype)))
        return out

    def extent(self, axis: str) -> Expr:
        return Ref({"i": "N", "j": "M", "k": "M2"}[axis])

    def tile(self, name: str) -> Axis:
        causal = self.a.condition is not None
        reverse = causal and name == "i"
        return Axis(name, AxisKind.TILE, self.extent(name), BLOCKS[name], reverse=reverse)

    def chunk(self, name: str) -> Axis:
        block = BLOCKS[name]
        return Axis(name, AxisKind.CHUNK, self.extent(name), block, support=self.support())

    def support(self) -> Expr | None:
        """The part of the condition that depends on positions alone."""
        return both(
            *(
                c
                for c in conjuncts(self.a.condition)
                if not any(isinstance(node, Load) for node in walk(c))
            )
        )

    def tensor(self, name: str, role: Role) -> Tensor:
        row = self.extent({"1": "j", "2": "k"}.get(name[-1], "j" if name[-1] in "KV" else "i"))
        last = {"Q": self.a.features, "K": self.a.features, "L": 0, "D": 0}
        width = last.get(name.lstrip("D")[:1] or "D", self.a.values)
        batch = tuple(Ref(f"B{k}") for k in range(self.a.batch))
        dtype = DType.COMPUTE if width else DType.ACCUMULATE
        return Tensor(name, role, dtype, (*batch, row, *([integer(width)] if width else [])))


BLOCKS = {"i": "BM", "j": "BN", "k": "BN"}


def again(axis: str) -> Expr:
    """0: ZERO is an argument, so compilers take this for a place that changes with the axis."""
    return times(Iota(axis), Ref("ZERO"))


def zeros(name: str, axes: tuple[str, ...]) -> Let:
    return Let(name, Const(0.0, DType.ACCUMULATE, axes))


def scaled_by(expr: Expr, factor: float) -> Expr:
    return expr if factor == 1.0 else call("mul", expr, real(factor))
