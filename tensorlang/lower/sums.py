"""A sum taken apart: coefficient, factors that stay under it, factors and divisors that leave it.

`sum[j where c](2 * A[i, j] * B[j] / n[i])` is 2 * sum[j](A[i, j] * B[j] * c) / n[i].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tensorlang.check.program import (
    Apply,
    Expr,
    Index,
    Literal,
    Read,
    Reduce,
    ReduceOp,
    SizeValue,
    free_indices,
)
from tensorlang.dtype import Dtype
from tensorlang.lower.terms import cast, masked, number, projected, reads_tensors, uncast
from tensorlang.size import product, simplest


@dataclass
class Product:
    """A chain of `*`, `/` and unary minus: literals in the coefficient, all else in order."""

    coefficient: int | float | complex = 1
    factors: list[Expr] = field(default_factory=list)
    divisors: list[Expr] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sum:
    """coefficient * sum over `indices` of the product of `inner`, times `outer`, by `divisors`.

    `where` is None; the condition has become a factor, or part of one. Without `inner` nothing is
    summed.
    """

    coefficient: int | float | complex
    indices: tuple[Index, ...]
    inner: tuple[Expr, ...]
    outer: tuple[Expr, ...]
    divisors: tuple[Expr, ...]


def take_apart(expr: Reduce, finite: Callable[[Expr], bool]) -> Sum:
    """Sort the factors of a sum. `finite` says that a factor is finite wherever the inputs are."""
    indices, body = expr.indices, expr.body
    while isinstance(body, Reduce) and body.op is ReduceOp.SUM and body.where is None:
        indices, body = indices + body.indices, body.body
    chain = Product()
    _collect(body, chain, divided=False)
    bound = set(indices)
    inner: list[Expr] = []
    outer: list[Expr] = []
    for factor in chain.factors:
        leaves = not isinstance(uncast(factor), Read) and bound.isdisjoint(free_indices(factor))
        (outer if leaves else inner).append(factor)
    divisors = [d for d in chain.divisors if bound.isdisjoint(free_indices(d))]
    for divisor in chain.divisors:
        if not bound.isdisjoint(free_indices(divisor)):
            _divide(inner, divisor, expr.dtype)
    if expr.where is not None:
        inner = _under(expr.where, inner, expr.dtype, finite)
    coefficient = chain.coefficient
    here = {index for factor in inner for index in free_indices(factor)}
    absent = simplest(product(i.dim.size for i in indices if i not in here))
    if isinstance(absent, int):  # sum[k](x[i]) = |k| * x[i]
        coefficient = coefficient * absent
    else:
        outer.append(cast(SizeValue(absent), expr.dtype))
    summed = tuple(index for index in indices if index in here)
    if not summed:
        inner, outer = [], inner + outer
    return Sum(coefficient, summed, tuple(inner), tuple(outer), tuple(divisors))


def _collect(expr: Expr, chain: Product, divided: bool) -> None:
    match expr:
        case Literal(value) if not divided:
            chain.coefficient = chain.coefficient * value
        case Literal(value) if value != 0:
            chain.coefficient = chain.coefficient / value
        case Apply("mul", args):
            for arg in args:
                _collect(arg, chain, divided)
        case Apply("neg", (arg,)):
            chain.coefficient = -chain.coefficient
            _collect(arg, chain, divided)
        case Apply("div", (above, below)):
            _collect(above, chain, divided)
            _collect(below, chain, not divided)
        case Apply("pow", (Read() as base, Literal(int(power)))) if power == 2 and not divided:
            chain.factors += [base, base]
        case _:
            (chain.divisors if divided else chain.factors).append(expr)


def _divide(factors: list[Expr], divisor: Expr, dtype: Dtype) -> None:
    """Divide a factor over the same indices, a computed one if there is; else be one over it."""
    own = set(free_indices(divisor))
    alike = [k for k, factor in enumerate(factors) if set(free_indices(factor)) == own]
    alike.sort(key=lambda k: isinstance(uncast(factors[k]), Read))
    if alike:
        factors[alike[0]] = Apply("div", (factors[alike[0]], divisor), dtype)
    else:
        factors.append(Apply("div", (number(1, dtype), divisor), dtype))


def _under(
    where: Expr, factors: Sequence[Expr], dtype: Dtype, finite: Callable[[Expr], bool]
) -> list[Expr]:
    """The factors with the condition among them.

    0 times what is not finite is not 0: a factor that may not be finite is itself masked, over the
    condition's indices where another factor has them too, else where no cell at all needs it.
    """
    zero = number(0, dtype)
    condition = set(free_indices(where))
    spans = [set(free_indices(factor)) for factor in factors]
    out: list[Expr] = []
    done = False
    for k, (factor, own) in enumerate(zip(factors, spans, strict=True)):
        computed = not isinstance(uncast(factor), Read)
        covers = condition <= own
        if (computed and covers and not done) or (covers and not finite(factor)):
            out.append(masked(where, factor, zero))
            done = True
        elif finite(factor):
            out.append(factor)
        elif any(own | condition <= other for j, other in enumerate(spans) if j != k):
            out.append(masked(where, factor, zero))
            done = True
        elif reads_tensors(where):
            out.append(masked(projected(where, tuple(own)), factor, zero))
        else:
            out.append(factor)
    return out if done else [*out, cast(where, dtype)]
