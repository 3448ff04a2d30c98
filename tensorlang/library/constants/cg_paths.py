"""Couplings of all irreps of two dims to those of a third."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorlang.dtype import Dtype
from tensorlang.library.angular import couplings, wigner_3j
from tensorlang.library.constant import Constant, Number, OpenSlot, Slot
from tensorlang.library.irreps import Irreps
from tensorlang.size import Size


def _paths(found: tuple[Irreps | None, ...], parity: Number) -> list[tuple[int, int, int]]:
    one, two, three = found
    assert one is not None and two is not None and three is not None, found
    return list(couplings(one, two, three, bool(parity)))


def check(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> str | None:
    irreps = tuple(slot.irreps for slot in slots[1:])
    if None in irreps:
        return "its last three dims are irreps, such as dim i = irreps(2)"
    count = len(_paths(irreps, arguments["parity"]))
    if not count:
        return "no irreps of its second and third dim couple to one of the fourth"
    if slots[0].size != count:
        return f"there are {count} paths, its first axis has size {slots[0].size}"
    return None


def first(slots: tuple[OpenSlot, ...], arguments: dict[str, Number]) -> Size | None:
    irreps = tuple(slot.irreps for slot in slots)
    return None if None in irreps else len(_paths(irreps, arguments["parity"])) or None


def build(slots: tuple[Slot, ...], arguments: dict[str, Number]) -> Any:
    out = np.zeros([slot.size for slot in slots])
    irreps = [slot.irreps for slot in slots[1:] if slot.irreps is not None]
    for p, path in enumerate(_paths(tuple(irreps), arguments["parity"])):
        parts = [types.parts[k] for types, k in zip(irreps, path, strict=True)]
        starts = [types.offsets[k] for types, k in zip(irreps, path, strict=True)]
        a, b, c = (slice(at, at + part.size) for at, part in zip(starts, parts, strict=True))
        out[p, a, b, c] = wigner_3j(*(part.degree for part in parts))
    return out


ROW = Constant(
    name="cg_paths",
    axes=(4, 4),
    dtype=Dtype.REAL,
    numpy=build,
    check=check,
    first=first,
    doc=(
        "[paths, d1, d2, d3]: the table of cg for each triple of irreps that couples, in its "
        "block, ordered by (l1, l2, l3); parity = false takes those of opposite parity too (SO(3))"
    ),
    example="dim j = irreps(2); const C[p, j, j', j''] = cg_paths(p, j, j', j'')",
    arguments=(("parity", True),),
)
