"""The checked program: closed, typed, no sugar left. The reference runs it, `lower` reads it.

What the checker guarantees of it:
* every name is resolved; `def`s are substituted; hyperparameters are values (or sympy symbols when
  a layer is checked before it is bound);
* every sum is explicit (`Reduce`); the free indices of a right side are a subset of the left's;
* an index bound by a Reduce, a Transform or a Scatter is bound nowhere else in the same statement
  and is free nowhere in it (the checker renames: `Index.fresh` > 0);
* a subscript is proved in range, or carries the boundary that brings it inside;
* at top level `...` is one index (`Index.ellipsis`) that stands for all batch axes, flattened
  row-major; where a layer is called by another, `...` is replaced by the caller's leftover indices.

Declarations of one contract, read as a whole: that is why they stand in one file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import sympy

from tensorlang.dtype import Dtype
from tensorlang.library.constant import Slot
from tensorlang.library.irreps import Irreps
from tensorlang.size import Size
from tensorlang.source import Span


@dataclass(frozen=True, slots=True)
class Dim:
    """A named size. `size` is an int, or a sympy expression in the symbols of dynamic dims.

    A dynamic dim's size is `size.dynamic(name)`; an unbound hyperparameter is `size.unbound(name)`.
    `irreps` says how its components turn, where it was declared with `irreps(...)`.
    """

    name: str
    size: Size
    irreps: Irreps | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """An index over a dim. Two indices are the same iff they compare equal."""

    name: str
    dim: Dim
    fresh: int = 0
    ellipsis: bool = False


# --- expressions: scalar fields over their free indices ------------------------------------------
@dataclass(frozen=True, slots=True)
class Literal:
    value: bool | int | float | complex
    dtype: Dtype


@dataclass(frozen=True, slots=True)
class IndexValue:
    """The integer value of an index; over a flattened ellipsis it does not occur."""

    index: Index


@dataclass(frozen=True, slots=True)
class SizeValue:
    """A size as a number: `|c|`."""

    size: Size


@dataclass(frozen=True, slots=True)
class Apply:
    """A pointwise function of the library (`tensorlang.library.functions`) on its arguments.

    Operators are functions too: add (n-ary), mul (n-ary), neg, div, floordiv, mod, pow, lt, le, gt,
    ge, eq, ne, and (n-ary), or (n-ary), not, where(condition, then, otherwise).
    A chained comparison is an `and` of comparisons. `site` tells dropout call sites apart.
    """

    function: str
    args: tuple[Expr, ...]
    dtype: Dtype
    site: int = 0


class Boundary(Enum):
    """How a subscript stays inside its axis."""

    INSIDE = "inside"  # proved for all sizes
    ELSE = "else"  # outside, the whole read is `Read.otherwise`
    WRAP = "wrap"
    CLAMP = "clamp"
    REFLECT = "reflect"
    CHECKED = "checked"  # gathered: IndexError at run time if outside


@dataclass(frozen=True, slots=True)
class Affine:
    """offset + sum of coefficient * index. The offset is an int or a sympy expression in sizes."""

    terms: tuple[tuple[Index, int], ...]
    offset: Size


@dataclass(frozen=True, slots=True)
class At:
    """The subscript is just an index, over the whole axis."""

    index: Index


@dataclass(frozen=True, slots=True)
class Group:
    """The subscript is `(h c)`: the indices split the axis row-major. Always inside."""

    indices: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class AffineAt:
    """An affine subscript, e.g. `2*x + i - 1`, `t - 1`, `0` (no terms)."""

    affine: Affine
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class ComputedAt:
    """Any other integer expression, e.g. `src[e]`, `t - offset[w]`, `n // 2`."""

    value: Expr
    boundary: Boundary


Subscript = At | Group | AffineAt | ComputedAt


@dataclass(frozen=True, slots=True)
class Read:
    """A tensor at computed positions, one subscript per declared axis of the tensor.

    If any subscript with boundary ELSE is outside, the value is `otherwise` (always set then).
    """

    tensor: str
    subscripts: tuple[Subscript, ...]
    dtype: Dtype
    otherwise: Literal | None = None


class ReduceOp(Enum):
    SUM = "sum"
    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    PROD = "prod"
    LOGSUMEXP = "logsumexp"
    NORM = "norm"
    VAR = "var"
    STD = "std"
    ANY = "any"
    ALL = "all"
    COUNT = "count"
    ARGMAX = "argmax"
    ARGMIN = "argmin"


@dataclass(frozen=True, slots=True)
class Reduce:
    """Binds `indices`. Cells where `where` is false contribute nothing, to value or gradient.

    count has body Literal(True) and counts where `where` holds. argmax and argmin have one index.
    """

    op: ReduceOp
    indices: tuple[Index, ...]
    where: Expr | None
    body: Expr
    dtype: Dtype


class AlongOp(Enum):
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log_softmax"
    CUMSUM = "cumsum"
    CUMPROD = "cumprod"


@dataclass(frozen=True, slots=True)
class Along:
    """An operator that keeps its indices: they stay free in the result. Scans have one index."""

    op: AlongOp
    indices: tuple[Index, ...]
    where: Expr | None
    body: Expr
    dtype: Dtype


class TransformOp(Enum):
    FFT = "fft"
    IFFT = "ifft"
    RFFT = "rfft"
    IRFFT = "irfft"
    CONCAT = "concat"
    INV = "inv"
    SOLVE = "solve"
    CHOLESKY = "cholesky"
    SQRTM = "sqrtm"
    EXPM = "expm"
    LOGM = "logm"
    EIGVALS = "eigvals"
    EIGVECS = "eigvecs"
    SPHERICAL_HARMONICS = "spherical_harmonics"


@dataclass(frozen=True, slots=True)
class Transform:
    """Binds `source` in its arguments, makes `target` free in the result.

    FFTs: source[i] becomes target[i], the last pair is the half axis of rfft and irfft; `norm` is
    "forward", "backward" or "ortho". concat: one argument per source index, laid end to end along
    target[0]. Matrix functions: source (n, n') are the rows and columns of args[0], target those of
    the result. solve: args (A, b), source (n, n') with b over n, target (n',).
    eigvals: target (k,); eigvecs: target (n, k). spherical_harmonics: source of size 3, target of
    size (L + 1)² for degrees 0 … L.
    """

    op: TransformOp
    source: tuple[Index, ...]
    target: tuple[Index, ...]
    args: tuple[Expr, ...]
    dtype: Dtype
    norm: str = "backward"


Expr = Literal | IndexValue | SizeValue | Apply | Read | Reduce | Along | Transform


# --- tensors and statements ----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a tensor: one index, or several that make it row-major (a group).

    The index of an axis with `ellipsis` stands for any number of axes at the Python border.
    """

    indices: tuple[Index, ...]

    @property
    def size(self) -> Size:
        size: Size = 1
        for index in self.indices:
            size = size * index.dim.size
        return size


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    span: Span


@dataclass(frozen=True, slots=True)
class Initialiser:
    """`~ name(args)`: a row of `tensorlang.library.initialisers` and its bound arguments."""

    name: str
    args: tuple[tuple[str, bool | int | float], ...]


@dataclass(frozen=True, slots=True)
class Param:
    """`fan_in` is the product of the param's sizes summed in its first use (1 if none)."""

    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    initialiser: Initialiser
    frozen: bool
    fan_in: Size
    span: Span


@dataclass(frozen=True, slots=True)
class Const:
    """A compile-time tensor: `value` is an expression over the axes' indices and earlier consts.

    A list is a `Table`, what a constructor builds is `Constructed`.
    """

    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    value: Expr | Table | Constructed
    span: Span


@dataclass(frozen=True, slots=True)
class Table:
    """Literal entries in row-major order."""

    entries: tuple[bool | int | float | complex, ...]


@dataclass(frozen=True, slots=True)
class Constructed:
    """A row of `tensorlang.library.constants` over the const's indices, in the row's order."""

    constructor: str
    indices: tuple[Index, ...]
    arguments: tuple[tuple[str, bool | int | float], ...]

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What the row is told of its axes; their sizes are known."""
        out: list[Slot] = []
        for index in self.indices:
            assert isinstance(index.dim.size, int), index
            out.append(Slot(index.dim.size, index.dim.irreps))
        return tuple(out)


@dataclass(frozen=True, slots=True)
class Equation:
    """Defines `name` over its axes. `temporary`: the checker made the name (`at`, call arguments).

    A group axis of the target is computed over its indices and then merged row-major.
    """

    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    body: Expr
    span: Span
    temporary: bool = False


class ScatterOp(Enum):
    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One `T[...] op= body`. `landing` are the bound indices; other free indices are axes of T.

    `subscripts` gives, per axis of T, where a value lands: At(axis index) for an axis as it is.
    ELSE means that values that land outside are dropped.
    """

    subscripts: tuple[Subscript, ...]
    landing: tuple[Index, ...]
    body: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Scatter:
    """All contributions to one tensor, in source order, at the place of the last one.

    Cells that nothing lands on are 0, for max and min too.
    """

    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    op: ScatterOp
    contributions: tuple[Contribution, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SubCall:
    """outputs = sub(inputs), the sub-layer's inputs and outputs by position.

    `program` is the callee specialised to this call: its inputs have exactly the axes, in order, of
    the tensors passed (sizes are the callee's own symbols, bound at the call); its outputs have
    exactly the axes, in order, of the tensors defined here. `outputs` gives their axes in the
    caller's indices. A stack (`Sub.count`) threads the first input, the rest goes to each stage.
    """

    sub: str
    program: Program
    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype


@dataclass(frozen=True, slots=True)
class Gradient:
    """The derivative of the sum of all cells of `value` by the cells of `by`, over its axes.

    By name: what does not depend on the tensor called `by` is constant, whatever its values. The
    tensors between the two are functions of `by` in here. Of a complex z = x + iy it is the
    derivative by x plus i times that by y. What `value` depends on in no way has derivative 0.
    """

    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    value: str
    by: str
    span: Span


Statement = Equation | Scatter | SubCall | Gradient


@dataclass(frozen=True, slots=True)
class Factored:
    """A param that is stored as factors: the params `name.…`; an equation defines `name`.

    `factorisation` names a row of `tensorlang.library.factorisations`. `tol` is the relative error
    that decides the ranks where values are given.
    """

    name: str
    axes: tuple[Axis, ...]
    dtype: Dtype
    factorisation: str
    ranks: tuple[int, ...]
    arguments: tuple[tuple[str, int], ...]
    tol: float | None = None


@dataclass(frozen=True, slots=True)
class Sub:
    """A sub-layer: `count` is None for a single one, else the number of stages of a stack.

    `layer` and `bind` name the class; its Params live under `name` (`name.0` … for a stack).
    `program` is the callee as written (its `...` one ellipsis index), None while it is unbound.
    """

    name: str
    layer: str
    bind: tuple[tuple[str, Value], ...]
    count: int | None
    program: Program
    span: Span


Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | sympy.Expr"


def exact(value: Value) -> Hashable:
    """A key under which 1, 1.0 and true are three, though Python holds them to be equal."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    return type(value), repr(value) if isinstance(value, float) else value


def exact_bind(bind: Iterable[tuple[str, Value]]) -> Hashable:
    return tuple((name, exact(value)) for name, value in bind)


@dataclass(frozen=True, slots=True)
class Program:
    """One layer, checked. `signature` tells apart its specialisations by axes ("" as written).

    `dims` lists every dim of the layer by name; `dynamic` those whose size only a call knows, in
    the order in which the inputs first mention them.
    """

    layer: str
    signature: str
    docstring: str | None
    hypers: tuple[tuple[str, Value], ...]
    dims: tuple[Dim, ...]
    dynamic: tuple[Dim, ...]
    inputs: tuple[Input, ...]
    params: tuple[Param, ...]
    consts: tuple[Const, ...]
    subs: tuple[Sub, ...]
    body: tuple[Statement, ...]
    outputs: tuple[str, ...]
    span: Span
    factored: tuple[Factored, ...] = ()


def free_indices(expr: Expr) -> dict[Index, None]:
    """Free indices of an expression in order of first mention (a dict used as an ordered set)."""
    out: dict[Index, None] = {}
    _free(expr, out)
    return out


def _free(expr: Expr, out: dict[Index, None]) -> None:
    match expr:
        case Literal() | SizeValue():
            pass
        case IndexValue(index):
            out[index] = None
        case Apply(_, args):
            for arg in args:
                _free(arg, out)
        case Read():
            for subscript in expr.subscripts:
                for index in subscript_indices(subscript):
                    out[index] = None
        case Reduce() | Along():
            inner = free_indices(expr.body)
            if expr.where is not None:
                _free(expr.where, inner)
            bound = expr.indices if isinstance(expr, Reduce) else ()
            out.update((index, None) for index in inner if index not in bound)
        case Transform():
            for arg in expr.args:
                inner = free_indices(arg)
                out.update((index, None) for index in inner if index not in expr.source)
            out.update((index, None) for index in expr.target)


def subscript_indices(subscript: Subscript) -> tuple[Index, ...]:
    """Indices that a subscript mentions, in order."""
    match subscript:
        case At(index):
            return (index,)
        case Group(indices):
            return indices
        case AffineAt(affine):
            return tuple(index for index, _ in affine.terms)
        case ComputedAt(value):
            return tuple(free_indices(value))
