"""K3 without Triton: straight-line programs, kernels on numpy, what steps multiply out to."""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorlang as tl
from tensorlang.backends.triton.evaluate import run, scalar
from tensorlang.backends.triton.kernel_ir import Atomic, DType, Kernel, Role, Store
from tensorlang.backends.triton.sparse import Sparse, kernels
from tensorlang.backends.triton.straight import Straight, cell_name, gradients, program
from tensorlang.backends.triton.validate import problems
from tensorlang.plan.form import Component, Dim, Form, Free, Operand, Picked, Term
from tensorlang.size import Size, dynamic
from tests.example_cases import EXAMPLES
from tests.interpreted_forms import CHECKS, CROSS
from tests.interpreting import in_a_process

Array = np.ndarray[Any, Any]
E, N, U = dynamic("e"), dynamic("n"), dynamic("u")


def _terms(rng: np.random.Generator, shapes: list[tuple[int, ...]], count: int) -> tuple[Term, ...]:
    found: dict[tuple[tuple[int, ...], ...], float] = {}
    for _ in range(count):
        cells = tuple(tuple(int(rng.integers(size)) for size in shape) for shape in shapes)
        found[cells] = float(rng.choice([1.0, -1.0, 0.25, rng.standard_normal()]))
    return tuple(Term(c, cells) for cells, c in sorted(found.items()))


# --- programs ------------------------------------------------------------------------------------
def _executed(straight: Straight, values: Mapping[str, float]) -> dict[str, float]:
    known = dict(values)
    for line in straight.lines:
        assert line.name not in known
        known[line.name] = sum(
            term.coefficient * math.prod(known[f] for f in term.factors) for term in line.terms
        )
    return {name: known[value] for name, value in straight.results.items()}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_program_and_its_gradients(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [tuple(rng.integers(1, 5, rng.integers(1, 3))) for _ in range(count + 1)]
    terms = _terms(rng, shapes, 12)
    values = {
        cell_name(k, cell): float(rng.standard_normal())
        for term in terms
        for k, cell in enumerate(term.cells)
    }
    inputs = {name: x for name, x in values.items() if name.startswith("x")}
    seeds = {name: x for name, x in values.items() if name.startswith("y")}
    forward = program(terms)
    want: dict[str, float] = {}
    slopes: dict[str, float] = {}
    for term in terms:
        names = [cell_name(k, cell) for k, cell in enumerate(term.cells)]
        factors = [values[name] for name in names]
        product = term.coefficient * math.prod(factors[1:])
        want[names[0]] = want.get(names[0], 0.0) + product
        for k in range(1, len(names)):
            rest = term.coefficient * math.prod(factors[:k] + factors[k + 1 :])
            slopes[names[k]] = slopes.get(names[k], 0.0) + rest
    assert _executed(forward, inputs) == pytest.approx(want)
    assert _executed(forward.inlined(), inputs) == pytest.approx(want)
    backward = gradients(forward, {name: f"g{name}" for name in want})
    given = {**inputs, **{f"g{name}": x for name, x in seeds.items()}}
    assert _executed(backward, given) == pytest.approx(slopes)
    assert _executed(backward.inlined(), given) == pytest.approx(slopes)
    assert len(backward.inlined().lines) <= len(backward.lines)
    assert backward.operations <= 4 * forward.operations


def test_products_are_shared() -> None:
    """x0 y0 is formed once for three results."""
    terms = tuple(Term(2.0, ((k,), (0,), (0,))) for k in range(3))
    assert program(terms).operations < 3 * 2


# --- kernels on numpy ----------------------------------------------------------------------------
CASES: dict[str, tuple[tuple[Size, ...], list[tuple[Dim, ...]]]] = {
    "per sample": (
        (E, 7),
        [
            (Free(0), Free(1), Component(3)),
            (Free(0), Free(1), Component(2)),
            (Free(0), Component(4)),
            (Free(0), Component(5), Free(1)),
        ],
    ),
    "many lanes": (
        (E, 300),
        [
            (Free(0), Free(1), Component(3)),
            (Free(0), Free(1), Component(2)),
            (Free(0), Component(4)),
        ],
    ),
    "lanes of a call": (
        (E, U),
        [(Free(0), Component(3), Free(1)), (Free(0), Component(2), Free(1)), (Component(4),)],
    ),
    "shared weights": (
        (E, 8),
        [
            (Free(0), Free(1), Component(3)),
            (Free(0), Free(1), Component(2)),
            (Component(4), Free(1)),
            (Component(2),),
        ],
    ),
    "edges": (
        (E, 9),
        [
            (Picked(9, (0,)), Free(1), Component(3)),
            (Picked(8, (0,)), Component(2), Free(1)),
            (Free(0), Component(4)),
            (Free(0), Component(2), Free(1)),
        ],
    ),
    "long edges": (
        (E, U),
        [
            (Picked(9, (0,)), Component(3), Free(1)),
            (Picked(8, (0,)), Component(2), Free(1)),
            (Free(0), Component(2)),
        ],
    ),
    "long edges, numbers": (
        (E, U),
        [
            (Picked(9, (0,)), Component(3), Free(1)),
            (Picked(8, (0,)), Component(2)),
            (Free(0), Component(2), Free(1)),
        ],
    ),
    "both ends": (
        (E, 8),
        [
            (Picked(9, (0,)), Free(1), Component(3)),
            (Picked(8, (0,)), Free(1), Component(2)),
            (Picked(9, (0,)), Free(1), Component(2)),
        ],
    ),
    "no copies": (
        (E,),
        [(Free(0), Component(3)), (Free(0), Component(3)), (Free(0), Component(3))],
    ),
    "two rows": (
        (E, N, 8),
        [
            (Free(1), Free(0), Free(2), Component(2)),
            (Free(0), Free(2), Component(2)),
            (Free(1), Component(3)),
        ],
    ),
    "one copy": (
        (E, 1),
        [
            (Free(0), Free(1), Component(2)),
            (Free(0), Free(1), Component(2)),
            (Free(0), Component(2)),
        ],
    ),
}


def _made(name: str, seed: int) -> tuple[Sparse, Form, dict[int, tuple[Size, ...]]]:
    sizes, dims = CASES[name]
    rng = np.random.default_rng(seed)
    shapes = [tuple(d.size for d in each if isinstance(d, Component)) for each in dims]
    operands = tuple(Operand(k, each) for k, each in enumerate(dims))
    form = Form(sizes, operands, _terms(rng, shapes, 14))
    extents = {
        k: tuple(
            sizes[d.axis] if isinstance(d, Free) else N if isinstance(d, Picked) else d.size
            for d in each
        )
        for k, each in enumerate(dims)
    }
    return kernels("k", form, list(extents.values())), form, extents


def _number(size: Size, sizes: Mapping[str, int]) -> int:
    return size if isinstance(size, int) else sizes[str(size)]


def _scattered(form: Form, arrays: Mapping[int, Array], wanted: int, sizes: Mapping[str, int],
               shape: tuple[int, ...]) -> Array:  # fmt: skip
    """The sum of all terms with respect to one operand, cell by cell."""
    out = np.zeros(shape)
    for point in np.ndindex(*(_number(size, sizes) for size in form.sizes)):
        for term in form.terms:
            value = term.coefficient
            for k, operand in enumerate(form.operands):
                numbers = iter(term.cells[k])
                at = tuple(
                    point[d.axis]
                    if isinstance(d, Free)
                    else int(arrays[d.slot][tuple(point[a] for a in d.axes)])
                    if isinstance(d, Picked)
                    else next(numbers)
                    for d in operand.dims
                )
                if k == wanted:
                    place = at
                else:
                    value *= arrays[k][at]
            out[place] += value
    return out


@pytest.mark.parametrize("edges", [5, 1, 0])
@pytest.mark.parametrize("name", CASES)
def test_kernels_on_numpy(name: str, edges: int) -> None:
    made, form, extents = _made(name, edges)
    sizes = {"e": edges, "n": 3, "u": 133}
    rng = np.random.default_rng(1)
    arrays: dict[int, Array] = {
        k: rng.standard_normal(tuple(_number(size, sizes) for size in shape))
        for k, shape in extents.items()
    }
    arrays |= {9: rng.integers(0, 3, edges), 8: rng.integers(0, 3, edges)}
    given = {n: _number(size, sizes) for n, size in made.space.sizes.items()}
    tensors = {f"X{k}": arrays[k] for k in extents if k}
    tensors |= {made.space.position_tensor(p): arrays[p.slot] for p in made.space.picks}
    got = _run(made.forward, {**tensors}, given)["Y"]
    want = _scattered(form, arrays, 0, sizes, arrays[0].shape)
    mentioned = _mentioned(form, 0, arrays[0].shape)
    np.testing.assert_allclose(np.where(mentioned, got, 0), want, atol=1e-12)
    found = _run(made.backward, {**tensors, "G": arrays[0]}, given)
    for k in extents:
        if k:
            lost = len(made.space.lost(k))
            got = found[f"D{k}"].sum(tuple(range(lost)))
            want = _scattered(form, arrays, k, sizes, arrays[k].shape)
            got = np.where(_mentioned(form, k, arrays[k].shape), got, 0)
            np.testing.assert_allclose(got, want, atol=1e-11)


@pytest.mark.parametrize("edges", [7, 1, 0])
@pytest.mark.parametrize("name", ["edges", "both ends", "long edges"])
def test_sums_in_order_on_numpy(name: str, edges: int) -> None:
    made, form, extents = _made(name, edges)
    assert made.ordered is not None
    sizes = {"e": edges, "n": 3, "u": 133}
    rng = np.random.default_rng(2)
    arrays: dict[int, Array] = {
        k: rng.standard_normal(tuple(_number(size, sizes) for size in shape))
        for k, shape in extents.items()
    }
    arrays |= {9: rng.integers(0, 3, edges), 8: rng.integers(0, 3, edges)}
    given = {n: _number(size, sizes) for n, size in made.space.sizes.items()}
    tensors = {f"X{k}": arrays[k] for k in extents if k} | {"G": arrays[0]}
    tensors |= {made.space.position_tensor(p): arrays[p.slot] for p in made.space.picks}
    found: dict[int, Array] = {}
    for k, kernel in made.ordered.sums.items():
        landing = made.space.landing(k)
        assert landing is not None and problems(kernel) == []
        positions = arrays[landing.slot]
        order = np.argsort(positions, kind="stable")
        starts = np.searchsorted(positions[order], np.arange(4))
        out = f"D{k}" if k else "Y"
        found[k] = _run(kernel, {**tensors, "P": order, "S": starts}, given)[out]
    if made.ordered.rest is not None:
        assert problems(made.ordered.rest) == []
        rest = _run(made.ordered.rest, {**tensors}, given)
        found |= {k: rest[f"D{k}"] for k in extents if f"D{k}" in rest}
    assert set(found) == set(extents)
    for k, got in found.items():
        want = _scattered(form, arrays, k, sizes, arrays[k].shape)
        got = np.where(_mentioned(form, k, arrays[k].shape), got, 0)
        np.testing.assert_allclose(got, want, atol=1e-11)


def test_which_sums_have_no_order() -> None:
    assert _made("long edges, numbers", 0)[0].ordered is None
    assert _made("per sample", 0)[0].ordered is None


def _mentioned(form: Form, operand: int, shape: tuple[int, ...]) -> Array:
    """Cells whose components some term has; a kernel writes no others."""
    out = np.zeros(shape, bool)
    for term in form.terms:
        numbers = iter(term.cells[operand])
        dims = form.operands[operand].dims
        out[tuple(next(numbers) if isinstance(d, Component) else slice(None) for d in dims)] = True
    return out


def _run(kernel: Kernel, tensors: dict[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
    config = kernel.configs[0]
    for tensor in kernel.tensors:
        if tensor.role is not Role.IN:
            shape = tuple(scalar(kernel, extent, sizes, config) for extent in tensor.extents)
            tensors[tensor.name] = np.zeros(shape)
    run(kernel, tensors, sizes)
    return tensors


@pytest.mark.parametrize("name", CASES)
def test_kernels_obey_the_rules(name: str) -> None:
    made, _, _ = _made(name, 0)
    assert problems(made.forward) == []
    assert problems(made.backward) == []


def test_a_store_that_several_programs_make_is_refused() -> None:
    made, _, _ = _made("edges", 0)
    kernel = made.forward
    body = tuple(
        Store(s.tensor, s.index, s.value, s.pred) if isinstance(s, Atomic) else s
        for s in kernel.body
    )
    tensors = tuple(
        replace(t, role=Role.OUT, dtype=DType.COMPUTE) if t.name == "Y" else t
        for t in kernel.tensors
    )
    assert any(p.startswith("3:") for p in problems(replace(kernel, body=body, tensors=tensors)))


# --- what the planner takes ----------------------------------------------------------------------
def _regions(text: str, tmp_path: Path, **options: Any) -> list[tuple[str, int]]:
    """(backend, steps) of every region of a layer, in order."""
    path = tmp_path / "spec.tl"
    path.write_text(text)
    (unit,) = tl.compile(path, target="triton", **options).units
    return [(r.backend, len(r.regimes[0].steps)) for r in unit.plans[""].regions]


CONVOLUTION = """
layer Convolution(u = 8):
    dim    i = irreps(2), j = irreps(2), xyz = 3, h = 16
    input  X[n, u, i], R[e, xyz], D[e, h], src[e]: int, dst[e]: int
    param  A[h, p, u] ~ normal(0.0, 1.0)
    const  C[p, i, j, i'] = cg_paths(p, i, j, i')
    W[e, p, u] = silu(D[e, h] * A[h, p, u])
    Y[e, j] = spherical_harmonics[xyz -> j](R)
    output Z[n = dst[e], u, i'] += C[p, i, j, i'] * W[e, p, u] * X[src[e], u, i] * Y[e, j]
"""


def test_a_convolution_over_edges_is_one_kernel(tmp_path: Path) -> None:
    """What makes the weights stays with torch: sums over an index that no constant has."""
    found = _regions(CONVOLUTION, tmp_path)
    assert [backend for backend, _ in found].count("K3") == 1
    assert found[-1][0] == "K3"


@pytest.mark.parametrize("without", ["blocks", "tables", "flatten", "partitions", "selections"])
def test_recognition_does_not_depend_on_rewrites(without: str, tmp_path: Path) -> None:
    found = _regions(CONVOLUTION, tmp_path, without=[without])
    assert [backend for backend, _ in found].count("K3") == 1


PLAIN = {
    "a product of matrices": """
layer L(k = 8):
    input X[b, k], Y[b, k, c]
    output Z[b, c] = X[b, k] * Y[b, k, c]
""",
    "a dense constant": """
layer L(k = 8, m = 6):
    input X[b, k], Y[b, m]
    const H[k, m] = [[3, 1, 2, 4, 1, 2], [1, 5, 2, 1, 1, 2], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1],
                     [2, 7, 1, 8, 2, 8], [3, 1, 4, 1, 5, 9], [1, 6, 1, 8, 3, 3], [2, 2, 3, 6, 6, 7]]
    output Z[b] = X[b, k] * H[k, m] * Y[b, m]
""",
    "a linear map": """
layer L(u = 8):
    dim   i = irreps(1)
    input X[b, u, i]
    const C[p, i, i', i''] = cg_paths(p, i, i', i'')
    output Z[b, u, p, i'', i'] = C[p, i, i', i''] * X[b, u, i]
""",
    "a single number": """
layer L(q = 2, r = 3):
    input X[q, r], Z
    const V[q] = 1
    output Y[] = Z * V[q'] * X[q', 0] * Z * X[q, 0] * X[q, 0]
""",
    "a largest landing": """
layer L(x = 3):
    input A[e, x], B[e, x], dst[e]: int, M[n, x]
    output Z[n = dst[e], x] max= A[e, x] * B[e, x]
""",
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_left_to_others(name: str, tmp_path: Path) -> None:
    assert "K3" not in {backend for backend, _ in _regions(PLAIN[name], tmp_path)}


@pytest.mark.parametrize("dtype", ["int", "bool"])
def test_operands_that_are_not_real_stay_outside(dtype: str, tmp_path: Path) -> None:
    text = f"""
layer L(u = 8):
    dim   i = irreps(1), j = irreps(1)
    input X[b, u, i], Y[b, j], K[b, u]: {dtype}
    const C[p, i, j, i'] = cg_paths(p, i, j, i')
    output Z[b, u, p, i'] = C[p, i, j, i'] * X[b, u, i] * Y[b, j] * K[b, u]
"""
    path = tmp_path / "spec.tl"
    path.write_text(text)
    (unit,) = tl.compile(path, target="triton").units
    plan = unit.plans[""]
    for region in plan.regions:
        if region.backend == "K3":
            assert plan.inputs[2] not in region.inputs


def test_too_long_a_sum_is_said(tmp_path: Path) -> None:
    path = tmp_path / "spec.tl"
    path.write_text(CONVOLUTION.replace("irreps(2)", "irreps(4)"))
    (unit,) = tl.compile(path, target="triton").units
    reasons = [r.reason for r in unit.plans[""].regions]
    assert any("terms, more than 400" in reason for reason in reasons), reasons


def test_a_value_that_others_read_is_an_operand(tmp_path: Path) -> None:
    text = """
layer L(u = 8):
    dim   i = irreps(1), j = irreps(1)
    input X[b, u, i], Y[b, j], W[b, p, u]
    const C[p, i, j, i'] = cg_paths(p, i, j, i')
    output V[b, u, i] = tanh(X[b, u, i])
    output Z[b, u, i'] = C[p, i, j, i'] * W[b, p, u] * V[b, u, i] * Y[b, j]
"""
    assert [backend for backend, _ in _regions(text, tmp_path)].count("K3") == 1


def test_the_text_of_kernels_is_golden(tmp_path: Path) -> None:
    """UPDATE=1 writes it anew."""
    path = tmp_path / "spec.tl"
    path.write_text(CROSS)
    source = tl.compile(path, target="triton").source
    wanted = ("_form_0_forward", "_form_0_backward")
    found = [
        ast.get_source_segment(source, node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in wanted
    ]
    text = "\n\n\n".join(filter(None, found)) + "\n"
    golden = EXAMPLES.parent / "tests" / "golden" / "cross_product_kernels.txt"
    if os.environ.get("UPDATE"):
        assert not os.environ.get("CI"), "goldens are not written in CI"
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


# --- in the interpreter --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def results() -> Mapping[str, str | None]:
    """What every check said."""
    return in_a_process("tests.interpreted_forms")


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(name: str, results: Mapping[str, str | None]) -> None:
    if results[name] is not None:
        pytest.fail(results[name], pytrace=False)
