"""Every row is the one above, moved on by one: a periodic convolution."""

from __future__ import annotations

import numpy as np

from tensorlang.library.factorisation import (
    Arguments,
    Array,
    Axes,
    Factor,
    Factorisation,
    Form,
    Position,
    Ranks,
    Unfit,
    modes,
)


def most(axes: Axes, args: Arguments) -> Ranks:
    if len(modes(axes)) != 2:
        raise Unfit(f"circulant takes two indices, here are {len(modes(axes))}")
    row, column = modes(axes)
    if row.size != column.size:
        sizes = f"{row.name} has size {row.size}, {column.name} has size {column.size}"
        raise Unfit(f"circulant takes a square matrix: {sizes}", "toeplitz takes any")
    return ()


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    row, column = modes(axes)
    position = Position(((row.name, 1), (column.name, -1)), 0, wrap=True)
    return Form(axes, (), (Factor("column", (position,), (row.size,)),))


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    size = len(values)
    at = np.subtract.outer(np.arange(size), np.arange(size)) % size
    total = np.zeros(size, values.dtype)
    np.add.at(total, at, values)
    return (total / size,)


ROW = Factorisation(
    name="circulant",
    rank=None,
    most=most,
    form=form,
    fit=fit,
    doc="W[t, s] = column[(t - s) mod n]; a fit takes the means",
    example="param W[t, t'] ~ normal(std = 0.1) as circulant",
)
