"""Dense tensors into factors, in numpy: truncated SVDs, HOSVD and HOOI, TT-SVD, alternating
least squares for any product of factors; and back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import opt_einsum
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import svds

from tensorlang.library.factorisation import (
    Arguments,
    Array,
    Axes,
    Factorisation,
    Form,
    Position,
    Ranks,
    Unfit,
    modes,
    resolved,
)

_LARGE = 1024  # sides of a matrix from which on a full SVD is avoided
_STARTS, _SHORT, _SWEEPS = 4, 20, 500  # of alternating least squares
_SETTLED = 4  # sweeps before longer steps are tried


# --- back to the dense tensor --------------------------------------------------------------------
def build(form: Form, factors: Sequence[Array]) -> Array:
    """The dense tensor of these factors, one axis a mode of `form.axes`."""
    kept = modes(form.axes)
    labels = {mode.name: k for k, mode in enumerate((*kept, *form.bonds))}
    operands: list[Any] = []
    for factor, values in zip(form.factors, factors, strict=True):
        array, names = _over_modes(form, factor.reads, values)
        operands += [array, [labels[name] for name in names]]
    sizes = {mode.name: mode.size for mode in kept}
    for first, second in form.equal:
        operands += [np.eye(sizes[first]), [labels[first], labels[second]]]
    for mode in kept:  # a mode that no factor has is broadcast over
        operands += [np.ones(mode.size), [labels[mode.name]]]
    out: Array = opt_einsum.contract(*operands, [labels[m.name] for m in kept], optimize="greedy")
    return out


def _over_modes(
    form: Form, reads: Sequence[str | Position], values: Array
) -> tuple[Array, list[str]]:
    """A factor as a tensor over plain modes."""
    if all(isinstance(read, str) for read in reads):
        return values, [read for read in reads if isinstance(read, str)]
    (position,) = reads
    assert isinstance(position, Position), reads
    sizes = {mode.name: mode.size for mode in modes(form.axes)}
    names = [name for name, _ in position.terms]
    at: Array = np.full((), position.offset)
    for k, (name, coefficient) in enumerate(position.terms):
        shape = [1] * len(names)
        shape[k] = sizes[name]
        at = at + coefficient * np.arange(sizes[name]).reshape(shape)
    return values[at % len(values) if position.wrap else at], names


def relative_error(dense: Array, form: Form, factors: Sequence[Array]) -> float:
    """Norm of the difference over the norm of the tensor; 0 for 0."""
    difference = np.linalg.norm(dense - build(form, factors).reshape(dense.shape))
    norm = np.linalg.norm(dense)
    return float(difference / norm) if norm else float(difference)


# --- a dense tensor into a row's factors ---------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Decomposed:
    """Factors of a dense tensor; `error` is relative, in the Frobenius norm."""

    form: Form
    ranks: Ranks
    factors: tuple[Array, ...]
    error: float


def decompose(
    row: Factorisation, axes: Axes, dense: Array, rank: object, args: Arguments
) -> Decomposed:
    """Decompose at ranks as the user writes them. Raises Unfit."""
    values = _over_axes(axes, dense)
    return _at(row, axes, values, resolved(row, axes, rank, args), args)


def decompose_within(
    row: Factorisation, axes: Axes, dense: Array, tol: float, args: Arguments
) -> Decomposed:
    """Decompose at the least ranks whose relative error is at most `tol`. Raises Unfit."""
    if row.rank is None:
        raise Unfit(f"{row.name} has no ranks, so no tol")
    if not 0 < tol < 1:
        raise Unfit(f"tol is {tol}: a relative error lies between 0 and 1")
    values = _over_axes(axes, dense)
    most = row.most(axes, args)
    if row.needed is not None:
        return _at(row, axes, values, row.needed(values, axes, tol), args)
    rank, below = 1, 0
    found = _at(row, axes, values, (1,) * len(most), args)
    limit = max(most)
    while found.error > tol and rank < limit:
        below, rank = rank, min(2 * rank, limit)
        found = _at(row, axes, values, _scaled(row, most, rank), args)
    if found.error > tol:
        raise Unfit(f"no rank up to {rank} has error {tol}: at {rank} it is {found.error:.2g}")
    while rank - below > 1:
        middle = (rank + below) // 2
        tried = _at(row, axes, values, _scaled(row, most, middle), args)
        if tried.error <= tol:
            rank, found = middle, tried
        else:
            below = middle
    return found


def _scaled(row: Factorisation, most: Ranks, rank: int) -> Ranks:
    return tuple(rank if row.free else min(rank, limit) for limit in most)


def _over_axes(axes: Axes, dense: Array) -> Array:
    values = np.asarray(dense)
    values = values.astype(complex if np.iscomplexobj(values) else float)
    return values.reshape([mode.size for mode in modes(axes)])


def _at(row: Factorisation, axes: Axes, values: Array, ranks: Ranks, args: Arguments) -> Decomposed:
    form = row.form(axes, ranks, args)
    split = values.reshape([mode.size for mode in modes(form.axes)])
    factors = row.fit(split, form, ranks)
    for factor, value in zip(form.factors, factors, strict=True):
        assert value.shape == factor.shape, (row.name, factor, value.shape)
    return Decomposed(form, ranks, factors, relative_error(split, form, factors))


# --- singular values -----------------------------------------------------------------------------
def kept(singular: Array, budget: float) -> int:
    """How many singular values to keep so that the rest has at most this norm; at least 1."""
    tail = np.sqrt(np.cumsum(singular[::-1] ** 2))[::-1]  # tail[k]: the norm of what k leaves
    return max(1, int(np.sum(tail > budget)))


def unfolding(values: Array, mode: int) -> Array:
    return np.moveaxis(values, mode, 0).reshape(values.shape[mode], -1)


def truncated(matrix: Array, rank: int) -> tuple[Array, Array, Array]:
    """The first `rank` singular triples; of a large matrix with few asked for, by Lanczos."""
    if min(matrix.shape) > _LARGE and 8 * rank < min(matrix.shape):
        start = np.ones(min(matrix.shape), matrix.dtype)
        left, singular, right = svds(matrix, k=rank, v0=start)
        return left[:, ::-1], singular[::-1], right[::-1]
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank], singular[:rank], right[:rank]


def leading(matrix: Array, rank: int) -> Array:
    """The first `rank` left singular vectors, from the Gram matrix where that is much smaller."""
    if matrix.shape[1] > 4 * matrix.shape[0] and matrix.size > _LARGE**2:
        _, vectors = np.linalg.eigh(matrix @ matrix.conj().T)
        return vectors[:, ::-1][:, :rank]
    left, _, _ = truncated(matrix, rank)
    if left.shape[1] < rank:  # fewer columns than asked for: orthonormal ones to fill
        left, _ = np.linalg.qr(np.concatenate([left, np.eye(len(left))], axis=1))
    return left[:, :rank]


def hooi(values: Array, ranks: Sequence[int], sweeps: int = 20) -> tuple[Array, list[Array]]:
    """Tucker: HOSVD, improved by orthogonal iteration (De Lathauwer et al., 2000)."""
    bases = [leading(unfolding(values, k), rank) for k, rank in enumerate(ranks)]
    before = 0.0
    for _ in range(sweeps if values.ndim > 2 else 0):  # of a matrix the first bases are the best
        for k, rank in enumerate(ranks):
            bases[k] = leading(unfolding(projected(values, bases, k), k), rank)
        norm = float(np.linalg.norm(projected(values, bases, None)))
        if norm - before <= 1e-12 * norm:
            break
        before = norm
    return projected(values, bases, None), bases


def projected(values: Array, bases: Sequence[Array], but: int | None) -> Array:
    """The tensor in the coordinates of the bases, one mode left as it is."""
    for k, basis in enumerate(bases):
        if k != but:
            values = np.moveaxis(np.tensordot(basis.conj(), values, axes=(0, k)), 0, k)
    return values


def tt_svd(values: Array, ranks: Sequence[int] | None, tol: float = 0.0) -> list[Array]:
    """Tensor train by successive SVDs (Oseledets, 2011): cores [r, i, r']."""
    order = values.ndim
    budget = tol * float(np.linalg.norm(values)) / max(1, order - 1) ** 0.5
    cores, rank = [], 1
    rest = values
    for k in range(order - 1):
        matrix = rest.reshape(rank * values.shape[k], -1)
        asked = min(matrix.shape) if ranks is None else ranks[k]
        left, singular, right = truncated(matrix, asked)
        new = kept(singular, budget) if ranks is None else asked
        left, singular, right = _padded(left, new, 1), singular[:new], right[:new]
        cores.append(left.reshape(rank, values.shape[k], new))
        rest = _padded(singular[:, None] * right, new, 0)
        rank = new
    return [*cores, rest.reshape(rank, values.shape[-1], 1)]


def _padded(matrix: Array, rank: int, axis: int) -> Array:
    """Cut or filled with zeros to `rank` rows or columns."""
    matrix = matrix[:, :rank] if axis else matrix[:rank]
    missing = rank - matrix.shape[axis]
    if missing <= 0:
        return matrix
    return np.pad(matrix, [(0, missing * (a == axis)) for a in range(2)])


# --- alternating least squares -------------------------------------------------------------------
def alternating(values: Array, form: Form) -> tuple[Array, ...]:
    """Least squares in one factor at a time, for a plain product of factors.

    With one factor free the equation is linear in it: its Gram matrix is the contraction of all
    other factors with themselves. The best of a few short starts is carried on.
    """
    bases = _bases(form, values)
    tried = [_swept(values, form, _drawn(form, bases, seed), _SHORT) for seed in range(_STARTS)]
    (_, _, best) = min((error, seed, found) for seed, (error, found) in enumerate(tried))
    return _swept(values, form, best, _SWEEPS)[1]


def _swept(
    values: Array, form: Form, start: tuple[Array, ...], sweeps: int
) -> tuple[float, tuple[Array, ...]]:
    """Solve for each factor in turn, again and again; between sweeps go on in the same direction.

    A step that made the next sweep worse is taken back (Bro, 1998: line search by a root of the
    number of the sweep).
    """
    before: tuple[float, tuple[Array, ...]] = (2.0, start)
    whole = float(np.vdot(values, values).real)
    factors, leapt = list(start), False
    for sweep in range(1, sweeps + 1):
        explained = 0.0
        for k in range(len(factors)):
            factors[k], explained = _solved(values, form, factors, k)
        # |T - F|^2 = |T|^2 - <F, T> after a solution; where that cancels, the difference itself
        share = 1 - explained / whole if whole else 0.0
        error = math.sqrt(share) if share > 1e-6 else relative_error(values, form, factors)
        now = (error, tuple(factors))
        if leapt and error > before[0]:
            factors, leapt = list(before[1]), False
            continue
        if error < 1e-14 or before[0] - error <= 1e-7 * before[0]:
            return min(now, before, key=lambda found: found[0])
        leapt = sweep > _SETTLED
        if leapt:
            step = sweep ** (1 / len(factors)) - 1
            factors = [new + step * (new - old) for new, old in zip(now[1], before[1], strict=True)]
        before = now
    return before


def _bases(form: Form, values: Array) -> list[Array | None]:
    """For each factor over a mode and a bond the first singular vectors of the unfolding."""
    names = [mode.name for mode in modes(form.axes)]
    out: list[Array | None] = []
    for factor in form.factors:
        plain = [read for read in factor.reads if isinstance(read, str)]
        own = [name for name in plain if name in names]
        fits = len(plain) == 2 and len(own) == 1 and plain[0] == own[0]
        rank = min(factor.shape[-1], factor.shape[0])
        out.append(leading(unfolding(values, names.index(own[0])), rank) if fits else None)
    return out


def _drawn(form: Form, bases: Sequence[Array | None], seed: int) -> tuple[Array, ...]:
    """Random factors, the same each time, beside what is given."""
    generator = np.random.default_rng(seed)
    out = []
    for factor, first in zip(form.factors, bases, strict=True):
        if first is None:
            out.append(generator.standard_normal(factor.shape))
        else:
            size, rank = factor.shape
            more = generator.standard_normal((size, rank - first.shape[1])) / size**0.5
            out.append(np.concatenate([first, more], axis=1))
    return tuple(out)


def _solved(values: Array, form: Form, factors: Sequence[Array], k: int) -> tuple[Array, float]:
    """The factor at place k for which the error is least, the others as they are; <F, T> then."""
    kept_modes = [mode.name for mode in modes(form.axes)]
    labels = {name: j for j, name in enumerate((*kept_modes, *(b.name for b in form.bonds)))}
    shifted = {**labels, **{b.name: len(labels) + j for j, b in enumerate(form.bonds)}}
    own = [read for read in form.factors[k].reads if isinstance(read, str)]
    mine = [name for name in own if name not in kept_modes]
    outer = [name for name in own if name in kept_modes]
    gram: list[Any] = []
    right: list[Any] = [values, [labels[name] for name in kept_modes]]
    seen: set[str] = set()
    for j, factor in enumerate(form.factors):
        if j == k:
            continue
        reads = [read for read in factor.reads if isinstance(read, str)]
        seen.update(reads)
        gram += [factors[j].conj(), [labels[name] for name in reads]]
        gram += [factors[j], [shifted[name] for name in reads]]
        right += [factors[j].conj(), [labels[name] for name in reads]]
    sizes = {bond.name: bond.size for bond in form.bonds}
    for name in mine:  # a bond that only this factor has
        if name not in seen:
            ones = np.ones(sizes[name])
            gram += [ones, [labels[name]], ones, [shifted[name]]]
            right += [ones, [labels[name]]]
    count = prod(sizes[name] for name in mine)
    if gram:
        target = [labels[name] for name in mine] + [shifted[name] for name in mine]
        matrix = opt_einsum.contract(*gram, target, optimize="greedy").reshape(count, count)
    else:
        matrix = np.ones((1, 1))
    wanted = [labels[name] for name in (*mine, *outer)]
    vector = opt_einsum.contract(*right, wanted, optimize="greedy")
    inner = vector.reshape(count, -1)
    solution = _least_squares(matrix, inner)
    order = [(*mine, *outer).index(name) for name in own]
    found = np.ascontiguousarray(solution.reshape(vector.shape).transpose(order))
    return found, float(np.vdot(solution, inner).real)


def _least_squares(matrix: Array, right: Array) -> Array:
    """The solution of normal equations, by Cholesky unless they are nearly singular."""
    try:
        lower, _ = cho_factor(matrix, lower=True)
    except LinAlgError:
        lower = np.zeros((1, 1))
    pivots = np.abs(np.diagonal(lower))
    if pivots.min() > 1e-5 * pivots.max():
        return np.asarray(cho_solve((lower, True), right))
    return np.asarray(np.linalg.lstsq(matrix, right, rcond=1e-13)[0])
