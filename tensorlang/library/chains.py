"""What trains and rings of cores share: which indices a core holds, and its shape.

On two axes that are groups of equally many factors, [(o1 o2), (i1 i2)], a core holds one factor
of each (the matrix form); on all others it holds one index.
"""

from __future__ import annotations

from math import prod

from tensorlang.library.factorisation import (
    Array,
    Axes,
    Factor,
    Form,
    Mode,
    Ranks,
    Unfit,
    bond,
    modes,
)

Sites = tuple[tuple[Mode, ...], ...]


def sites(axes: Axes, name: str) -> Sites:
    """The indices of each core. Raises Unfit where there are fewer than two cores."""
    lengths = {len(axis) for axis in axes}
    if len(axes) == 2 and len(lengths) == 1 and max(lengths) > 1:
        return tuple(zip(*axes, strict=True))
    found = tuple((mode,) for mode in modes(axes))
    if len(found) < 2:
        raise Unfit(f"{name} takes two indices or more")
    return found


def size(site: tuple[Mode, ...]) -> int:
    return prod(mode.size for mode in site)


def form(axes: Axes, chain: Sites, ranks: Ranks, ring: bool) -> Form:
    """Cores 0, 1, … [left bond, indices, right bond]; a train has no bond at its ends."""
    bonds = tuple(bond(f"r{k + (not ring)}", rank, axes) for k, rank in enumerate(ranks))
    factors = []
    for k, site in enumerate(chain):
        left = bonds[k : k + 1] if ring else bonds[max(k - 1, 0) : k]
        right = (bonds[(k + 1) % len(bonds)],) if ring else bonds[k : k + 1]
        held = (*left, *site, *right)
        factors.append(Factor(str(k), tuple(m.name for m in held), tuple(m.size for m in held)))
    return Form(axes, bonds, tuple(factors))


def by_site(values: Array, axes: Axes, chain: Sites) -> Array:
    """The tensor with one axis a core."""
    names = [mode.name for mode in modes(axes)]
    order = [names.index(mode.name) for site in chain for mode in site]
    return values.transpose(order).reshape([size(site) for site in chain])
