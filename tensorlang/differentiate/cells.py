"""A Pointwise in the making: its reads by position, and typed scalar expressions over them.

`apply` casts arguments as the rows ask and folds what numbers decide, so that the derivatives of
the library read as if written by hand: `2 * x ^ (2 - 1)` is `2 * x`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, assert_never

import numpy as np

from tensorlang import registry
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import App, Arg, Iota, Lit, Pointwise, Read, Scalar, SizeOf
from tensorlang.ir.reads import substitute
from tensorlang.library.signature import promoted

_CASTS = {Dtype.INT: "to_int", Dtype.REAL: "to_real", Dtype.COMPLEX: "to_complex"}
_TYPES: dict[Dtype, type[bool | int | float | complex]] = {
    Dtype.BOOL: bool,
    Dtype.INT: int,
    Dtype.REAL: float,
    Dtype.COMPLEX: complex,
}
_ARRAYS: tuple[Any, ...] = (np.bool_, np.int64, np.float64, np.complex128)
_NEVER = {"dropout", "stopgrad"}


def number(value: bool | int | float | complex, dtype: Dtype) -> Lit:
    """A literal of this dtype; a value never loses a part."""
    return Lit(_TYPES[dtype](value), dtype)  # type: ignore[arg-type]


def known(graph: Graph, read: Read) -> Lit | None:
    """The number that a read is everywhere, as the first cotangent is 1."""
    op = graph.node(read.node).op
    if (
        isinstance(op, Pointwise)
        and isinstance(op.expr, Lit)
        and read.fill in (None, op.expr.value)
    ):
        return op.expr
    return None


class Cells:
    """Reads in order of first use; scalars over them."""

    def __init__(self, graph: Graph, reads: Iterable[Read] = ()) -> None:
        self.graph = graph
        self.reads: list[Read] = list(reads)
        self._position = {read: k for k, read in reversed(list(enumerate(self.reads)))}

    def read(self, read: Read) -> Scalar:
        """A read as an argument; that of a tensor which is one number is the number."""
        value = known(self.graph, read)
        if value is not None:
            return value
        if read not in self._position:
            self._position[read] = len(self.reads)
            self.reads.append(read)
        return Arg(self._position[read])

    def embed(self, expr: Scalar, reads: tuple[Read, ...]) -> Scalar:
        """An expression over other reads as one over these."""

        def leaf(found: Arg | Lit | Iota | SizeOf) -> Scalar:
            return self.read(reads[found.position]) if isinstance(found, Arg) else found

        return substitute(expr, leaf)

    def dtype(self, scalar: Scalar) -> Dtype:
        match scalar:
            case Arg(position):
                return self.graph.node(self.reads[position].node).dtype
            case Lit() | App():
                return scalar.dtype
            case Iota() | SizeOf():
                return Dtype.INT
        assert_never(scalar)

    def cast(self, scalar: Scalar, dtype: Dtype) -> Scalar:
        """The same value in a dtype that is as large or larger."""
        found = self.dtype(scalar)
        if found is dtype:
            return scalar
        assert found < dtype, (scalar, dtype)
        if isinstance(scalar, Lit):
            return number(scalar.value, dtype)
        return App(_CASTS[dtype], (scalar,), dtype)

    # --- applications ----------------------------------------------------------------------------
    def apply(self, function: str, *args: Scalar, site: int = 0) -> Scalar:
        """A row of the library on these arguments, cast and folded."""
        row = registry.functions()[function]
        kinds = tuple(self.dtype(arg) for arg in args)
        dtype = row.dtype(kinds)
        assert isinstance(dtype, Dtype), (function, kinds, dtype)
        wanted = promoted(row, kinds)
        if function == "pow" and isinstance(args[1], Lit) and kinds[1] is Dtype.INT:
            wanted = (wanted[0], Dtype.INT)  # a whole exponent is lowered by differentiation
        given = tuple(self.cast(arg, kind) for arg, kind in zip(args, wanted, strict=True))
        return self._simpler(function, given, dtype, site)

    def _simpler(self, function: str, args: tuple[Scalar, ...], dtype: Dtype, site: int) -> Scalar:
        known = _folded(function, args, dtype)
        if known is not None:
            return known
        match function, args:
            case "add", _:
                return self._add(args, dtype)
            case "mul", _:
                return self._mul(args, dtype)
            case "neg", (App("neg", (inner,)),):
                return inner
            case "neg", (App("mul", (Lit(value), *rest)),):
                return self._mul((number(-value, dtype), *rest), dtype)
            case "conj", (App("conj", (inner,)),):
                return inner
            case "conj", (App("to_complex") as inner,):
                return inner
            case "conj", (inner,) if dtype is Dtype.REAL:
                return inner
            case "real", (App("to_complex", (inner,)),) if self.dtype(inner) is Dtype.REAL:
                return inner
            case "pow", (base, Lit(1 | 1.0)):
                return base
            case "pow", (_, Lit(0 | 0.0)):
                return number(1, dtype)
            case "div", (above, Lit(value)) if value == 1:
                return above
            case "div", (Lit(value), _) if value == 0:
                return number(0, dtype)
            case "where", (Lit(value), then, otherwise):
                return then if value else otherwise
            case "where", (_, then, otherwise) if then == otherwise:
                return then
        return App(function, args, dtype, site)

    def _add(self, args: tuple[Scalar, ...], dtype: Dtype) -> Scalar:
        """Terms flattened, zeros left out, equal ones counted."""
        terms: dict[Scalar, int] = {}
        for arg in args:
            for term in arg.args if isinstance(arg, App) and arg.function == "add" else (arg,):
                if not (isinstance(term, Lit) and term.value == 0):
                    terms[term] = terms.get(term, 0) + 1
        kept = [
            term if count == 1 else self._mul((number(count, dtype), term), dtype)
            for term, count in terms.items()
        ]
        match kept:
            case []:
                return number(0, dtype)
            case [one]:
                return one
        return App("add", tuple(kept), dtype)

    def _mul(self, args: tuple[Scalar, ...], dtype: Dtype) -> Scalar:
        """Factors flattened, numbers made one in front; a factor 0 is the product."""
        value: Any = _TYPES[dtype](1)
        factors: list[Scalar] = []
        stack = list(reversed(args))
        while stack:
            match stack.pop():
                case Lit(factor):
                    value = value * factor
                case App("mul", inner):
                    stack.extend(reversed(inner))
                case App("neg", (inner,)):
                    value = -value
                    stack.append(inner)
                case factor:
                    factors.append(factor)
        if value == 0 or not factors:
            return number(value, dtype)
        if value not in (1, -1):
            factors.insert(0, number(value, dtype))
        for k, factor in enumerate(factors):
            match factor:
                case App("where", (condition, Lit(1), Lit(0))) if len(factors) > 1:
                    rest = self._mul((*factors[:k], *factors[k + 1 :]), dtype)
                    product: Scalar = App("where", (condition, rest, number(0, dtype)), dtype)
                    return App("neg", (product,), dtype) if value == -1 else product
        product = factors[0] if len(factors) == 1 else App("mul", tuple(factors), dtype)
        return App("neg", (product,), dtype) if value == -1 else product


def _folded(function: str, args: tuple[Scalar, ...], dtype: Dtype) -> Lit | None:
    """The value, where all arguments are numbers and it is finite."""
    values = [(arg.value, arg.dtype) for arg in args if isinstance(arg, Lit)]
    if len(values) < len(args) or function in _NEVER:
        return None
    with np.errstate(all="ignore"):
        found = registry.functions()[function].numpy(*(_ARRAYS[kind](v) for v, kind in values))
    value = complex(found) if dtype is Dtype.COMPLEX else np.asarray(found).item()
    return number(value, dtype) if math.isfinite(abs(value)) else None
