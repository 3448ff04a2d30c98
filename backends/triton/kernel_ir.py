"""The kernel IR on one screen: a kernel is a grid of programs that load tiles, compute and store.

Twelve node kinds: statements Let, For, If, Store, Atomic and expressions Const, Iota, Load, Map,
Dot, Reduce, Cast; a Ref names a Let, a carried value or a size. A tile's axes are always in the
order in which the kernel declares them, so broadcasting needs no annotation. Masks of the tails of
axes are derived (tails.py), never written by hand. Values are typed by types.py, checked by
validate.py, printed by print.py and run on numpy by evaluate.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DType(Enum):
    """BOOL, INT (index arithmetic), COMPUTE (operands of Dot), ACCUMULATE; STORED: as loaded.

    COMPUTE is the storage type on a GPU and float32 in the interpreter, ACCUMULATE is float32; both
    are float64 in float64 kernels.
    """

    BOOL = "bool"
    INT = "int"
    COMPUTE = "compute"
    ACCUMULATE = "accumulate"
    STORED = "stored"


# --- expressions ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Const:
    """A scalar, or a tile of one value over `axes`."""

    value: bool | int | float
    dtype: DType
    axes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ref:
    """A value bound by Let or carried, a size, the block of an axis by its name, or `{axis}_first`,
    where this program's block of a TILE axis starts."""

    name: str


@dataclass(frozen=True, slots=True)
class Iota:
    """The position on an axis or on a part of it: a scalar on GRID and SERIAL axes, else a tile."""

    axis: str


@dataclass(frozen=True, slots=True)
class Load:
    """A cell per position of the tile, `other` where `pred` is false. A Cast follows at once."""

    tensor: str
    index: tuple[Expr, ...]
    pred: Expr | None = None
    other: bool | int | float = 0


@dataclass(frozen=True, slots=True)
class Map:
    """A scalar function on every cell; arguments broadcast over the axes that they lack."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """acc + sum over `axis` of a * b, for tiles of rank 2; accumulates in ACCUMULATE."""

    a: Expr
    b: Expr
    axis: str
    acc: Expr | None = None


class Reduction(Enum):
    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Reduce:
    op: Reduction
    a: Expr
    axis: str


@dataclass(frozen=True, slots=True)
class Cast:
    a: Expr
    dtype: DType


Expr = Const | Ref | Iota | Load | Map | Dot | Reduce | Cast


# --- statements ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Let:
    """Bind a name; a carried name may be bound again inside its For."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class For:
    """Walk a CHUNK or SERIAL axis from `lo` to `hi`, a block at a time.

    `carried` are names bound before that the body binds again. `full`: every tile lies inside the
    axis and inside its support, so no mask is needed.
    """

    axis: str
    lo: Expr
    hi: Expr
    carried: tuple[str, ...]
    body: tuple[Stmt, ...]
    full: bool = False


@dataclass(frozen=True, slots=True)
class If:
    """A condition that is uniform over the program."""

    condition: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Store:
    tensor: str
    index: tuple[Expr, ...]
    value: Expr
    pred: Expr | None = None


@dataclass(frozen=True, slots=True)
class Atomic:
    """Add to a cell that other programs may add to."""

    tensor: str
    index: tuple[Expr, ...]
    value: Expr
    pred: Expr | None = None


Stmt = Let | For | If | Store | Atomic


# --- the kernel ----------------------------------------------------------------------------------
class AxisKind(Enum):
    GRID = "grid"  # one position per program
    TILE = "tile"  # one block per program
    CHUNK = "chunk"  # walked by a For, a block at a time
    SERIAL = "serial"  # walked by a For, one position at a time
    LANE = "lane"  # the whole extent in one block


@dataclass(frozen=True, slots=True)
class Part:
    """One factor of an axis that is the row-major product of several."""

    name: str
    extent: Expr


@dataclass(frozen=True, slots=True)
class Axis:
    """`block` is a power of two or the name of one that the configuration gives; 1 for scalars.

    `parts` split the position row-major. `support` is a condition on two axes: where it is false
    the cell contributes nothing, and loops may leave it out. `reverse`: programs take the last
    block first. A LANE axis covers `offset` to `extent`: several are the pieces of a longer one.
    """

    name: str
    kind: AxisKind
    extent: Expr
    block: int | str = 1
    parts: tuple[Part, ...] = ()
    support: Expr | None = None
    reverse: bool = False
    offset: int = 0


class Role(Enum):
    IN = "in"
    OUT = "out"
    ACC = "acc"  # zero before the launch, target of Atomic


@dataclass(frozen=True, slots=True)
class Tensor:
    """An argument with a stride per dimension. COMPUTE means real, stored as the caller has it."""

    name: str
    role: Role
    dtype: DType
    extents: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What one launch fixes: the blocks by name, warps and pipeline stages."""

    blocks: tuple[tuple[str, int], ...]
    warps: int = 4
    stages: int = 1


@dataclass(frozen=True, slots=True)
class Kernel:
    """`sizes` are integer arguments. Grid axes (GRID, TILE) are numbered row-major."""

    name: str
    doc: str
    tensors: tuple[Tensor, ...]
    sizes: tuple[str, ...]
    axes: tuple[Axis, ...]
    body: tuple[Stmt, ...]
    configs: tuple[Config, ...]

    def axis(self, name: str) -> Axis:
        """The axis of this name or with a part of this name."""
        for axis in self.axes:
            if axis.name == name or any(part.name == name for part in axis.parts):
                return axis
        raise AssertionError((self.name, name))

    def tensor(self, name: str) -> Tensor:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise AssertionError((self.name, name))


def block_of(axis: Axis, config: Config) -> int:
    """The block of an axis under a configuration."""
    return axis.block if isinstance(axis.block, int) else dict(config.blocks)[axis.block]


SCALAR_KINDS = (AxisKind.GRID, AxisKind.SERIAL)
GRID_KINDS = (AxisKind.GRID, AxisKind.TILE)
