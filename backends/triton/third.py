"""K2: softmax attention over pairs of keys, forward and backward: logits sum over c of q * k1 * k2,
values v1 * v2, one softmax over both key indices j and k.

A program owns a block of queries, takes first keys one by one and second keys in blocks, so that
products are of a block each and nothing has three positions (Clift et al., 2019; Roy et al., 2025).
A first value joins once per first key. Gradients of either side's keys come from one kernel with
the sides exchanged: no atomics. Owners' tiles are read again for every key taken one by one: that
is cheaper than the registers that would hold them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.attention_parts import (
    BLOCKS,
    Attention,
    Parts,
    again,
    zeros,
)
from tensorlang.backends.triton.build import call, integer, real
from tensorlang.backends.triton.configs import THIRD, padded
from tensorlang.backends.triton.intervals import span
from tensorlang.backends.triton.kernel_ir import (
    Axis,
    AxisKind,
    Cast,
    Config,
    DType,
    Expr,
    For,
    Kernel,
    Let,
    Ref,
    Stmt,
    Store,
)
from tensorlang.backends.triton.tails import mask_tails

SIDES = {"j": "1", "k": "2"}


def kernels(attention: Attention) -> tuple[Kernel, ...]:
    """forward, delta, backward to first and to second keys and values, backward to queries."""
    parts = Parts(attention)
    width = max(padded(attention.features), padded(attention.values))
    keys = THIRD.configs("keys", width)
    made = (
        _forward(parts, THIRD.configs("forward", width)),
        parts.delta(THIRD.configs("delta", width)),
        _keys(parts, "j", "k", keys),
        _keys(parts, "k", "j", keys),
        _queries(parts, THIRD.configs("queries", width)),
    )
    return tuple(map(mask_tails, made))


def _forward(parts: Parts, configs: tuple[Config, ...]) -> Kernel:
    sums = [f"o_{e}" for e in parts.lanes("e")]
    inner = [f"t_{e}" for e in parts.lanes("e")]

    def body(full: bool) -> list[Stmt]:
        return [
            *parts.load("k2", "K2", "k", "c"),
            *parts.logits("a", "k2"),
            *parts.online("k", full, inner, "v2"),
        ]

    masked = parts.a.condition is not None
    top = "m_top" if masked else "m"
    each: list[Stmt] = [
        *_products(parts, "a", "Q", "i", "k1", "K1", "j", "c"),
        *parts.load("v1", "V1", "j", "e", DType.ACCUMULATE),
        Let("m_before", Ref("m")),
        *(zeros(name, ("i", e)) for name, e in zip(inner, parts.lanes("e"), strict=True)),
        *parts.walk("i", "k", ("m", "l", *inner), body, ("j",)),
        *([Let(top, parts.finite("m"))] if masked else []),
        Let("decays", parts.decay("m_before", top)),
    ]
    for e in parts.lanes("e"):
        kept = call("mul", Ref(f"o_{e}"), Ref("decays"))
        now = call("mul", Ref(f"t_{e}"), Ref(f"v1_{e}"))
        each.append(Let(f"o_{e}", call("add", kept, now)))
    stmts = [
        *parts.start(sums),
        *_one_by_one(parts, "i", "j", "k", ("m", "l", *sums), each),
        *parts.finish(sums),
    ]
    doc = "Attention to pairs of keys; L is the log-sum-exp in base 2."
    return _kernel(parts, "forward", doc, "", "OL", "ijk", stmts, configs)


def _keys(parts: Parts, owner: str, single: str, configs: tuple[Config, ...]) -> Kernel:
    """Owns a block of the keys of one side, takes those of the other one by one and walks the
    queries that see both; tiles are [keys, queries]."""
    mine, other = SIDES[owner], SIDES[single]
    features, values = parts.lanes("c"), parts.lanes("e")

    def body(full: bool) -> list[Stmt]:
        return [
            *parts.load("q", "Q", "i", "c"),
            *parts.logits("a", "q"),
            *parts.rows(),
            *parts.probabilities("i", full),
            *parts.load("g", "G", "i", "e"),
            *parts.gather("tv", "p", "g", "i", "e"),
            *parts.slope("b", "g"),
            *parts.gather("tk", "ds", "q", "i", "c"),
        ]

    inner = [*(f"tk_{c}" for c in features), *(f"tv_{e}" for e in values)]
    each: list[Stmt] = [
        *_products(parts, "a", f"K{mine}", owner, "k", f"K{other}", single, "c"),
        *_products(parts, "b", f"V{mine}", owner, "v", f"V{other}", single, "e"),
        *(zeros(f"tk_{c}", (owner, c)) for c in features),
        *(zeros(f"tv_{e}", (owner, e)) for e in values),
        *parts.walk(owner, "i", tuple(inner), body, (single,)),
    ]
    each += [Let(f"dk_{c}", _plus(f"dk_{c}", f"tk_{c}", f"k_{c}")) for c in features]
    each += [Let(f"dv_{e}", _plus(f"dv_{e}", f"tv_{e}", f"v_{e}")) for e in values]
    sums = [*(f"dk_{c}" for c in features), *(f"dv_{e}" for e in values)]
    stmts: list[Stmt] = [
        *(zeros(f"dk_{c}", (owner, c)) for c in features),
        *(zeros(f"dv_{e}", (owner, e)) for e in values),
        *_one_by_one(parts, owner, single, "i", tuple(sums), each),
    ]
    for c in features:
        scaled = call("mul", Ref(f"dk_{c}"), real(parts.a.scale))
        stmts.append(Store(f"DK{mine}", parts.index(owner, c), scaled))
    stmts += [Store(f"DV{mine}", parts.index(owner, e), Ref(f"dv_{e}")) for e in values]
    what = {"1": "first", "2": "second"}[mine]
    doc = f"Gradients of {what} keys and values."
    out = (f"DK{mine}", f"DV{mine}")
    return _kernel(parts, what, doc, "GLD", out, f"{owner}{single}i", stmts, configs)


def _queries(parts: Parts, configs: tuple[Config, ...]) -> Kernel:
    features = parts.lanes("c")

    def body(full: bool) -> list[Stmt]:
        return [
            *parts.load("k2", "K2", "k", "c"),
            *parts.logits("a", "k2"),
            *parts.probabilities("k", full),
            *parts.load("v2", "V2", "k", "e"),
            *parts.slope("b", "v2"),
            *parts.gather("t", "ds", "k2", "k", "c"),
        ]

    each: list[Stmt] = [
        *_products(parts, "a", "Q", "i", "k1", "K1", "j", "c"),
        *_products(parts, "b", "G", "i", "v1", "V1", "j", "e"),
        *(zeros(f"t_{c}", ("i", c)) for c in features),
        *parts.walk("i", "k", tuple(f"t_{c}" for c in features), body, ("j",)),
        *(Let(f"dq_{c}", _plus(f"dq_{c}", f"t_{c}", f"k1_{c}")) for c in features),
    ]
    stmts: list[Stmt] = [
        *parts.rows(),
        *(zeros(f"dq_{c}", ("i", c)) for c in features),
        *_one_by_one(parts, "i", "j", "k", tuple(f"dq_{c}" for c in features), each),
    ]
    for c in features:
        scaled = call("mul", Ref(f"dq_{c}"), real(parts.a.scale))
        stmts.append(Store("DQ", parts.index("i", c), scaled))
    doc = "Gradient of queries."
    return _kernel(parts, "queries", doc, "GLD", ("DQ",), "ijk", stmts, configs)


# --- pieces --------------------------------------------------------------------------------------
def _products(
    parts: Parts,
    name: str,
    tile: str,
    owner: str,
    row: str,
    single: str,
    axis: str,
    letter: str,
) -> list[Stmt]:
    """name = the owner's tile times one row of another tensor, which is kept as `row`."""
    out = [
        *parts.load(row, single, axis, letter, DType.ACCUMULATE),
        *parts.load(f"{name}_own", tile, owner, letter, DType.ACCUMULATE, again(axis)),
    ]
    for lane in parts.lanes(letter):
        both = call("mul", Ref(f"{name}_own_{lane}"), Ref(f"{row}_{lane}"))
        out.append(Let(f"{name}_{lane}", Cast(both, DType.COMPUTE)))
    return out


def _plus(total: str, term: str, row: str) -> Expr:
    return call("add", Ref(total), call("mul", Ref(term), Ref(row)))


def _one_by_one(
    parts: Parts,
    owner: str,
    single: str,
    inner: str,
    carried: tuple[str, ...],
    body: Sequence[Stmt],
) -> list[Stmt]:
    """The loop over one key after the other."""
    extent = parts.extent(single)
    condition = parts.a.condition
    lo, hi = span(condition, owner, BLOCKS[owner], single, inner, extent)
    bounds: list[Stmt] = [Let("first", lo), Let("last", hi)]
    if lo == integer(0) and hi == extent:
        return [For(single, lo, hi, carried, tuple(body))]
    return [*bounds, For(single, Ref("first"), Ref("last"), carried, tuple(body))]


def _kernel(
    parts: Parts,
    what: str,
    doc: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: str,
    body: list[Stmt],
    configs: tuple[Config, ...],
) -> Kernel:
    owner, single, walked = tuple(axes)
    own = [
        parts.tile(owner),
        Axis(single, AxisKind.SERIAL, parts.extent(single)),
        parts.chunk(walked),
    ]
    tensors = ("Q", "K1", "K2", "V1", "V2", *inputs)
    sizes = ("N", "M", "M2", "ZERO", *parts.a.sizes)
    return parts.kernel(what, doc, tensors, outputs, parts.a.masks, own, body, sizes, configs)
