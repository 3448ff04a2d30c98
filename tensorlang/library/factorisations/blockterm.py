"""Sum of several Tucker terms."""

from __future__ import annotations

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
from tensorlang.library.fitting import alternating


def most(axes: Axes, args: Arguments) -> Ranks:
    if args["terms"] < 1:
        raise Unfit("terms must be at least 1")
    if any(key(mode.name) == "core" for mode in modes(axes)):
        raise Unfit("an index named core has the key of blockterm's core", "rename the index")
    return tuple(mode.size for mode in modes(axes))


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    term = bond("s", args["terms"], axes)
    sized = zip(modes(axes), ranks, strict=True)
    bonds = tuple(bond(f"r_{mode.name}", rank, axes) for mode, rank in sized)
    core = Factor("core", (term.name, *(rank.name for rank in bonds)), (term.size, *ranks))
    factors = tuple(
        Factor(key(mode.name), (term.name, mode.name, rank.name), (term.size, mode.size, rank.size))
        for mode, rank in zip(modes(axes), bonds, strict=True)
    )
    return Form(axes, (term, *bonds), (core, *factors))


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    return alternating(values, form)


ROW = Factorisation(
    name="blockterm",
    rank="ranks",
    most=most,
    form=form,
    fit=fit,
    arguments=(("terms", 2),),
    doc=(
        "W[i, j] = core[s, p, q] * i[s, i, p] * j[s, j, q], a sum of `terms` Tucker terms "
        "(De Lathauwer, 2008); fitted by alternating least squares"
    ),
    example="param W[o, i] ~ kaiming as blockterm(ranks = 4, terms = 2)",
)
