"""A matrix as the product of two thin ones."""

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
from tensorlang.library.fitting import kept, truncated


def most(axes: Axes, args: Arguments) -> Ranks:
    if len(modes(axes)) != 2:
        names = " ".join(mode.name for mode in modes(axes))
        fault = f"lowrank takes two indices, here are {len(modes(axes))} ({names})"
        raise Unfit(fault, "cp and tucker take any number")
    return (min(mode.size for mode in modes(axes)),)


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    rank = bond("r", ranks[0], axes)
    factors = tuple(
        Factor(key(mode.name), (mode.name, rank.name), (mode.size, rank.size))
        for mode in modes(axes)
    )
    return Form(axes, (rank,), factors)


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    left, singular, right = truncated(values, ranks[0])
    root = np.sqrt(singular)
    return left * root, right.T * root


def needed(values: Array, axes: Axes, tol: float) -> Ranks:
    most(axes, {})
    singular = np.linalg.svd(values, compute_uv=False)
    return (kept(singular, tol * float(np.linalg.norm(values))),)


ROW = Factorisation(
    name="lowrank",
    rank="rank",
    most=most,
    form=form,
    fit=fit,
    needed=needed,
    doc="W[o, i] = o[o, r] * i[i, r]: two thin matrices; fitted by a truncated SVD",
    example="param W[o, i] ~ kaiming as lowrank(rank = 8)",
)
