"""Block diagonal matrix."""

from __future__ import annotations

import numpy as np

from tensorlang.library.factorisation import (
    Arguments,
    Array,
    Axes,
    Factor,
    Factorisation,
    Form,
    Mode,
    Ranks,
    Unfit,
)


def most(axes: Axes, args: Arguments) -> Ranks:
    count = args["n"]
    if len(axes) != 2:
        raise Unfit(f"blockdiag takes two axes, here are {len(axes)}")
    if count < 1:
        raise Unfit("n must be at least 1")
    for axis in axes:
        size = int(np.prod([mode.size for mode in axis]))
        if size % count:
            name = " ".join(mode.name for mode in axis)
            raise Unfit(f"{count} blocks do not divide {name}, whose size is {size}")
    return ()


def form(axes: Axes, ranks: Ranks, args: Arguments) -> Form:
    count = args["n"]
    rows, columns = (int(np.prod([mode.size for mode in axis])) // count for axis in axes)
    blocks = Mode("block", count), Mode("block'", count)
    inner = Mode("row", rows), Mode("column", columns)
    factor = Factor("blocks", ("block", "row", "column"), (count, rows, columns))
    split = ((blocks[0], inner[0]), (blocks[1], inner[1]))
    return Form(split, (), (factor,), (("block", "block'"),))


def fit(values: Array, form: Form, ranks: Ranks) -> tuple[Array, ...]:
    return (np.einsum("kpkq->kpq", values),)


ROW = Factorisation(
    name="blockdiag",
    rank=None,
    most=most,
    form=form,
    fit=fit,
    arguments=(("n", None),),
    doc="n equal blocks on the diagonal, 0 elsewhere; a fit takes the blocks as they are",
    example="param W[o, i] ~ kaiming as blockdiag(n = 4)",
)
