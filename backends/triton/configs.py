"""Configurations of launches: blocks, warps and pipeline stages by family, precision and head size.

Chosen by rule, never tuned at a first call. Every row is compiled for sm_90 without a spill
(tests/test_triton_compile.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from tensorlang.backends.triton.kernel_ir import Config

PRECISIONS = ("half", "float", "double", "interpreter")
Row = tuple[int, int, int, int]  # BM, BN, warps, stages


def pieces(size: int) -> tuple[tuple[int, int], ...]:
    """Split a head size into powers of two of at least 16, as (offset, block): 96 = 64 + 32.

    Three pieces at most; beyond that one padded block is cheaper.
    """
    total = -(-size // 16) * 16
    out = []
    offset = 0
    for block in (256, 128, 64, 32, 16):
        while total - offset >= block:
            out.append((offset, block))
            offset += block
    if len(out) > 2 and out != [(0, 256)]:
        power = 1 << (total - 1).bit_length()
        return ((0, power),)
    return tuple(out)


def padded(size: int) -> int:
    """Head size with what its pieces add."""
    return sum(block for _, block in pieces(size))


@dataclass(frozen=True, slots=True)
class AttentionConfigs:
    """Rows by kernel, precision and widest head size that they serve. A precision may name a chip
    ("half ampere") where the row for the others does not fit; None: no row does, torch computes."""

    rows: dict[str, dict[str, tuple[tuple[int, Row | None], ...]]]

    def row(self, kernel: str, precision: str, width: int) -> Row | None:
        if precision == "interpreter":
            return (16, 16, 4, 1)
        for most, row in self.rows[kernel][precision]:
            if width <= most:
                return row
        raise AssertionError((kernel, precision, width))

    def table(self, kernel: str, width: int) -> dict[str, Config | None]:
        """Configurations by precision, and by precision and chip where they differ."""
        keys = (*PRECISIONS, *(key for key in self.rows[kernel] if " " in key))
        rows = {key: self.row(kernel, key, width) for key in keys}
        return {key: None if row is None else _config(kernel, row) for key, row in rows.items()}

    def configs(self, kernel: str, width: int) -> tuple[Config, ...]:
        """All configurations, that of the interpreter last."""
        found = self.table(kernel, width)
        last = found.pop("interpreter")
        kept = [config for config in (*found.values(), last) if config is not None]
        return tuple(kept)


def _config(kernel: str, row: Row) -> Config:
    bm, bn, warps, stages = row
    blocks = (("BM", bm),) if kernel == "delta" else (("BM", bm), ("BN", bn))
    return Config(blocks, warps, stages)


ATTENTION = AttentionConfigs(
    {
        "forward": {
            "half": ((96, (128, 64, 8, 3)), (128, (128, 64, 8, 2))),
            "half ampere": ((32, (128, 64, 4, 2)), (128, (128, 32, 8, 2))),
            "half cdna": ((32, (128, 64, 8, 3)), (128, (128, 64, 4, 2))),
            "float": ((64, (64, 32, 4, 2)), (96, None), (128, (16, 32, 4, 1))),
            "float ampere": (
                (32, (64, 32, 4, 2)),
                (64, (32, 32, 8, 1)),
                (96, None),
                (128, (16, 32, 4, 1)),
            ),
            "float cdna": ((64, (64, 32, 4, 2)), (96, None), (128, (64, 32, 4, 2))),
            "double": ((32, (32, 32, 4, 1)), (64, (32, 32, 8, 1)), (128, None)),
            "double ampere": ((32, (32, 16, 4, 1)), (64, (32, 32, 4, 1)), (128, None)),
            "double cdna": ((64, (32, 32, 4, 1)), (128, None)),
        },
        "delta": {
            "half": ((128, (64, 64, 4, 1)),),
            "float": ((128, (64, 64, 4, 1)),),
            "double": ((128, (32, 32, 4, 1)),),
        },
        "keys": {
            "half": ((64, (64, 128, 8, 2)), (128, (64, 64, 8, 2))),
            "half ampere": ((32, (64, 128, 8, 2)), (128, (32, 64, 8, 2))),
            "half cdna": ((32, (64, 128, 8, 2)), (128, (64, 64, 4, 2))),
            "float": (
                (32, (32, 64, 8, 1)),
                (64, (16, 32, 8, 1)),
                (96, None),
                (128, (32, 16, 8, 1)),
            ),
            "float ampere": ((64, (16, 32, 8, 1)), (96, None), (128, (32, 16, 8, 1))),
            "float cdna": ((64, (32, 64, 8, 1)), (96, None), (128, (32, 32, 4, 1))),
            "double": ((64, (32, 32, 8, 1)), (128, None)),
            "double ampere": ((32, (32, 32, 8, 1)), (64, (32, 32, 4, 1)), (128, None)),
            "double cdna": ((64, (32, 32, 4, 1)), (128, None)),
        },
        "queries": {
            "half": ((128, (128, 64, 8, 2)),),
            "half ampere": ((32, (64, 64, 4, 2)), (64, (128, 64, 8, 2)), (128, (64, 64, 8, 2))),
            "half cdna": ((32, (128, 64, 8, 2)), (64, (64, 64, 8, 2)), (128, (64, 64, 4, 2))),
            "float": ((64, (64, 32, 8, 1)), (96, None), (128, (16, 32, 8, 1))),
            "float ampere": ((64, (32, 32, 8, 1)), (96, None), (128, (16, 32, 8, 1))),
            "float cdna": ((64, (64, 32, 8, 1)), (96, None), (128, (32, 32, 4, 1))),
            "double": ((64, (32, 32, 4, 1)), (128, None)),
            "double ampere": ((32, (32, 32, 4, 1)), (64, (32, 32, 8, 1)), (128, None)),
        },
        "bias": {
            "half": ((128, (64, 64, 8, 1)),),
            "float": ((64, (64, 32, 8, 1)), (128, None)),
            "double": ((64, (32, 16, 4, 1)), (128, None)),
        },
    }
)

THIRD = AttentionConfigs(
    {
        "forward": {
            "half": ((64, (128, 64, 8, 2)), (128, (64, 64, 8, 2))),
            "half ampere": ((128, (64, 32, 8, 2)),),
            "float": ((32, (64, 32, 8, 1)), (64, (32, 32, 8, 1)), (128, None)),
            "double": ((32, (32, 32, 8, 1)), (128, None)),
        },
        "delta": ATTENTION.rows["delta"],
        "keys": {
            "half": ((64, (32, 64, 8, 2)), (128, (64, 32, 8, 1))),
            "half ampere": ((128, (64, 32, 8, 1)),),
            "half cdna": ((64, (32, 64, 8, 2)), (128, (32, 32, 4, 1))),
            "float": ((32, (64, 16, 4, 1)), (64, (32, 32, 8, 1)), (128, None)),
            "float cdna": ((32, (64, 16, 4, 1)), (64, (16, 32, 4, 1)), (128, None)),
            "double": ((32, (32, 32, 8, 1)), (128, None)),
        },
        "queries": {
            "half": ((64, (64, 64, 8, 2)), (128, (64, 32, 8, 2))),
            "half ampere": ((128, (64, 32, 8, 2)),),
            "float": ((64, (64, 32, 8, 1)), (128, None)),
            "float ampere": ((32, (32, 16, 4, 1)), (64, (16, 32, 4, 1)), (128, None)),
            "double": ((32, (32, 32, 4, 1)), (128, None)),
        },
    }
)


# --- rows ----------------------------------------------------------------------------------------
ROW_BLOCKS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
TILE = 2048


def row_tile(lanes: int) -> tuple[int, int, int]:
    """(rows, lanes, warps) of a tile that holds `lanes` lanes; 0 stands for a piece of them."""
    if lanes == 0:
        return 8, 256, 4
    block = next(block for block in ROW_BLOCKS if lanes <= block)
    return max(1, TILE // block), block, 4 if block <= 2048 else 8 if block <= 4096 else 16


def row_configs(lanes: int | None, has_rows: bool, angles: bool) -> tuple[Config, ...]:
    """What a launch may use. `lanes` is the length of a row, 0 if a tile holds a piece of it; None
    if only the call knows: one configuration per bucket then. `angles`: sin, cos and tan need
    registers of their own to bring large arguments down."""
    out = []
    for size in ROW_BLOCKS if lanes is None else (lanes,):
        rows, block, warps = row_tile(size)
        rows = max(1, rows // 2) if angles else rows
        blocks = (("BR", rows), ("BL", block)) if has_rows else (("BL", block),)
        out.append(Config(blocks, warps, 1))
    return tuple(out)


# --- maps over pairs -----------------------------------------------------------------------------
PAIR_CELLS = ((4, 1024), (32, 512))
"""Cells of a tile of pairs, by how many values are written out for each pair."""
WIDE_PAIRS = {
    "half": (64, 64, 8),
    "half cdna": (32, 32, 4),
    "float": (16, 32, 4),
    "double": (16, 16, 4),
}
"""BM, BN, warps where tiles are operands of matrix products."""


def map_configs(count: int, lane: bool, wide: bool) -> dict[str, Config]:
    """Configurations by precision of the kernels that reduce over pairs (i, j).

    `count` values are written out for each pair; `lane`: they are an axis of the tile of 16 (a
    launch fits the tile to its length); `wide`: the tile is an operand of matrix products.
    """
    cells = next(cells for most, cells in PAIR_CELLS if count <= most)
    out = {}
    for precision in (*PRECISIONS, *(("half cdna",) if wide else ())):
        warps = 4
        if precision == "interpreter":
            bm, bn = 16, 16
        elif wide:
            bm, bn, warps = WIDE_PAIRS[precision]
        else:
            bm, bn = 32, cells // 32 // (2 if precision == "double" else 1)
        blocks = [("BM", bm), ("BN", bn)]
        if lane:
            blocks = [("BM", 16), ("BN", 16), ("BD", 16)]
            warps = 4 if precision == "half" else 8
        out[precision] = Config(tuple(blocks), warps, 1)
    return out
