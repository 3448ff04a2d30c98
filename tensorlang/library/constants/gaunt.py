"""Integrals of three spherical harmonics."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.angular import gaunt_factor, triangle, wigner_3j
from tensorlang.library.constant import Constant, Number, Slot


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    irreps = [slot.irreps for slot in slots if slot.irreps is not None]
    if len(irreps) < 3:
        return "its dims are irreps, such as dim i = irreps(2)"
    parts = [part for types in irreps for part in types.parts]
    unnatural = next((part for part in parts if not part.natural), None)
    if unnatural is not None:
        return f"spherical harmonics of degree {unnatural.degree} are not of parity {unnatural}"
    if not np.any(build(slots, arguments)):
        return "it is zero: all sums of three degrees are odd, or no degrees couple"
    return None


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    out = np.zeros([slot.size for slot in slots])
    one, two, three = (slot.irreps for slot in slots)
    assert one is not None and two is not None and three is not None, slots
    for a, x in zip(one.offsets, one.parts, strict=True):
        for b, y in zip(two.offsets, two.parts, strict=True):
            for c, z in zip(three.offsets, three.parts, strict=True):
                degrees = (x.degree, y.degree, z.degree)
                if triangle(*degrees) and sum(degrees) % 2 == 0:
                    block = out[a : a + x.size, b : b + y.size, c : c + z.size]
                    block += gaunt_factor(*degrees) * wigner_3j(*degrees)
    return out


ROW = Constant(
    name="gaunt",
    axes=(3, 3),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    doc=(
        "[d1, d2, d3]: integral over the sphere of three real spherical harmonics, orthonormal, in "
        "e3nn's basis (Wigner and Eckart: a factor times cg for each triple of degrees)"
    ),
    example="dim j = irreps(2); const C[j, j', j''] = gaunt(j, j', j'')",
)
