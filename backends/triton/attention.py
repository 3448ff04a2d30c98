"""K1: softmax attention over one key index, forward and backward, on queries [b…, i, c], keys
[b…, j, c] and values [b…, j, e] with any strides.

Online softmax in base 2 (Milakov and Gimelshein, 2018; Dao, 2023); the log-sum-exp is kept in base
2 and is +inf for a query that sees no key, whose output and gradient are 0. The backward is two
kernels that own keys and queries: no atomics. Heads that are no powers of two are split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tensorlang.backends.triton.attention_parts import Attention, Mask, Parts, zeros
from tensorlang.backends.triton.build import call, integer, real
from tensorlang.backends.triton.configs import ATTENTION, padded
from tensorlang.backends.triton.kernel_ir import (
    Axis,
    AxisKind,
    Config,
    Expr,
    For,
    Iota,
    Kernel,
    Let,
    Reduce,
    Reduction,
    Ref,
    Role,
    Stmt,
    Store,
    Tensor,
)
from tensorlang.backends.triton.tails import mask_tails


def kernels(attention: Attention) -> tuple[Kernel, ...]:
    """forward, delta, backward to keys and values, to queries, and to a bias if it needs that."""
    parts = Parts(attention)
    width = max(padded(attention.features), padded(attention.values))
    made = [
        _forward(parts, ATTENTION.configs("forward", width)),
        parts.delta(ATTENTION.configs("delta", width)),
        _keys(parts, ATTENTION.configs("keys", width)),
        _queries(parts, ATTENTION.configs("queries", width)),
    ]
    if attention.graded is not None:
        made.append(_bias(parts, attention.graded, ATTENTION.configs("bias", width)))
    return tuple(map(mask_tails, made))


def _forward(parts: Parts, configs: tuple[Config, ...]) -> Kernel:
    sums = [f"o_{e}" for e in parts.lanes("e")]

    def body(full: bool) -> list[Stmt]:
        return [
            *parts.load("k", "K", "j", "c"),
            *parts.logits("q", "k"),
            *parts.online("j", full, sums, "v"),
        ]

    stmts = [
        *parts.load("q", "Q", "i", "c"),
        *parts.start(sums),
        *parts.walk("i", "j", ("m", "l", *sums), body),
        *parts.finish(sums),
    ]
    doc = "Attention; L is the log-sum-exp in base 2."
    return _kernel(parts, "forward", doc, "QKV", "OL", "ij", stmts, configs)


def _keys(parts: Parts, configs: tuple[Config, ...]) -> Kernel:
    """Owns a block of keys, walks the queries that see it; tiles are [j, i]."""
    features = [f"dk_{c}" for c in parts.lanes("c")]
    values = [f"dv_{e}" for e in parts.lanes("e")]

    def body(full: bool) -> list[Stmt]:
        return [
            *parts.load("q", "Q", "i", "c"),
            *parts.logits("k", "q"),
            *parts.rows(),
            *parts.probabilities("i", full),
            *parts.load("g", "G", "i", "e"),
            *parts.gather("dv", "p", "g", "i", "e"),
            *parts.slope("v", "g"),
            *parts.gather("dk", "ds", "q", "i", "c"),
        ]

    stmts = [
        *parts.load("k", "K", "j", "c"),
        *parts.load("v", "V", "j", "e"),
        *(zeros(name, ("j", c)) for name, c in zip(features, parts.lanes("c"), strict=True)),
        *(zeros(name, ("j", e)) for name, e in zip(values, parts.lanes("e"), strict=True)),
        *parts.walk("j", "i", (*features, *values), body),
        *_slopes(parts, "DK", "j", features),
        *(
            Store("DV", parts.index("j", e), Ref(name))
            for name, e in zip(values, parts.lanes("e"), strict=True)
        ),
    ]
    doc = "Gradients of keys and values."
    return _kernel(parts, "keys", doc, "QKVGLD", ("DK", "DV"), "ji", stmts, configs)


def _queries(parts: Parts, configs: tuple[Config, ...]) -> Kernel:
    """Owns a block of queries, walks the keys that it sees."""
    sums = [f"dq_{c}" for c in parts.lanes("c")]

    def body(full: bool) -> list[Stmt]:
        return [
            *parts.load("k", "K", "j", "c"),
            *parts.logits("q", "k"),
            *parts.probabilities("j", full),
            *parts.load("v", "V", "j", "e"),
            *parts.slope("g", "v"),
            *parts.gather("dq", "ds", "k", "j", "c"),
        ]

    stmts = [
        *parts.load("q", "Q", "i", "c"),
        *parts.load("g", "G", "i", "e"),
        *parts.rows(),
        *(zeros(name, ("i", c)) for name, c in zip(sums, parts.lanes("c"), strict=True)),
        *parts.walk("i", "j", tuple(sums), body),
        *_slopes(parts, "DQ", "i", sums),
    ]
    doc = "Gradient of queries."
    return _kernel(parts, "queries", doc, "QKVGLD", ("DQ",), "ij", stmts, configs)


def _bias(parts: Parts, mask: Mask, configs: tuple[Config, ...]) -> Kernel:
    """Owns a tile of the bias, adds up what it lacks: queries, parts of the batch."""
    names = [index.axis for index in mask.index if isinstance(index, Iota)]
    kept = [k for k in range(parts.a.batch) if f"b{k}" in names]
    lost = [k for k in range(parts.a.batch) if k not in kept]
    whole = "i" in names
    once = whole and not lost  # nothing is added up

    def cells(full: bool) -> list[Stmt]:
        slope: Expr = Ref("ds")
        if not whole:
            slope = Reduce(Reduction.SUM, slope, "i")
        return [
            *parts.load("q", "Q", "i", "c"),
            *(parts.logits("q", "k") if whole else parts.logits("k", "q")),
            *parts.rows(),
            *parts.probabilities("j" if whole else "i", full),
            *parts.load("g", "G", "i", "e"),
            *(parts.slope("g", "v") if whole else parts.slope("v", "g")),
            Let("db", slope if once else call("add", Ref("db"), slope)),
        ]

    inner: list[Stmt] = [*parts.load("k", "K", "j", "c"), *parts.load("v", "V", "j", "e")]
    inner += cells(False) if whole else parts.walk("j", "i", ("db",), cells)
    own = [parts.tile("j")]
    own = [parts.tile("i"), *own] if whole else [*own, parts.chunk("i")]
    if lost:
        axis = parts.batch("r", AxisKind.SERIAL, lost)
        inner = [For("r", integer(0), axis.extent, ("db",), tuple(inner))]
        own.append(axis)
    body = [
        *([] if once else [zeros("db", ("i", "j") if whole else ("j",))]),
        *inner,
        Store(f"D{mask.name}", mask.index, Ref("db")),
    ]
    kernel = parts.kernel(
        "bias", "Gradient of the bias.", "QKVGLD", (), parts.a.masks, own, body,
        ("N", "M", *parts.a.sizes), configs, kept,
    )  # fmt: skip
    made = Tensor(f"D{mask.name}", Role.OUT, mask.dtype, mask.extents)
    return replace(kernel, tensors=(*kernel.tensors, made))


def _slopes(parts: Parts, tensor: str, row: str, sums: Sequence[str]) -> list[Stmt]:
    """Store gradients of what the logits are made of."""
    factor = real(parts.a.scale)
    return [
        Store(tensor, parts.index(row, c), call("mul", Ref(name), factor))
        for name, c in zip(sums, parts.lanes("c"), strict=True)
    ]


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
    owner, walked = tuple(axes)
    own: list[Axis] = [parts.tile(owner), parts.chunk(walked)]
    sizes = ("N", "M", *parts.a.sizes)
    return parts.kernel(what, doc, inputs, outputs, parts.a.masks, own, body, sizes, configs)
