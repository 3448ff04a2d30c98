"""The syntax tree: what was written, with spans, before any name is resolved.

Sums, products and chains are n-ary, so a long sum is wide, not deep. `fmt` prints this tree and the
checker reads it; nothing later does. One node type after another: a split would only hide the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tensorlang.source import Span


# --- expressions ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Number:
    """An int or float literal; `text` is what was written."""

    value: int | float
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name: a tensor, an index (primes included), a hyperparameter, true, false, pi, inf."""

    id: str
    span: Span


@dataclass(frozen=True, slots=True)
class SizeOf:
    """`|c|`."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class ListExpr:
    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Term:
    negative: bool
    expr: Expr


@dataclass(frozen=True, slots=True)
class Sum:
    """`a + b - c`: two or more terms."""

    terms: tuple[Term, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Factor:
    divides: bool
    expr: Expr


@dataclass(frozen=True, slots=True)
class Product:
    """A chain of `*` and `/`: two or more factors, the first of which never divides."""

    factors: tuple[Factor, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class IntDivide:
    """`a // b` or, with `modulo`, `a % b`."""

    left: Expr
    right: Expr
    modulo: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Power:
    base: Expr
    exponent: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Negate:
    """Unary minus."""

    expr: Expr
    span: Span


class Comparison(Enum):
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="
    NE = "!="


@dataclass(frozen=True, slots=True)
class Compare:
    """`a < b <= c`: len(operands) == len(operators) + 1."""

    operands: tuple[Expr, ...]
    operators: tuple[Comparison, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Not:
    expr: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class IfElse:
    """`then if condition else otherwise`."""

    then: Expr
    condition: Expr
    otherwise: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """NAME[slots where condition](args): a reference, an operator, a function, a layer call.

    `slots` is None without brackets, `args` is None without parentheses: `X[i]` has args None,
    `exp(x)` has slots None, `softmax[j](x)` has both. A Call with neither is a Name.
    """

    name: str
    name_span: Span
    slots: tuple[Slot, ...] | None
    where: Expr | None
    args: tuple[Argument, ...] | None
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument, or `name = expr`."""

    name: str | None
    expr: Expr
    span: Span


# --- slots: what stands between brackets ---------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ExprSlot:
    """`e` or `e else v`; in declarations and on the left of `=` the expression is an index Name."""

    expr: Expr
    otherwise: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class EllipsisSlot:
    span: Span


@dataclass(frozen=True, slots=True)
class GroupSlot:
    """`(h c)`: two or more indices that make one axis, row-major."""

    indices: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class BindSlot:
    """`n = x` (layer calls, `at`, scatter targets)."""

    left: Slot
    right: Slot
    span: Span


@dataclass(frozen=True, slots=True)
class ArrowSlot:
    """`x -> kx`; only the last slot of a list `a, b -> f` carries the arrow."""

    left: Slot
    right: Slot
    span: Span


@dataclass(frozen=True, slots=True)
class TypedSlot:
    """`i: irreps("8x0e")`, `n: set` in declarations."""

    slot: Slot
    type: Expr
    span: Span


Slot = ExprSlot | EllipsisSlot | GroupSlot | BindSlot | ArrowSlot | TypedSlot
Expr = (
    Number
    | String
    | Name
    | SizeOf
    | ListExpr
    | Sum
    | Product
    | IntDivide
    | Power
    | Negate
    | Compare
    | And
    | Or
    | Not
    | IfElse
    | Call
)


# --- statements ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Declared:
    """A tensor in a declaration or on the left of an equation: X[b, n, d].

    `dtype` is the name after the colon (`idx[b]: int`), None if absent.
    """

    name: str
    name_span: Span
    slots: tuple[Slot, ...] | None
    dtype: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class InputDecl:
    tensors: tuple[Declared, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ParamDecl:
    """`[frozen] param A[..], B[..] ~ initialiser [as factorisation]`; either is None if missing."""

    tensors: tuple[Declared, ...]
    frozen: bool
    initialiser: Expr | None
    factorisation: Expr | None
    span: Span

    @property
    def given(self) -> bool:
        """Whether its values are supplied, not drawn."""
        law = self.initialiser
        return (law.id if isinstance(law, Name) else getattr(law, "name", None)) == "given"


@dataclass(frozen=True, slots=True)
class ConstDecl:
    tensor: Declared
    value: Expr
    form: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class DimBinding:
    name: str
    name_span: Span
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class DimDecl:
    dims: tuple[DimBinding, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class IndexDecl:
    """`index q, k in n`."""

    names: tuple[Name, ...]
    dim: Name
    span: Span


@dataclass(frozen=True, slots=True)
class SubDecl:
    """`sub f = Layer(args)` or, with `count`, `sub f[6] = Layer(args)`."""

    name: str
    name_span: Span
    count: Expr | None
    layer: Name
    args: tuple[Argument, ...]
    span: Span


class ScatterKind(Enum):
    SUM = "+="
    MAX = "max="
    MIN = "min="


@dataclass(frozen=True, slots=True)
class Equation:
    """`T[i] = expr`, `output Y[i] = expr`, `Y[n], Z[n] = f(X)` (several targets), `T[i] += e`."""

    targets: tuple[Declared, ...]
    scatter: ScatterKind | None
    body: Expr
    form: Expr | None
    is_output: bool
    span: Span


@dataclass(frozen=True, slots=True)
class CheckDecl:
    """`check property [when condition]`."""

    property: Expr
    condition: Expr | None
    span: Span


Statement = InputDecl | ParamDecl | ConstDecl | DimDecl | IndexDecl | SubDecl | Equation | CheckDecl


# --- files ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Hyper:
    """A hyperparameter: NAME [: type] [= default]."""

    name: str
    name_span: Span
    type: Name | None
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Layer:
    name: str
    name_span: Span
    hypers: tuple[Hyper, ...]
    docstring: str | None
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class DefParameter:
    name: str
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Def:
    """`def rmsnorm[d](x, g, eps = 1e-6) = expr`."""

    name: str
    name_span: Span
    indices: tuple[Name, ...]
    parameters: tuple[DefParameter, ...]
    body: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    """`use std: rmsnorm` or `use "lib/blocks.tl": Block`; `is_path` tells which."""

    module: str
    is_path: bool
    module_span: Span
    names: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class File:
    items: tuple[Use | Layer | Def, ...]
    span: Span
