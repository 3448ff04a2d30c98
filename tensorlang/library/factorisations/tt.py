"""Tensor train (matrix product state), and its matrix form on grouped axes."""

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
from tensorlang.library.fitting import tt_svd


def most(axes: Axes, args: Arguments) -> Ranks:
    sizes = [chains.size(site) for site in chains.sites(axes, "tt")]
    return tuple(min(prod(sizes[:k]), prod(sizes[k:])) for k in range(1, len(sizes)))


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    return chains.form(axes, chains.sites(axes, "tt"), ranks, ring=False)


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    chain = chains.by_site(values, form.axes, chains.sites(form.axes, "tt"))
    cores = tt_svd(chain, ranks)
    return tuple(c.reshape(f.shape) for c, f in zip(cores, form.factors, strict=True))


def needed(values: Array, axes: Axes, tol: float) -> Ranks:
    cores = tt_svd(chains.by_site(values, axes, chains.sites(axes, "tt")), None, tol)
    return tuple(core.shape[2] for core in cores[:-1])


ROW = Factorisation(
    name="tt",
    rank="rank",
    most=most,
    form=form,
    fit=fit,
    needed=needed,
    doc=(
        "W[i, j, k] = 0[i, r] * 1[r, j, r'] * 2[r', k]; on two grouped axes [(o1 o2), (i1 i2)] "
        "each core has one factor of both (Oseledets, 2011; Novikov et al., 2015); "
        "fitted by TT-SVD"
    ),
    example="param W[(o1 o2), (i1 i2)] ~ kaiming as tt(rank = 8)",
)
