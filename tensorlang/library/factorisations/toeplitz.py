"""Constant along diagonals: a convolution of full length."""

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
        raise Unfit(f"toeplitz takes two indices, here are {len(modes(axes))}")
    return ()


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    row, column = modes(axes)
    position = Position(((row.name, 1), (column.name, -1)), column.size - 1, wrap=False)
    return Form(axes, (), (Factor("diagonals", (position,), (row.size + column.size - 1,)),))


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    rows, columns = values.shape
    flipped = values[:, ::-1]  # diagonal o - i is the antidiagonal o + (columns - 1 - i)
    at = np.add.outer(np.arange(rows), np.arange(columns))
    total = np.zeros(rows + columns - 1, values.dtype)
    np.add.at(total, at, flipped)
    return (total / np.bincount(at.ravel()),)


ROW = Factorisation(
    name="toeplitz",
    rank=None,
    most=most,
    form=form,
    fit=fit,
    doc="W[o, i] = diagonals[o - i + |i| - 1]; a fit takes the means of the diagonals",
    example="param W[t, t'] ~ normal(std = 0.1) as toeplitz",
)
