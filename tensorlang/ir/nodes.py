"""The graph's core on one screen: a node is an operation on reads; an index is a small integer.

Local indices of a node: 0 … rank-1 are its axes in order, rank … are the bound ones (summed,
landing, transformed). `sizes` gives the size of each. Names do not exist here; they and the spans
live in the graph's provenance table. Nodes with equal fields are one node (hash-consing, graph.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from tensorlang.check.program import Boundary, ReduceOp, ScatterOp, TransformOp
from tensorlang.dtype import Dtype
from tensorlang.size import Size

NodeId = int


# --- subscripts ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class At:
    """A local index over the whole axis."""

    index: int


@dataclass(frozen=True, slots=True)
class Group:
    """Local indices that split the axis row-major."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Affine:
    """offset + sum of coefficient * index; terms sorted by index; no terms is a fixed position."""

    terms: tuple[tuple[int, int], ...]
    offset: Size
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class Gather:
    """The value of an integer tensor, itself read at local indices."""

    read: Read
    boundary: Boundary


Subscript = At | Group | Affine | Gather


@dataclass(frozen=True, slots=True)
class Read:
    """One subscript per axis of the node read; `fill` is the value outside for boundary ELSE."""

    node: NodeId
    subscripts: tuple[Subscript, ...]
    fill: bool | int | float | complex | None = None


# --- scalar expressions of Pointwise -------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Arg:
    """The k-th read of the node."""

    position: int


@dataclass(frozen=True, slots=True)
class Lit:
    value: bool | int | float | complex
    dtype: Dtype


@dataclass(frozen=True, slots=True)
class Iota:
    """The integer value of a local index (an axis of the Pointwise)."""

    index: int


@dataclass(frozen=True, slots=True)
class SizeOf:
    size: Size


@dataclass(frozen=True, slots=True)
class App:
    """A row of `tensorlang.library.functions`; add, mul, and, or are n-ary; site: dropout."""

    function: str
    args: tuple[Scalar, ...]
    dtype: Dtype
    site: int = 0


Scalar = Arg | Lit | Iota | SizeOf | App


# --- operations ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Input:
    position: int


@dataclass(frozen=True, slots=True)
class Param:
    """`name` within this layer; parameters of sub-layers belong to Call."""

    name: str


class Array:
    """A constant's values (float64, complex128, int64 or bool), hashed by content."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: npt.NDArray[np.generic]) -> None:
        self.value = np.ascontiguousarray(value).reshape(np.shape(value))
        self.value.setflags(write=False)
        self._hash = hash((self.value.shape, self.value.dtype.str, self.value.tobytes()))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Array)
            and self._hash == other._hash
            and self.value.dtype == other.value.dtype
            and self.value.shape == other.value.shape
            and self.value.tobytes() == other.value.tobytes()
        )

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Const:
    array: Array


class Semiring(Enum):
    """(reduce, combine): sum-product, max-plus, min-plus, or-and."""

    SUM_PRODUCT = "sum-product"
    MAX_PLUS = "max-plus"
    MIN_PLUS = "min-plus"
    OR_AND = "or-and"


@dataclass(frozen=True, slots=True)
class Contract:
    """coefficient * sum over the bound indices of the product of the reads."""

    coefficient: int | float | complex = 1
    semiring: Semiring = Semiring.SUM_PRODUCT


@dataclass(frozen=True, slots=True)
class Pointwise:
    """One scalar expression over the reads; no bound indices."""

    expr: Scalar


@dataclass(frozen=True, slots=True)
class Reduce:
    """max, min, prod, logsumexp, any, all, argmax, argmin over the bound indices of one read.

    A `where` is already in the read (a Pointwise `where` with the operation's identity). SUM is a
    Contract; MEAN, NORM, VAR, STD and COUNT are lowered to others.
    """

    op: ReduceOp


@dataclass(frozen=True, slots=True)
class Softmax:
    """Softmax (or its log) jointly over `axes` of reads[0]; reads[1], if there, is the bool mask.

    A row with no true cell is 0.
    """

    axes: tuple[int, ...]
    log: bool


class ScanOp(Enum):
    CUMSUM = "cumsum"
    CUMPROD = "cumprod"


@dataclass(frozen=True, slots=True)
class Scan:
    """Inclusive scan of one read along an axis."""

    op: ScanOp
    axis: int


@dataclass(frozen=True, slots=True)
class Transform:
    """Opaque. `source[k]` are local (bound) indices of the reads, `target` axes of the node."""

    op: TransformOp
    source: tuple[int, ...]
    target: tuple[int, ...]
    norm: str = "backward"


@dataclass(frozen=True, slots=True)
class Scatter:
    """reads[k] lands at targets[k], one subscript per axis of the node.

    Local indices: the axes of the node, then the bound ones (which the targets mention).
    An axis taken as it is has target At(axis).
    """

    op: ScatterOp
    targets: tuple[tuple[Subscript, ...], ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """View: axis k of the node is the row-major merge of groups[k] (consecutive axes of the read).

    Axes are local indices 0 … rank-1; the read is identity over all axes of the node read.
    """

    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Output number `output` of sub-layer `sub` under `signature`; reads are its inputs."""

    sub: str
    signature: str
    output: int
    site: int = 0  # tells apart calls of a sub-layer that draws at random, else 0


Op = (
    Input
    | Param
    | Const
    | Contract
    | Pointwise
    | Reduce
    | Softmax
    | Scan
    | Transform
    | Scatter
    | Merge
    | Call
)


@dataclass(frozen=True, slots=True)
class Node:
    op: Op
    reads: tuple[Read, ...]
    sizes: tuple[Size, ...]
    rank: int
    dtype: Dtype

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.sizes[: self.rank]

    @property
    def bound(self) -> range:
        return range(self.rank, len(self.sizes))
