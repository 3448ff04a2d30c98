"""Coupling of two irreps to a third."""

from __future__ import annotations

from typing import Any

from tensorlang.dtype import Dtype
from tensorlang.library.angular import couples, wigner_3j
from tensorlang.library.constant import Constant, Number, Slot
from tensorlang.library.irreps import Irrep


def _irreps(slots: tuple[Slot, ...]) -> list[Irrep]:
    return [slot.irreps.parts[0] for slot in slots if slot.irreps and len(slot.irreps.parts) == 1]


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    found = _irreps(slots)
    if len(found) < 3:
        return 'each of its dims is one irrep, such as dim i = irreps("1o"); cg_paths takes several'
    one, two, three = found
    if not couples(one, two, three, parity=False):
        return f"degrees {one.degree} and {two.degree} do not couple to {three.degree}"
    if not couples(one, two, three, parity=True):
        return f"{one} x {two} has the parity opposite to {three}, the coefficient is zero"
    return None


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    one, two, three = _irreps(slots)
    return wigner_3j(one.degree, two.degree, three.degree)


ROW = Constant(
    name="cg",
    axes=(3, 3),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    doc=(
        "[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]: Clebsch-Gordan coefficients, one irrep an index, in "
        "e3nn's basis and sign (its wigner_3j), of Frobenius norm 1"
    ),
    example='dim i = irreps("1o"), j = irreps("2e"); const C[i, i\', j] = cg(i, i\', j)',
)
