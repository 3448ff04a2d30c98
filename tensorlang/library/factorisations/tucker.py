"""A small core, and a matrix for each index."""

from __future__ import annotations

import numpy as np

from tensorlang.library.factorisation import (
    Arguments,
    Array,
    Axes,
    Factor,
    Factorisation,
    Form,
    Ranks,
    Unfit,
    bond,
    key,
    modes,
)
from tensorlang.library.fitting import hooi, kept, unfolding


def most(axes: Axes, args: Arguments) -> Ranks:
    for mode in modes(axes):
        if key(mode.name) == "core":
            raise Unfit("an index named core has the key of tucker's core", "rename the index")
    sizes = [mode.size for mode in modes(axes)]
    if not sizes:
        raise Unfit("tucker takes one index or more")
    # an index that is longer than all others together cannot have full rank
    total = int(np.prod(sizes, dtype=object))
    return tuple(min(size, max(1, total // size)) if len(sizes) > 1 else size for size in sizes)


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    sized = zip(modes(axes), ranks, strict=True)
    bonds = tuple(bond(f"r_{mode.name}", rank, axes) for mode, rank in sized)
    core = Factor("core", tuple(rank.name for rank in bonds), ranks)
    factors = tuple(
        Factor(key(mode.name), (mode.name, rank.name), (mode.size, rank.size))
        for mode, rank in zip(modes(axes), bonds, strict=True)
    )
    return Form(axes, bonds, (core, *factors))


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    core, bases = hooi(values, ranks)
    return core, *bases


def needed(values: Array, axes: Axes, tol: float) -> Ranks:
    budget = tol * float(np.linalg.norm(values)) / values.ndim**0.5
    limits = most(axes, {})
    ranks = []
    for k, limit in enumerate(limits):
        singular = np.linalg.svd(unfolding(values, k), compute_uv=False)
        ranks.append(min(limit, kept(singular, budget)))
    return tuple(ranks)


ROW = Factorisation(
    name="tucker",
    rank="ranks",
    most=most,
    form=form,
    fit=fit,
    needed=needed,
    doc=(
        "W[i, j, k] = core[p, q, r] * i[i, p] * j[j, q] * k[k, r] (Tucker, 1966); "
        "fitted by HOSVD and orthogonal iteration"
    ),
    example="param W[o, i, h, w] ~ kaiming as tucker(ranks = [16, 16, 3, 3])",
)
