"""Transforms of dual numbers: linear ones act on tangents, others have a rule each."""

from __future__ import annotations

import functools
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from tensorlang import registry
from tensorlang.check.program import ReduceOp
from tensorlang.library.transform import Transform
from tensorlang.reference.arrays import Arrays
from tensorlang.reference.dual import (
    Dual,
    along,
    array,
    broadcast,
    joined,
    level,
    of_one_rank,
    primal,
    raised,
    tangent,
)
from tensorlang.reference.slopes import call

_EVERY = np.ones((), np.bool_)


def transformed(
    arrays: Arrays, row: Transform, args: list[Any], sizes: tuple[int, ...], norm: str
) -> Any:
    top = max(map(level, args))
    if not top:
        return row.numpy(*args, sizes=sizes, norm=norm)

    def same(*values: Any) -> Any:
        return transformed(arrays, row, list(values), sizes, norm)

    if row.name == "spherical_harmonics":
        return _harmonics(arrays, row, args[0], sizes)
    value = same(*(primal(arg, top) for arg in args))
    count = next(arg.directions for arg in args if level(arg) == top)
    match row.name:
        case "fft" | "ifft" | "rfft" | "irfft" | "concat":
            moved = same(*(along(arg, top, count) for arg in args))
        case "inv":
            minus = call(arrays, "neg", tangent(args[0], top))
            moved = product(arrays, raised(value), minus, raised(value))
        case "solve":
            moved = _solved(arrays, row, args, value, top, count)
        case "expm" | "sqrtm" | "logm":
            moved = _analytic(same, args[0])
        case "cholesky":
            moved = _cholesky(arrays, value, args[0])
        case "eigvals":
            inner = _in_eigenvectors(arrays, args[0])[1]
            eye = np.eye(inner.shape[-1])
            diagonal = arrays.reduce(ReduceOp.SUM, call(arrays, "mul", inner, eye), _EVERY)
            moved = call(arrays, "real", diagonal)
        case "eigvecs":
            moved = _eigenvectors(arrays, args[0])
        case name:
            raise AssertionError(name)
    return Dual(top, value, broadcast(moved, (count, *value.shape)))


def _solved(arrays: Arrays, row: Transform, args: list[Any], x: Any, top: int, count: int) -> Any:
    """A x' = b' - A' x."""
    a, b = args
    right = along(b, top, count)
    if (moved := tangent(a, top)) is not None:
        changed = product(arrays, moved, raised(x).reshape((1, *x.shape, 1)))
        changed = changed.reshape(changed.shape[:-1])
        right = call(arrays, "add", *of_one_rank((right, call(arrays, "neg", changed))))
    below = broadcast(raised(primal(a, top)), (right.shape[0], *a.shape))
    return transformed(arrays, row, [below, right], (x.shape[-1],), "")


def _analytic(same: Any, a: Dual) -> Any:
    """The upper right block of f([[A, A'], [0, A]]) is the derivative of f along A'."""
    n = a.shape[-1]
    below = broadcast(raised(a.primal), a.tangent.shape)
    nothing = np.zeros(a.tangent.shape, a.dtype)
    rows = [joined([below, a.tangent], -1), joined([nothing, below], -1)]
    return same(joined(rows, -2))[..., :n, n:]


def _hermitian(arrays: Arrays, a: Any) -> Any:
    half = np.full((), 0.5)
    return call(arrays, "mul", call(arrays, "add", a, adjoint(arrays, a)), half)


def _cholesky(arrays: Arrays, lower: Any, a: Dual) -> Any:
    """L' = L tri(L^-1 A' L^-H), where tri keeps what is below the diagonal and half of that."""
    n = a.shape[-1]
    inverse = transformed(arrays, _row("inv"), [lower], (n, n), "")
    moved = _hermitian(arrays, a.tangent)
    inner = product(arrays, raised(inverse), moved, raised(adjoint(arrays, inverse)))
    kept = np.tril(np.ones((n, n)), -1) + np.eye(n) / 2
    return product(arrays, raised(lower), call(arrays, "mul", inner, kept))


def _in_eigenvectors(arrays: Arrays, a: Dual) -> tuple[Any, Any]:
    """The eigenvectors V, and V^H A' V."""
    n = a.shape[-1]
    vectors = transformed(arrays, _row("eigvecs"), [a.primal], (n, n), "")
    moved = _hermitian(arrays, a.tangent)
    return vectors, product(arrays, raised(adjoint(arrays, vectors)), moved, raised(vectors))


def _eigenvectors(arrays: Arrays, a: Dual) -> Any:
    """V' = V (F * V^H A' V), F = 1 / (l_j - l_i); the phase keeps the leading entries real."""
    n = a.shape[-1]
    vectors, inner = _in_eigenvectors(arrays, a)
    values = transformed(arrays, _row("eigvals"), [a.primal], (n,), "")
    minus = call(arrays, "neg", values.reshape((*values.shape, 1)))
    apart = call(arrays, "add", values.reshape((*values.shape[:-1], 1, n)), minus)
    eye = np.eye(n, dtype=np.bool_)
    inverse = call(arrays, "div", np.ones(()), arrays.select(eye, np.ones(()), apart))
    factors = raised(arrays.select(eye, np.zeros(()), inverse))
    moved = product(arrays, raised(vectors), call(arrays, "mul", inner, factors))
    if a.dtype.kind != "c":
        return moved
    size = np.abs(array(vectors))
    first = np.argmax(2 * size >= size.max(axis=-2, keepdims=True), axis=-2)[..., None, :]
    lead = np.arange(n)[:, None] == first

    def leading(x: Any, mask: Any) -> Any:
        cells = arrays.select(mask, x, np.zeros((), x.dtype))
        cells = arrays.reduce(ReduceOp.SUM, adjoint(arrays, cells, conjugate=False), _EVERY)
        return cells.reshape((*cells.shape[:-1], 1, n))

    turns = call(arrays, "imag", leading(moved, raised(lead)))
    turns = call(arrays, "div", turns, call(arrays, "real", raised(leading(vectors, lead))))
    spin = call(arrays, "complex", np.zeros(()), call(arrays, "neg", turns))
    return call(arrays, "add", moved, call(arrays, "mul", raised(vectors), spin))


def product(arrays: Arrays, *factors: Any) -> Any:
    """A product of matrices, the last two axes of each."""

    def times(a: Any, b: Any) -> Any:
        a, b = of_one_rank((a, b))
        a = a.reshape((*a.shape[:-1], 1, a.shape[-1]))
        b = adjoint(arrays, b, conjugate=False)
        b = b.reshape((*b.shape[:-2], 1, *b.shape[-2:]))
        cells = call(arrays, "mul", a, b)
        return arrays.reduce(ReduceOp.SUM, cells, np.ones((), np.bool_))

    return functools.reduce(times, factors)


def adjoint(arrays: Arrays, a: Any, conjugate: bool = True) -> Any:
    """The transpose of the last two axes, conjugate of a complex matrix."""
    order = [*range(a.ndim - 2), a.ndim - 1, a.ndim - 2]
    turned = a.transpose(order)
    return call(arrays, "conj", turned) if conjugate and a.dtype.kind == "c" else turned


# --- harmonics ---------------------------------------------------------------------------------
def _harmonics(arrays: Arrays, row: Transform, v: Any, sizes: tuple[int, ...]) -> Any:
    """As polynomials of the direction."""
    size = arrays.reduce(ReduceOp.NORM, v, _EVERY)
    size = size.reshape((*size.shape, 1))
    some = array(size) > 0
    safe = arrays.select(some, size, np.ones(()))
    unit = arrays.select(some, call(arrays, "div", v, safe), np.zeros(()))
    cells = [unit[..., k].reshape((*unit.shape[:-1], 1)) for k in range(3)]
    most = round(sizes[0] ** 0.5) - 1
    one = np.ones((*unit.shape[:-1], 1))
    parts: list[Any] = [one]
    for degree in range(1, most + 1):
        terms = []
        for chosen in _monomials(degree):
            term = cells[chosen[0]]
            for k in chosen[1:]:
                term = call(arrays, "mul", term, cells[k])
            terms.append(term)
        table = _coefficients(row, degree)
        every = joined(terms, -1)
        every = every.reshape((*every.shape[:-1], 1, every.shape[-1]))
        parts.append(arrays.reduce(ReduceOp.SUM, call(arrays, "mul", every, table), _EVERY))
    return joined(parts, -1)


def _row(name: str) -> Transform:
    return registry.transforms()[name]


def _monomials(degree: int) -> list[tuple[int, ...]]:
    return list(combinations_with_replacement(range(3), degree))


@functools.cache
def _coefficients(row: Transform, degree: int) -> Any:
    """Of the monomials in the harmonics of a degree, from their values at directions."""
    monomials = _monomials(degree)
    points = np.random.default_rng(0).standard_normal((8 * len(monomials), 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    values = row.numpy(points, sizes=((degree + 1) ** 2,), norm="")[:, degree**2 :]
    powers = np.stack([points[:, list(chosen)].prod(-1) for chosen in monomials], -1)
    return np.linalg.lstsq(powers, values, rcond=None)[0].T
