"""Tensor ring: a train whose ends are joined."""

from __future__ import annotations

from math import prod

from tensorlang.library import chains
from tensorlang.library.factorisation import (
    Arguments,
    Array,
    Axes,
    Factorisation,
    Form,
    Ranks,
)
from tensorlang.library.fitting import alternating


def most(axes: Axes, args: Arguments) -> Ranks:
    sizes = [chains.size(site) for site in chains.sites(axes, "tr")]
    return (prod(sizes) // max(sizes),) * len(sizes)


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    return chains.form(axes, chains.sites(axes, "tr"), ranks, ring=True)


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    return alternating(values, form)


ROW = Factorisation(
    name="tr",
    rank="rank",
    most=most,
    form=form,
    fit=fit,
    free=True,
    doc=(
        "W[i, j, k] = 0[r, i, r'] * 1[r', j, r''] * 2[r'', k, r]; grouped axes as for tt "
        "(Zhao et al., 2016); fitted by alternating least squares"
    ),
    example="param W[i, j, k] ~ normal(std = 0.1) as tr(rank = 4)",
)
