"""Constructors of consts: values and laws of each, and what e3nn publishes of its coefficients."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tensorlang as tl
from tensorlang import reference, registry
from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.program import Constructed
from tensorlang.check.spec import spec_of_text
from tensorlang.library.angular import gaunt_factor, triangle, wigner_3j
from tensorlang.library.constant import Slot
from tensorlang.library.irreps import Irreps, natural, parse
from tensorlang.lower import lower
from tensorlang.verification import verify

CONSTANTS = registry.constants()
RNG = np.random.default_rng(0)
HARMONICS = registry.transforms()["spherical_harmonics"]


def build(name: str, *slots: int | Irreps, **arguments: Any) -> Any:
    row = CONSTANTS[name]
    full = tuple(Slot(s) if isinstance(s, int) else Slot(s.size, s) for s in slots)
    keywords = dict(row.arguments) | arguments
    assert row.check(full, keywords) is None, row.check(full, keywords)
    return row.numpy(full, keywords)


def irreps(text: str) -> Irreps:
    found = parse(text)
    assert isinstance(found, Irreps), found
    return found


def harmonics(points: Any, most: int) -> Any:
    return HARMONICS.numpy(points, sizes=((most + 1) ** 2,), norm="backward")


def rotation() -> Any:
    q, _ = np.linalg.qr(RNG.standard_normal((3, 3)))
    return q * np.linalg.det(q)


def representation(turn: Any, most: int) -> Any:
    """How harmonics turn, Y(R x) = D(R) Y(x), found from their values on points."""
    points = RNG.standard_normal((4 * (most + 1) ** 2, 3))
    solved, *_ = np.linalg.lstsq(harmonics(points, most), harmonics(points @ turn.T, most))
    return solved.T


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_has_a_text_and_its_example_runs(name: str) -> None:
    row = CONSTANTS[name]
    assert row.name == name and row.doc and not row.doc.endswith(".")
    lines = [*row.example.split("; "), "output Y[s] = S * sum[s'](1.0 * s')"]
    body = "".join(f"    {line}\n" for line in ("input S[s]", *lines))
    hypers = [f"{n} = 4" for n in "ij" if f"{n} = " not in row.example]
    spec = spec_of_text(f"layer L({', '.join(hypers)}):\n{body}")
    program = check_layer(spec, "L", {})
    (const,) = program.consts
    assert isinstance(const.value, Constructed)
    value = np.asarray(row.numpy(const.value.slots, dict(const.value.arguments)))
    assert value.shape == tuple(axis.size for axis in const.axes) and np.isfinite(value).all()


def test_axes_come_in_the_order_declared_and_groups_are_merged() -> None:
    source = """
layer L(r = 5):
    input S[r, r']
    const E[i, (j p)] = plucker(p, i, j)
    index i, j in r
    dim   p = r * (r - 1) / 2
    output Y[i, (j p)] = E[i, (j p)] * S[i, j]
"""
    program = check_layer(spec_of_text(source), "L", {})
    ones = np.ones((5, 5))
    (value,) = reference.evaluate(program, [ones], {})
    want = build("plucker", 10, 5, 5).transpose(1, 2, 0).reshape(5, 50)
    np.testing.assert_array_equal(value, want)
    assert lower(program)


def test_the_first_axis_has_its_size_from_the_others() -> None:
    source = """
layer L(most = 2, r = 4):
    dim   i = irreps(most)
    input W[p], V[q]
    const C[p, i, i', i''] = cg_paths(i, i', i'')
    const D[s, i, i', i''] = cg_paths(s, i, i', i'', parity = false)
    const E[q, r, r'] = plucker(q, r, r')
    output Y[i, s] = W[p] * C[p, i, i', i''] * D[s, i, i', i'']
    output Z[r] = sum[q, r'](V[q] * E[q, r, r'])
"""
    spec = spec_of_text(source)
    assert not check_spec(spec)
    for most, even, all_of_them in ((1, 4, 5), (2, 11, 15), (3, 23, 34)):
        program = check_layer(spec, "L", {"most": most, "r": most + 2})
        sizes = {dim.name: dim.size for dim in program.dims}
        assert (sizes["p"], sizes["s"]) == (even, all_of_them)
        assert sizes["q"] == (most + 2) * (most + 1) // 2


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pluecker_coordinates(size: int) -> None:
    pairs = size * (size - 1) // 2
    table = build("plucker", pairs, size, size)
    x, y = RNG.standard_normal((2, size))
    want = [x[i] * y[j] - x[j] * y[i] for i, j in itertools.combinations(range(size), 2)]
    np.testing.assert_allclose(np.einsum("pij,i,j", table, x, y), np.array(want), atol=1e-14)


def test_levi_civita_is_the_determinant() -> None:
    for rank in (2, 3, 4):
        a = RNG.standard_normal((rank, rank))
        value = build("levi_civita", *[rank] * rank)
        for row in a:
            value = np.tensordot(row, value, (0, 0))
        np.testing.assert_allclose(value, np.linalg.det(a))


def test_matrices() -> None:
    for size in (1, 2, 8):
        h = build("hadamard", size, size)
        np.testing.assert_array_equal(h @ h, size * np.eye(size))
        bits = np.arange(size)[:, None] & np.arange(size)
        np.testing.assert_array_equal(h, (-1.0) ** np.vectorize(lambda n: int(n).bit_count())(bits))
    for size in (1, 4, 7):
        np.testing.assert_allclose(build("dft", size, size), np.fft.fft(np.eye(size)), atol=1e-13)
    np.testing.assert_array_equal(build("eye", 3, 3), np.eye(3))
    assert build("eye", 2, 2, 2).sum() == 2


def test_random_constants_keep_their_seed() -> None:
    one, same = (build("random_normal", 400, 50, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert abs(one.mean()) < 0.03 and abs(one.std() - 1) < 0.03
    assert not np.array_equal(one, build("random_normal", 400, 50, seed=4))
    signs = build("random_signs", 4000, seed=1)
    assert set(signs) == {-1.0, 1.0} and abs(signs.mean()) < 0.1


def test_a_permutation_is_one_and_reads_unchecked(tmp_path: Path) -> None:
    assert sorted(build("random_permutation", 11, seed=3)) == list(range(11))
    path = tmp_path / "turned.tl"
    text = """
layer Turned(i = 6):
    input X[b, i]
    const P[i] = random_permutation(i, seed = 1)
    output Z[b, i] = X[b, P[i]] * exp(X[b, P[i]])
"""
    path.write_text(text)
    report = verify(str(path))
    assert report.ok, str(report)
    assert "_check_index(" not in tl.compile(path).source
    path.write_text(text.replace("X[b, i]\n", "X[b, j]\n"))  # of a size that only a call knows
    assert "_check_index(" in tl.compile(path).source
    with pytest.raises(IndexError):
        tl.load(path).Turned()(torch.randn(2, 5))


# --- coupling coefficients -----------------------------------------------------------------------
def test_coupling_coefficients_known_in_closed_form() -> None:
    np.testing.assert_allclose(wigner_3j(1, 1, 1), build("levi_civita", 3, 3, 3) / math.sqrt(6))
    for degree in range(5):
        delta = np.eye(2 * degree + 1) / math.sqrt(2 * degree + 1)
        np.testing.assert_allclose(wigner_3j(degree, degree, 0)[..., 0], delta, atol=1e-15)


DEGREES = [d for d in itertools.product(range(4), repeat=3) if triangle(*d)]


@pytest.mark.parametrize("degrees", DEGREES)
def test_laws_of_coupling_coefficients(degrees: tuple[int, int, int]) -> None:
    one, two, three = degrees
    table = wigner_3j(*degrees)
    # orthogonality, hence Frobenius norm 1
    gram = np.einsum("ijk,ijl->kl", table, table)
    np.testing.assert_allclose(gram, np.eye(2 * three + 1) / (2 * three + 1), atol=1e-15)
    # permutations
    np.testing.assert_allclose(wigner_3j(two, three, one), table.transpose(1, 2, 0), atol=1e-15)
    sign = (-1) ** sum(degrees)
    np.testing.assert_allclose(wigner_3j(two, one, three), sign * table.swapaxes(0, 1), atol=1e-15)
    # where it may differ from zero
    for i, j, k in np.argwhere(table):
        m1, m2, m3 = i - one, j - two, k - three
        assert abs(m3) in (abs(m1) + abs(m2), abs(abs(m1) - abs(m2)))
        assert np.count_nonzero(np.array([m1, m2, m3]) < 0) % 2 == sum(degrees) % 2


def test_coupling_coefficients_are_invariant_under_rotations() -> None:
    d = representation(rotation(), 3)
    blocks = [d[k * k : (k + 1) ** 2, k * k : (k + 1) ** 2] for k in range(4)]
    for degrees in DEGREES:
        table = wigner_3j(*degrees)
        a, b, c = (blocks[degree] for degree in degrees)
        np.testing.assert_allclose(np.einsum("ijk,ia,jb,kc", table, a, b, c), table, atol=1e-12)


# of all paths up to degree L and of those that keep parity: how many, and their non-zeros (e3nn)
@pytest.mark.parametrize(
    ("most", "paths", "cells", "even_paths", "even_cells"),
    [(1, 5, 16, 4, 10), (2, 15, 137, 11, 83), (3, 34, 611, 23, 353), (4, 65, 2052, 42, 1158)],
)
def test_non_zeros(most: int, paths: int, cells: int, even_paths: int, even_cells: int) -> None:
    i = natural(most)
    everything = build("cg_paths", paths, i, i, i, parity=False)
    even = build("cg_paths", even_paths, i, i, i)
    assert np.count_nonzero(everything) == cells and np.count_nonzero(even) == even_cells
    assert np.count_nonzero(build("gaunt", i, i, i)) == even_cells
    np.testing.assert_allclose(np.square(everything).sum((1, 2, 3)), 1)


def test_paths_are_ordered_by_degrees_and_one_irrep_is_a_block() -> None:
    i = irreps("1o + 0e")
    table = build("cg_paths", 4, i, i, i)
    degrees = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    place = {0: slice(3, 4), 1: slice(0, 3)}
    for p, path in enumerate(degrees):
        block = table[(p, *(place[degree] for degree in path))]
        np.testing.assert_array_equal(block, wigner_3j(*path))
    one = build("cg", irreps("1o"), irreps("1o"), irreps("2e"))
    np.testing.assert_array_equal(one, wigner_3j(1, 1, 2))


def test_gaunt_coefficients_are_integrals_over_the_sphere() -> None:
    most = 3
    height, weight = np.polynomial.legendre.leggauss(2 * most)
    turns = np.arange(4 * most) * 2 * np.pi / (4 * most)
    flat = np.sqrt(1 - height**2)[:, None]
    points = np.stack(
        np.broadcast_arrays(flat * np.sin(turns), height[:, None], flat * np.cos(turns)), -1
    )
    y = harmonics(points, most) / math.sqrt(4 * math.pi)
    weights = np.broadcast_to(weight[:, None], points.shape[:2]) * 2 * np.pi / len(turns)
    want = np.einsum("abi,abj,abk,ab->ijk", y, y, y, weights)
    i = natural(most)
    np.testing.assert_allclose(build("gaunt", i, i, i), want, atol=1e-13)
    assert gaunt_factor(1, 1, 1) == 0


# --- spherical harmonics -------------------------------------------------------------------------
def test_harmonics_in_closed_form() -> None:
    v = RNG.standard_normal((20, 3))
    x, y, z = (v / np.linalg.norm(v, axis=1, keepdims=True)).T
    two = [x * z, x * y, (y * y - (x * x + z * z) / 2) / math.sqrt(3), y * z, (z * z - x * x) / 2]
    want = [np.ones(20), *(math.sqrt(3) * c for c in (x, y, z)), *(math.sqrt(15) * c for c in two)]
    np.testing.assert_allclose(harmonics(v, 2), np.stack(want, -1), atol=1e-14)


def test_harmonics_have_component_normalisation_and_parity() -> None:
    v = RNG.standard_normal((7, 3))
    value = harmonics(v, 8)
    for degree in range(9):
        part = slice(degree * degree, (degree + 1) ** 2)
        np.testing.assert_allclose(np.square(value[:, part]).sum(1), 2 * degree + 1)
        turned = harmonics(-v, 8)[:, part]
        np.testing.assert_allclose(turned, (-1) ** degree * value[:, part], atol=1e-13)


def test_harmonics_of_the_zero_vector() -> None:
    names: dict[str, Any] = {"torch": torch}
    exec(HARMONICS.torch_helper, names)
    zero = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    value = names["_spherical_harmonics"](zero, 16)
    np.testing.assert_array_equal(value.detach().numpy(), harmonics(np.zeros((1, 3)), 3))
    assert value[0, 0] == 1 and not value[0, 1:].any()
    (slope,) = torch.autograd.grad(value.sum(), zero, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), zero, allow_unused=True)
    assert not slope.any() and (bend is None or not bend.any())
