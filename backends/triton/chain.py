"""K4: a chain x A G B of small ranks, plus a tensor and a bias; what has the size of a rank stays
in registers. A program owns a block of rows; it walks k for x A, then n for the results.

The gradient of x is the same kernel over the transposed factors in reverse.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.build import floor_to, integer, real
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
    Map,
    Ref,
    Role,
    Stmt,
    Store,
    Tensor,
)
from tensorlang.backends.triton.tails import mask_tails

LETTERS = "rs"


def chain_configs(rank: int) -> dict[str, Config]:
    """Configurations by precision of a chain whose ranks are padded to at most `rank`."""
    rows = {
        "half": (64, 64, 64, 4, 3),
        "float": (64, 32, 64, 4, 2) if rank <= 32 else (32, 32, 32, 4, 2),
        "double": (32, 16, 32, 4, 1) if rank <= 32 else (16, 16, 16, 4, 1),
        "interpreter": (16, 16, 16, 4, 1),
    }
    out = {}
    for precision, (bm, bk, bn, warps, stages) in rows.items():
        out[precision] = Config((("BM", bm), ("BK", bk), ("BN", bn)), warps, stages)
    return out


def padded(rank: int) -> int:
    """A rank as an axis of a Dot."""
    return max(16, 1 << (rank - 1).bit_length())


def chain_kernel(name: str, ranks: Sequence[int], scale: float, added: bool, bias: bool) -> Kernel:
    """Y[m, n] = scale * (X F0 F1 …)[m, n] + C[m, n] + b[n]; T0, T1, … are X F0, X F0 F1, …."""
    lanes = LETTERS[: len(ranks)]
    axes = [
        Axis("m", AxisKind.TILE, Ref("M"), "BM"),
        Axis("k", AxisKind.CHUNK, Ref("K"), "BK"),
        *(
            Axis(lane, AxisKind.LANE, integer(rank), padded(rank))
            for lane, rank in zip(lanes, ranks, strict=True)
        ),
        Axis("n", AxisKind.CHUNK, Ref("N"), "BN"),
    ]
    last = len(ranks)
    whole = {"k": Ref("K"), "n": Ref("N")}
    extents: list[Expr] = [whole["k"], *map(integer, ranks), whole["n"]]
    tensors = [_tensor("X", Role.IN, Ref("M"), whole["k"])]
    tensors += [_tensor(f"F{k}", Role.IN, extents[k], extents[k + 1]) for k in range(last + 1)]
    if added:
        tensors.append(_tensor("C", Role.IN, Ref("M"), whole["n"]))
    if bias:
        tensors.append(_tensor("B", Role.IN, whole["n"]))
    tensors.append(_tensor("Y", Role.OUT, Ref("M"), whole["n"]))
    tensors += [_tensor(f"T{k}", Role.OUT, Ref("M"), extents[k + 1]) for k in range(last)]
    first = lanes[0]
    dot = Dot(_load("X", "m", "k"), _load("F0", "k", first), "k", Ref("t0"))
    body: list[Stmt] = [
        Let("t0", Const(0.0, DType.ACCUMULATE, ("m", first))),
        *_walk("k", whole["k"], "BK", ("t0",), (Let("t0", dot),)),
        Let("u0", Cast(_zeroed(Ref("t0"), first, ranks[0]), DType.COMPUTE)),
        Store("T0", (Iota("m"), Iota(first)), Ref("t0")),
    ]
    for k in range(1, last):
        factor = _load(f"F{k}", lanes[k - 1], lanes[k])
        body += [
            Let(f"t{k}", Dot(Ref(f"u{k - 1}"), factor, lanes[k - 1])),
            Let(f"u{k}", Cast(Ref(f"t{k}"), DType.COMPUTE)),
            Store(f"T{k}", (Iota("m"), Iota(lanes[k])), Ref(f"t{k}")),
        ]
    y: Expr = Dot(Ref(f"u{last - 1}"), _load(f"F{last}", lanes[-1], "n"), lanes[-1])
    inner: list[Stmt] = [Let("y", y)]
    y = Ref("y") if scale == 1 else Map("mul", (Ref("y"), real(scale)))
    terms: list[Expr] = [y]
    if added:
        inner.append(Let("c", _load("C", "m", "n", dtype=DType.ACCUMULATE)))
        terms.append(Ref("c"))
    if bias:
        inner.append(Let("b", _load("B", "n", dtype=DType.ACCUMULATE)))
        terms.append(Ref("b"))
    y = terms[0] if len(terms) == 1 else Map("add", tuple(terms))
    inner.append(Store("Y", (Iota("m"), Iota("n")), y))
    body += _walk("n", whole["n"], "BN", (), tuple(inner))
    doc = "A chain of small rank; T0, … is what has the size of a rank."
    return mask_tails(
        Kernel(
            name, doc, tuple(tensors), ("M", "K", "N"), tuple(axes), tuple(body),
            tuple(chain_configs(max(map(padded, ranks))).values()),
        )
    )  # fmt: skip


def _zeroed(value: Expr, lane: str, rank: int) -> Expr:
    """A carried value over a lane, 0 past its end as its factor was."""
    if padded(rank) == rank:
        return value
    return Map("where", (Map("lt", (Iota(lane), integer(rank))), value, real(0)))


def _walk(
    axis: str, extent: Expr, block: str, carried: tuple[str, ...], body: tuple[Stmt, ...]
) -> list[Stmt]:
    """Whole blocks without masks, then the rest."""
    whole = Ref(f"whole_{axis}")
    return [
        Let(whole.name, floor_to(extent, block)),
        For(axis, integer(0), whole, carried, body, True),
        For(axis, whole, extent, carried, body),
    ]


def _load(tensor: str, *axes: str, dtype: DType = DType.COMPUTE) -> Expr:
    return Cast(Load(tensor, tuple(map(Iota, axes))), dtype)


def _tensor(name: str, role: Role, *extents: Expr) -> Tensor:
    return Tensor(name, role, DType.COMPUTE, extents)
