"""Sum of Kronecker products on grouped axes."""

from __future__ import annotations

from math import prod

import numpy as np

from tensorlang.library.chains import size
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
)
from tensorlang.library.fitting import alternating, truncated


def most(axes: Axes, args: Arguments) -> Ranks:
    lengths = {len(axis) for axis in axes}
    if len(lengths) != 1 or max(lengths) < 2:
        fault = "kron takes axes that are groups of equally many factors"
        raise Unfit(fault, "declare the axes as in  W[(o1 o2), (i1 i2)]")
    sizes = [size(site) for site in zip(*axes, strict=True)]
    return (prod(sizes) // max(sizes),)


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    bonds = (bond("r", ranks[0], axes),) if ranks[0] > 1 else ()  # one term needs no index
    factors = []
    for k, site in enumerate(zip(*axes, strict=True)):
        held = (*bonds, *site)
        factors.append(Factor(str(k), tuple(m.name for m in held), tuple(m.size for m in held)))
    return Form(axes, bonds, tuple(factors))


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    if len(form.factors) > 2:
        return alternating(values, form)
    # Van Loan and Pitsianis (1993): R[(o1 i1), (o2 i2)] = W[(o1 o2), (i1 i2)] is a sum of r rank 1
    count = len(form.axes)
    order = [*range(0, 2 * count, 2), *range(1, 2 * count, 2)]
    sizes = [size(site) for site in zip(*form.axes, strict=True)]
    left, singular, right = truncated(values.transpose(order).reshape(sizes), ranks[0])
    root = np.sqrt(singular)[:, None]
    pair = (left.T * root, right * root)
    return tuple(v.reshape(f.shape) for v, f in zip(pair, form.factors, strict=True))


ROW = Factorisation(
    name="kron",
    rank="rank",
    most=most,
    form=form,
    fit=fit,
    default=1,
    doc=(
        "W[(o1 o2), (i1 i2)] = 0[r, o1, i1] * 1[r, o2, i2]; without a rank one Kronecker product "
        "and no axis r; fitted by an SVD of the rearranged tensor"
    ),
    example="param W[(o1 o2), (i1 i2)] ~ kaiming as kron",
)
