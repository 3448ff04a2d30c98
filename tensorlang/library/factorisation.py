"""The shape of a factorisation's row: the factors of a dense tensor and the equation they obey.

Rows are data and short numpy code: they import neither torch nor the checker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Ranks: TypeAlias = tuple[int, ...]
Arguments: TypeAlias = Mapping[str, int]


class Unfit(ValueError):
    """Why a factorisation cannot be used so; `help` says what can."""

    def __init__(self, fault: str, help: str | None = None) -> None:
        super().__init__(fault)
        self.help = help


@dataclass(frozen=True, slots=True)
class Mode:
    """An index of the dense tensor or of the sum: its name and size."""

    name: str
    size: int


Axes: TypeAlias = tuple[tuple[Mode, ...], ...]
"""Axes of the dense tensor as declared; a group is an axis with several modes."""


@dataclass(frozen=True, slots=True)
class Position:
    """An affine position in a factor's axis: offset + sum of coefficient * mode, modulo `wrap`."""

    terms: tuple[tuple[str, int], ...]
    offset: int
    wrap: bool


@dataclass(frozen=True, slots=True)
class Factor:
    """A stored tensor: its key below the param's name, where it is read, the sizes of its axes."""

    name: str
    reads: tuple[str | Position, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """W over `axes` is the product of the factors, summed over `bonds`.

    It is 0 where the two modes of a pair in `equal` differ. `axes` are the declared ones, or split
    them further. The first factor is the one that `~ zeros` sets to 0.
    """

    axes: Axes
    bonds: tuple[Mode, ...]
    factors: tuple[Factor, ...]
    equal: tuple[tuple[str, str], ...] = ()

    @property
    def parameters(self) -> int:
        return sum(prod(factor.shape) for factor in self.factors)

    @property
    def terms(self) -> int:
        """P: how many products of factors a cell of W sums."""
        return prod(bond.size for bond in self.bonds)

    @property
    def density(self) -> float:
        """The part of W's cells that are not 0 by `equal`."""
        sizes = {mode.name: mode.size for axis in self.axes for mode in axis}
        return 1 / prod(sizes[first] for first, _ in self.equal)

    def factor_std(self, std: float) -> float:
        """The std of each factor for which the root mean square of W is `std`.

        Var W = density P prod_k Var_k for independent factors of mean 0, so equal factors have
        (std / sqrt(density P))^(1/K).
        """
        scale: float = std / (self.terms * self.density) ** 0.5
        return float(scale ** (1 / len(self.factors)))


@dataclass(frozen=True, slots=True)
class Factorisation:
    """A factorisation.

    `rank` is the name of its rank argument, None if it has none. `arguments` are further integer
    arguments with their defaults (None: it must be given). `most` are the ranks beyond which
    nothing is gained, one for each rank that a list gives; it raises Unfit for axes that the
    factorisation cannot take. `form` gives the factors for ranks. `fit` decomposes a dense tensor,
    one axis a mode in the order of the axes, into the factors of `form`. `needed` are the ranks at
    which the relative error is at most `tol`, None where only a search can tell. `free` says that
    ranks may exceed `most`.
    """

    name: str
    rank: str | None
    most: Callable[[Axes, Arguments], Ranks]
    form: Callable[[Axes, Ranks, Arguments], Form]
    fit: Callable[[Array, Form, Ranks], tuple[Array, ...]]
    doc: str
    example: str
    arguments: tuple[tuple[str, int | None], ...] = ()
    needed: Callable[[Array, Axes, float], Ranks] | None = None
    free: bool = False
    default: int | None = field(default=None)


def modes(axes: Axes) -> tuple[Mode, ...]:
    """All modes, a group counting as its factors."""
    return tuple(mode for axis in axes for mode in axis)


def bond(name: str, size: int, axes: Axes) -> Mode:
    """An index of the sum, primed until it differs from all indices of the tensor."""
    taken = {mode.name for mode in modes(axes)}
    while name in taken:
        name += "'"
    return Mode(name, size)


def key(name: str) -> str:
    """An index's name as part of a key: primes become `_1`, `_2`."""
    bare = name.rstrip("'")
    primes = len(name) - len(bare)
    return f"{bare}_{primes}" if primes else bare


def resolved(row: Factorisation, axes: Axes, rank: object, args: Arguments) -> Ranks:
    """Ranks from what the user wrote: an integer, a list of integers, a ratio of parameters.

    An integer holds for every rank, but for those that cannot be so large. Raises Unfit.
    """
    most = row.most(axes, args)
    if row.rank is None:
        return ()
    match rank:
        case bool():
            raise Unfit(f"{row.rank} must be a number or a list")
        case int():
            if rank < 1:
                raise Unfit(f"{row.rank} is {rank}: it must be at least 1")
            return tuple(rank if row.free else min(rank, limit) for limit in most)
        case float():
            if not 0 < rank < 1:
                fault = f"{row.rank} is {rank}: a ratio of parameters lies between 0 and 1"
                raise Unfit(fault, "ranks are integers; 0.2 keeps a fifth of the parameters")
            return _of_ratio(row, axes, rank, args, most)
        case tuple():
            return _listed(row, axes, rank, most)
        case _:
            raise Unfit(f"{row.rank} must be an integer, a list of integers or a ratio")


def _listed(row: Factorisation, axes: Axes, ranks: tuple[object, ...], most: Ranks) -> Ranks:
    if len(ranks) != len(most):
        names = " ".join(mode.name for mode in modes(axes))
        fault = f"{row.rank} has {len(ranks)} entries, {row.name} on ({names}) has {len(most)}"
        raise Unfit(fault, f"the largest that help are {list(most)}" if not row.free else None)
    out = []
    for rank, limit in zip(ranks, most, strict=True):
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise Unfit(f"{row.rank} has the entry {rank}: entries are integers, at least 1")
        if rank > limit and not row.free:
            fault = f"{row.rank} has the entry {rank} where {limit} is all that helps"
            raise Unfit(fault, f"the largest that help are {list(most)}")
        out.append(rank)
    return tuple(out)


def _of_ratio(row: Factorisation, axes: Axes, ratio: float, args: Arguments, most: Ranks) -> Ranks:
    """The largest ranks in proportion to `most` with at most this part of the parameters."""
    dense = prod(mode.size for mode in modes(axes))
    scale = float(dense) if row.free else 1.0
    low, high = 0.0, scale
    least = tuple(1 for _ in most)
    if (cost := row.form(axes, least, args).parameters) > ratio * dense:
        fault = f"{row.rank} = {ratio} cannot be reached: rank 1 has {cost} of {dense} parameters"
        raise Unfit(fault)
    best = least
    for _ in range(80):
        middle = (low + high) / 2
        ranks = tuple(max(1, int(middle * limit)) for limit in most)
        if row.form(axes, ranks, args).parameters <= ratio * dense:
            low, best = middle, ranks
        else:
            high = middle
    return best
