"""K1: softmax attention over one key index, forward and backward, on queries [b…, i, c], keys
[b…, j, c] and values [b…, j, e] with any strides.

Online softmax in base 2 (Milakov and Gimelshein, 2018; Dao, 2023); the log-sum-exp is kept in base
2 and is +inf for a query that sees no key, whose output and gradient are 0. The backward is two
kernels that own keys and queries: no atomics. Heads that are no powers of two are split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlang.backends.triton.build import both, call, conjuncts, integer, product, real, walk
from tensorlang.backends.triton.configs import ATTENTION, pieces
from tensorlang.backends.triton.intervals import segments
from tensorlang.backends.triton.kernel_ir import (
    Axis,
    AxisKind,
    Cast,
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
from tensorlang.backends.triton.tails import inside, mask_tails

INF = math.inf


@dataclass(frozen=True, slots=True)
class Mask:
    """A tensor that the condition reads: its dtype and its index over b0…, i, j."""

    name: str
    dtype: DType
    index: tuple[Expr, ...]
    extents: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """What one attention is: sizes of the batch (B0, B1, …: run-time), c and e (fixed), scale.

    `condition` is over Iota("i"), Iota("j"), Iota("b0")… and Loads of the masks; None: all keys.
    `sizes` are further integer arguments that the condition mentions.
    """

    name: str
    batch: int
    features: int
    values: int
    scale: float
    condition: Expr | None = None
    masks: tuple[Mask, ...] = ()
    sizes: tuple[str, ...] = ()


def kernels(attention: Attention) -> tuple[Kernel, ...]:
    """forward, delta, backward to keys and values, backward to queries."""
    build = _Build(attention)
    return tuple(
        mask_tails(kernel)
        for kernel in (build.forward(), build.delta(), build.keys(), build.queries())
    )


@dataclass(frozen=True, slots=True)
class _Build:
    a: Attention

    # --- forward ---------------------------------------------------------------------------------
    def forward(self) -> Kernel:
        values = self.lanes("e")
        start: list[Stmt] = [*self.load("q", "Q", "i", "c")]
        start.append(Let("m", Const(-INF, DType.ACCUMULATE, ("i",))))
        start.append(Let("l", Const(0.0, DType.ACCUMULATE, ("i",))))
        start.extend(_zeros(f"o_{e}", ("i", e)) for e in values)
        carried = ("m", "l", *(f"o_{e}" for e in values))

        def body(full: bool) -> list[Stmt]:
            s, c = self.scaled()
            out = [*self.load("k", "K", "j", "c"), *self.logits("i", "j")]
            if not full:
                out.append(Let("kept", call("where", self.keep("j"), Ref(s), real(-INF))))
                s = "kept"
            out.append(Let("m_next", call("max", Ref("m"), Reduce(Reduction.MAX, Ref(s), "j"))))
            top = "m_next"
            if not full:  # a row without a key so far: -inf - -inf is not to be taken
                none = call("eq", Ref("m_next"), real(-INF))
                out.append(Let("m_finite", call("where", none, real(0), Ref("m_next"))))
                top = "m_finite"
            shifted = call("sub", _times(Ref(s), c), _times(Ref(top), c))
            out.append(Let("p", call("exp2", shifted)))
            decay = call("exp2", _times(call("sub", Ref("m"), Ref(top)), c))
            out.append(Let("decay", decay))
            total = Reduce(Reduction.SUM, Ref("p"), "j")
            out.append(Let("l", call("add", call("mul", Ref("l"), Ref("decay")), total)))
            out.extend(self.load("v", "V", "j", "e"))
            for e in values:
                kept = call("mul", Ref(f"o_{e}"), Ref("decay"))
                p = Cast(Ref("p"), DType.COMPUTE)
                out.append(Let(f"o_{e}", Dot(p, Ref(f"v_{e}"), "j", kept)))
            out.append(Let("m", Ref("m_next")))
            return out

        loops = self.walk("i", "BM", "j", "BN", carried, body)
        seen = call("gt", Ref("l"), real(0))
        end: list[Stmt] = [Let("total", call("where", seen, Ref("l"), real(1)))]
        end.extend(
            Store("O", self.index("i", e), call("div", Ref(f"o_{e}"), Ref("total"))) for e in values
        )
        _, c = self.scaled()
        lse = call("add", _times(Ref("m"), c), call("log2", Ref("total")))
        end.append(Store("L", self.index("i"), call("where", seen, lse, real(INF))))
        return self.kernel(
            "forward", "Attention; L is the log-sum-exp in base 2.", "QKV", "OL",
            [self.tile("i", "N", "BM"), self.chunk("j", "M", "BN")], [*start, *loops, *end],
        )  # fmt: skip

    # --- backward --------------------------------------------------------------------------------
    def delta(self) -> Kernel:
        total: Expr | None = None
        for e in self.lanes("e"):
            g = Cast(Load("G", self.index("i", e)), DType.ACCUMULATE)
            o = Cast(Load("O", self.index("i", e)), DType.ACCUMULATE)
            term = Reduce(Reduction.SUM, call("mul", g, o), e)
            total = term if total is None else call("add", total, term)
        assert total is not None
        return self.kernel(
            "delta", "D[i] = sum over e of G[i, e] * O[i, e].", "GO", "D",
            [self.tile("i", "N", "BM")], [Store("D", self.index("i"), total)],
        )  # fmt: skip

    def keys(self) -> Kernel:
        """Owns a block of keys, walks the queries that see it; tiles are [j, i]."""
        features, values = self.lanes("c"), self.lanes("e")
        start: list[Stmt] = [*self.load("k", "K", "j", "c"), *self.load("v", "V", "j", "e")]
        carried = (*(f"dk_{c}" for c in features), *(f"dv_{e}" for e in values))
        start.extend(_zeros(f"dk_{c}", ("j", c)) for c in features)
        start.extend(_zeros(f"dv_{e}", ("j", e)) for e in values)

        def body(full: bool) -> list[Stmt]:
            out = [*self.load("q", "Q", "i", "c"), *self.logits("j", "i"), *self.rows()]
            out.extend(self.probabilities("i", full))
            out.extend(self.load("g", "G", "i", "e"))
            for e in values:
                p = Cast(Ref("p"), DType.COMPUTE)
                out.append(Let(f"dv_{e}", Dot(p, Ref(f"g_{e}"), "i", Ref(f"dv_{e}"))))
            out.extend(self.slope("v", "g"))
            for c in features:
                ds = Cast(Ref("ds"), DType.COMPUTE)
                out.append(Let(f"dk_{c}", Dot(ds, Ref(f"q_{c}"), "i", Ref(f"dk_{c}"))))
            return out

        loops = self.walk("j", "BN", "i", "BM", carried, body)
        end: list[Stmt] = [
            Store("DK", self.index("j", c), call("mul", Ref(f"dk_{c}"), real(self.a.scale)))
            for c in features
        ]
        end.extend(Store("DV", self.index("j", e), Ref(f"dv_{e}")) for e in values)
        return self.kernel(
            "keys", "Gradients of keys and values.", "QKVGLD", ("DK", "DV"),
            [self.tile("j", "M", "BN"), self.chunk("i", "N", "BM")], [*start, *loops, *end],
        )  # fmt: skip

    def queries(self) -> Kernel:
        """Owns a block of queries, walks the keys that it sees."""
        features = self.lanes("c")
        start: list[Stmt] = [*self.load("q", "Q", "i", "c"), *self.load("g", "G", "i", "e")]
        start.extend(self.rows())
        start.extend(_zeros(f"dq_{c}", ("i", c)) for c in features)

        def body(full: bool) -> list[Stmt]:
            out = [*self.load("k", "K", "j", "c"), *self.logits("i", "j")]
            out.extend(self.probabilities("j", full))
            out.extend(self.load("v", "V", "j", "e"))
            out.extend(self.slope("g", "v"))
            for c in features:
                ds = Cast(Ref("ds"), DType.COMPUTE)
                out.append(Let(f"dq_{c}", Dot(ds, Ref(f"k_{c}"), "j", Ref(f"dq_{c}"))))
            return out

        loops = self.walk("i", "BM", "j", "BN", tuple(f"dq_{c}" for c in features), body)
        end: list[Stmt] = [
            Store("DQ", self.index("i", c), call("mul", Ref(f"dq_{c}"), real(self.a.scale)))
            for c in features
        ]
        return self.kernel(
            "queries", "Gradient of queries.", "QKVGLD", ("DQ",),
            [self.tile("i", "N", "BM"), self.chunk("j", "M", "BN")], [*start, *loops, *end],
        )  # fmt: skip

    # --- pieces of bodies ------------------------------------------------------------------------
    def scaled(self) -> tuple[str, float]:
        """The name of the logits and what is still to be multiplied: a scale that is not positive
        would exchange max and min, so it is applied at once."""
        return ("s", self.a.scale * math.log2(math.e)) if self.a.scale > 0 else ("scaled", 1.0)

    def logits(self, owner: str, walked: str) -> list[Stmt]:
        """s[owner, walked] = sum over c of q * k, one piece of c after the other."""
        letters = {"i": "q", "j": "k"}
        stmts = self.dots("s", letters[owner], letters[walked], "c")
        if self.a.scale <= 0:
            factor = real(self.a.scale * math.log2(math.e))
            stmts.append(Let("scaled", call("mul", Ref("s"), factor)))
        return stmts

    def rows(self) -> list[Stmt]:
        """Log-sum-exp and delta of queries; +inf past the end, so that probabilities are 0."""
        lse = Cast(Load("L", self.index("i"), None, INF), DType.ACCUMULATE)
        delta = Cast(Load("D", self.index("i")), DType.ACCUMULATE)
        return [Let("lse", lse), Let("delta", delta)]

    def probabilities(self, walked: str, full: bool) -> list[Stmt]:
        s, c = self.scaled()
        p = call("exp2", call("sub", _times(Ref(s), c), Ref("lse")))
        if full:
            return [Let("p", p)]
        return [Let("p_all", p), Let("p", call("where", self.keep(walked), Ref("p_all"), real(0)))]

    def slope(self, owner: str, walked: str) -> list[Stmt]:
        """ds = p * (dp - delta) with dp = sum over e of g * v."""
        ds = call("mul", Ref("p"), call("sub", Ref("dp"), Ref("delta")))
        return [*self.dots("dp", owner, walked, "e"), Let("ds", ds)]

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
        condition = both(
            inside(self.chunk(walked, {"i": "N", "j": "M"}[walked], "")), self.a.condition
        )
        assert condition is not None
        return condition

    def walk(
        self,
        owner: str,
        owner_block: str,
        walked: str,
        block: str,
        carried: tuple[str, ...],
        body: Callable[[bool], list[Stmt]],
    ) -> list[Stmt]:
        """Loops over the blocks that the condition lets through: masked edges, full middle."""
        extent = Ref({"i": "N", "j": "M"}[walked])
        runs = segments(self.a.condition, owner, owner_block, walked, block, extent)
        out: list[Stmt] = []
        for k, run in enumerate(runs):
            lo, hi = Ref(f"lo_{k}"), Ref(f"hi_{k}")
            out += [Let(lo.name, run.lo), Let(hi.name, run.hi)]
            out.append(For(walked, lo, hi, carried, tuple(body(run.full)), run.full))
        return out

    # --- axes and tensors ------------------------------------------------------------------------
    def lanes(self, letter: str) -> list[str]:
        size = self.a.features if letter == "c" else self.a.values
        return [f"{letter}{k}" for k in range(len(pieces(size)))]

    def index(self, *rest: str) -> tuple[Expr, ...]:
        batch = tuple(Iota(f"b{k}") for k in range(self.a.batch))
        return (*batch, *(Iota(axis) for axis in rest))

    def load(self, name: str, tensor: str, row: str, letter: str) -> list[Stmt]:
        return [
            Let(f"{name}_{lane}", Cast(Load(tensor, self.index(row, lane)), DType.COMPUTE))
            for lane in self.lanes(letter)
        ]

    def tile(self, name: str, extent: str, block: str) -> Axis:
        causal = self.a.condition is not None
        return Axis(name, AxisKind.TILE, Ref(extent), block, reverse=causal and name == "i")

    def chunk(self, name: str, extent: str, block: str) -> Axis:
        return Axis(name, AxisKind.CHUNK, Ref(extent), block, support=self.support())

    def support(self) -> Expr | None:
        """The part of the condition that depends on positions alone."""
        return both(
            *(
                c
                for c in conjuncts(self.a.condition)
                if not any(isinstance(node, Load) for node in walk(c))
            )
        )

    def kernel(
        self,
        what: str,
        doc: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        axes: list[Axis],
        body: list[Stmt],
    ) -> Kernel:
        batch = tuple(Part(f"b{k}", Ref(f"B{k}")) for k in range(self.a.batch))
        grid = [Axis("b", AxisKind.GRID, product(*(p.extent for p in batch)), parts=batch)]
        mentioned = {
            lane: letter
            for letter in "ce"
            for lane in self.lanes(letter)
            if any(k in inputs for k in ("QK" if letter == "c" else "VG"))
        }
        lanes = []
        for lane, letter in mentioned.items():
            size = self.a.features if letter == "c" else self.a.values
            first, block = pieces(size)[int(lane[1:])]
            end = integer(min(first + block, size))
            lanes.append(Axis(lane, AxisKind.LANE, end, block, offset=first))
        tensors = [self.tensor(name, Role.IN) for name in inputs]
        if what != "delta":
            tensors += [Tensor(m.name, Role.IN, m.dtype, m.extents) for m in self.a.masks]
        tensors += [self.tensor(name, Role.OUT) for name in outputs]
        sizes = (*(f"B{k}" for k in range(self.a.batch)), "N", "M", *self.a.sizes)
        if what == "delta":
            sizes = sizes[: self.a.batch + 1]
        width = max(sum(block for _, block in pieces(n)) for n in (self.a.features, self.a.values))
        return Kernel(
            f"{self.a.name}_{what}", doc, tuple(tensors), sizes, tuple(grid + axes + lanes),
            tuple(body), ATTENTION.configs(what, width),
        )  # fmt: skip

    def tensor(self, name: str, role: Role) -> Tensor:
        rest: dict[str, tuple[Expr, ...]] = {
            "Q": (Ref("N"), integer(self.a.features)),
            "K": (Ref("M"), integer(self.a.features)),
            "V": (Ref("M"), integer(self.a.values)),
            "O": (Ref("N"), integer(self.a.values)),
            "L": (Ref("N"),),
            "D": (Ref("N"),),
        }
        rest |= {"G": rest["O"], "DQ": rest["Q"], "DK": rest["K"], "DV": rest["V"]}
        batch = tuple(Ref(f"B{k}") for k in range(self.a.batch))
        dtype = DType.ACCUMULATE if name in ("L", "D") else DType.COMPUTE
        return Tensor(name, role, dtype, (*batch, *rest[name]))


def _zeros(name: str, axes: tuple[str, ...]) -> Let:
    return Let(name, Const(0.0, DType.ACCUMULATE, axes))


def _times(expr: Expr, factor: float) -> Expr:
    return expr if factor == 1.0 else call("mul", expr, real(factor))
