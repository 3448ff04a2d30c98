"""What a node costs, as a polynomial in the dynamic sizes: FLOPs, bytes moved, parameters.

A cost is a dictionary of integer monomials; a size that is no polynomial (a floor division) is a
symbol named by its text. Contractions are counted naively, as one loop nest: the planner, which
splits them into pairs, calls `flops` on each of its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import assert_never

import sympy

from tensorlang.check.program import TransformOp
from tensorlang.dtype import Dtype
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    App,
    Call,
    Const,
    Contract,
    Input,
    Merge,
    Node,
    NodeId,
    Param,
    Pointwise,
    Reduce,
    Scalar,
    Scan,
    Scatter,
    Softmax,
    Transform,
)
from tensorlang.ir.reads import operands, read_indices, subscript_indices
from tensorlang.size import Size

Monomial = tuple[tuple[str, int], ...]
Monomials = dict[Monomial, int]
"""A cost as a polynomial in the dynamic sizes: {((name, power), …): coefficient}."""

ITEM_BYTES = {Dtype.BOOL: 1, Dtype.INT: 8, Dtype.REAL: 4, Dtype.COMPLEX: 8}
"""Bytes of an item with float32 as the module's dtype."""

_FFTS = {TransformOp.FFT, TransformOp.IFFT, TransformOp.RFFT, TransformOp.IRFFT}
_FFT_FLOPS = 25  # 5 log2 n a cell, for n around 32


# --- nodes ---------------------------------------------------------------------------------------
def flops(node: Node) -> Monomials:
    """2 per multiply-add, 1 per other scalar operation, 5 per cell of a softmax."""
    space = volume(node.sizes)
    match node.op:
        case Input() | Param() | Const() | Merge() | Call():
            return {}
        case Contract(coefficient):
            factors = len(node.reads)
            each = factors if node.bound else factors - 1
            scaled = volume(node.shape) if coefficient != 1 else {}
            return add((scale(space, each), scaled))
        case Pointwise(expr):
            return scale(space, applications(expr))
        case Reduce() | Scan():
            return space
        case Softmax():
            return scale(space, 5)
        case Scatter(_, targets):
            landed = []
            for read, target in zip(node.reads, targets, strict=True):
                own = {*read_indices(read), *(i for s in target for i in subscript_indices(s))}
                landed.append(volume(node.sizes[index] for index in sorted(own)))
            return add(landed)
        case Transform(op, source):
            if op is TransformOp.CONCAT:
                return {}
            if op is TransformOp.SPHERICAL_HARMONICS:
                return scale(volume(node.shape), 4)
            if op in _FFTS:
                return scale(space, _FFT_FLOPS)
            return scale(volume((*node.sizes, node.sizes[source[0]])), 2)
    assert_never(node.op)


def applications(expr: Scalar) -> int:
    """Scalar operations of an expression; an n-ary one counts n - 1."""
    if not isinstance(expr, App):
        return 0
    own = max(1, len(expr.args) - 1) if expr.function in {"add", "mul", "and", "or"} else 1
    return own + sum(applications(arg) for arg in expr.args)


def held_bytes(node: Node) -> Monomials:
    """Bytes of a node's value."""
    return scale(volume(node.shape), ITEM_BYTES[node.dtype])


def bytes_moved(graph: Graph, identity: NodeId) -> Monomials:
    """Bytes that a node reads and writes, each operand once; views move nothing."""
    node = graph.node(identity)
    if isinstance(node.op, Input | Param | Const | Merge):
        return {}
    return add(held_bytes(part) for part in (node, *map(graph.node, operands(node))))


def parameters(graph: Graph) -> Monomials:
    """Number of parameters of the layer itself, those of sub-layers excluded."""
    return add(volume(graph.node(identity).shape) for identity in graph.params.values())


# --- polynomials ---------------------------------------------------------------------------------
def volume(sizes: Iterable[Size]) -> Monomials:
    """The product of sizes."""
    return dict(_volume(tuple(sizes)))


def add(terms: Iterable[Monomials]) -> Monomials:
    out: Monomials = {}
    for term in terms:
        for monomial, coefficient in term.items():
            out[monomial] = out.get(monomial, 0) + coefficient
    return {monomial: out[monomial] for monomial in sorted(out) if out[monomial]}


def scale(term: Monomials, factor: int) -> Monomials:
    return {monomial: factor * c for monomial, c in term.items() if factor}


def evaluate(cost: Monomials, sizes: Mapping[str, int]) -> int:
    """The polynomial at these sizes; a symbol that stands for a text needs its value too."""
    total = 0
    for monomial, coefficient in cost.items():
        for name, power in monomial:
            coefficient *= sizes[name] ** power
        total += coefficient
    return total


def to_text(cost: Monomials) -> str:
    """The polynomial, highest powers first: `4*b*n^2 + 12`."""
    ordered = sorted(cost.items(), key=lambda item: (-sum(p for _, p in item[0]), item[0]))
    terms = []
    for monomial, coefficient in ordered:
        names = [name if power == 1 else f"{name}^{power}" for name, power in monomial]
        plain = coefficient == 1 and names
        terms.append("*".join(names if plain else [str(coefficient), *names]))
    return " + ".join(terms) or "0"


_Frozen = tuple[tuple[Monomial, int], ...]


@lru_cache(maxsize=65536)
def _volume(sizes: tuple[Size, ...]) -> _Frozen:
    out: Monomials = {(): 1}
    for size in sizes:
        out = _times(out, dict(_polynomial(size)))
    return tuple(sorted(out.items()))


def _times(a: Monomials, b: Monomials) -> Monomials:
    out: Monomials = {}
    for left, p in a.items():
        for right, q in b.items():
            powers = dict(left)
            for name, power in right:
                powers[name] = powers.get(name, 0) + power
            key = tuple(sorted(powers.items()))
            out[key] = out.get(key, 0) + p * q
    return {monomial: coefficient for monomial, coefficient in out.items() if coefficient}


@lru_cache(maxsize=65536)
def _polynomial(size: Size) -> _Frozen:
    if isinstance(size, int):
        return (((), size),)
    opaque = ((((str(size), 1),), 1),)
    out: Monomials = {}
    for term, coefficient in sympy.expand(size).as_coefficients_dict().items():
        if not coefficient.is_Integer:
            return opaque
        powers: dict[str, int] = {}
        for base, power in term.as_powers_dict().items():
            if base == 1:
                continue
            if not (power.is_Integer and power > 0):
                return opaque
            powers[str(base)] = powers.get(str(base), 0) + int(power)
        key = tuple(sorted(powers.items()))
        out[key] = out.get(key, 0) + int(coefficient)
    return tuple(sorted(out.items()))
