"""Canonical polyadic form: a sum of outer products."""

from __future__ import annotations

from math import prod

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
from tensorlang.library.fitting import alternating, truncated


def most(axes: Axes, args: Arguments) -> Ranks:
    sizes = [mode.size for mode in modes(axes)]
    if len(sizes) < 2:
        raise Unfit("cp takes two indices or more")
    return (prod(sizes) // max(sizes),)  # every tensor has a cp of this rank


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    rank = bond("r", ranks[0], axes)
    factors = tuple(
        Factor(key(mode.name), (mode.name, rank.name), (mode.size, rank.size))
        for mode in modes(axes)
    )
    return Form(axes, (rank,), factors)


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    if values.ndim > 2:
        return alternating(values, form)
    left, singular, right = truncated(values, ranks[0])  # of a matrix it is the best
    root = np.sqrt(singular)
    missing = ranks[0] - len(singular)
    more = np.random.default_rng(0).standard_normal((values.shape[1], missing))
    more /= max(values.shape) ** 0.5  # one side of what is not needed is 0, the other can learn
    first = np.pad(left * root, [(0, 0), (0, missing)])
    return first, np.concatenate([right.T * root, more], axis=1)


ROW = Factorisation(
    name="cp",
    rank="rank",
    most=most,
    form=form,
    fit=fit,
    free=True,
    doc=(
        "W[i, j, k] = i[i, r] * j[j, r] * k[k, r] (Hitchcock, 1927); "
        "fitted by alternating least squares"
    ),
    example="param W[o, i] ~ kaiming as cp(rank = 8)",
)
