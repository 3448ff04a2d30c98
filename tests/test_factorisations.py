"""`as` on params: the factors of every factorisation, their keys, initial values, and fits."""

from __future__ import annotations

import copy
import io
import pickle
from math import prod

import numpy as np
import pytest
import torch

import tensorlang as tl
from tensorlang.check.check import check_layer
from tensorlang.check.spec import spec_of_text
from tensorlang.library.factorisation import Axes, Mode, modes, resolved
from tensorlang.library.fitting import build, decompose, decompose_within
from tensorlang.registry import factorisations, initialisers

MATRIX = "dim o = 6, i = 12\n    input X[..., i]\n"
GROUPED = "dim o1 = 2, o2 = 3, i1 = 4, i2 = 3\n    input X[..., (i1 i2)]\n"
CASES = {
    "lowrank": ("W[o, i]", "lowrank(rank = 4)", {"W.o": (6, 4), "W.i": (12, 4)}),
    "cp": ("W[o, i]", "cp(3)", {"W.o": (6, 3), "W.i": (12, 3)}),
    "tucker": (
        "W[o, i]",
        "tucker(ranks = [2, 3])",
        {"W.core": (2, 3), "W.o": (6, 2), "W.i": (12, 3)},
    ),
    "tucker_grouped": (
        "W[(o1 o2), (i1 i2)]",
        "tucker(ranks = 2)",
        {"W.core": (2,) * 4, "W.o1": (2, 2), "W.o2": (3, 2), "W.i1": (4, 2), "W.i2": (3, 2)},
    ),
    "tt": ("W[o, i]", "tt(rank = 5)", {"W.0": (6, 5), "W.1": (5, 12)}),
    "tt_matrix": ("W[(o1 o2), (i1 i2)]", "tt(rank = 3)", {"W.0": (2, 4, 3), "W.1": (3, 3, 3)}),
    "tr": ("W[o, i]", "tr(rank = [2, 3])", {"W.0": (2, 6, 3), "W.1": (3, 12, 2)}),
    "tr_matrix": (
        "W[(o1 o2), (i1 i2)]",
        "tr(rank = 2)",
        {"W.0": (2, 2, 4, 2), "W.1": (2, 3, 3, 2)},
    ),
    "kron": ("W[(o1 o2), (i1 i2)]", "kron", {"W.0": (2, 4), "W.1": (3, 3)}),
    "kron_sum": ("W[(o1 o2), (i1 i2)]", "kron(rank = 2)", {"W.0": (2, 2, 4), "W.1": (2, 3, 3)}),
    "blockterm": (
        "W[o, i]",
        "blockterm(ranks = [2, 3], terms = 2)",
        {"W.core": (2, 2, 3), "W.o": (2, 6, 2), "W.i": (2, 12, 3)},
    ),
    "blockdiag": ("W[o, i]", "blockdiag(n = 3)", {"W.blocks": (3, 2, 4)}),
    "toeplitz": ("W[o, i]", "toeplitz", {"W.diagonals": (17,)}),
    "circulant": ("W[i, i']", "circulant", {"W.column": (12,)}),
}

every_case = pytest.mark.parametrize("name", CASES)


def spec(name: str, law: str = "normal(std = 0.7)") -> str:
    declared, form, _ = CASES[name]
    head = GROUPED if "(" in declared else MATRIX
    left = declared[2:-1].split(",")[0]
    right = declared[2:-1].split(", ", 1)[1]
    return (
        f"layer L():\n    {head}    param {declared} ~ {law} as {form}\n"
        f"    output Y[..., {left}] = X[..., {right}] * {declared}\n"
        if right != "i'"
        else f"layer L():\n    {head}    param {declared} ~ {law} as {form}\n"
        "    output Y[..., i'] = X * W\n"
    )


def layer(tmp_path, text: str) -> torch.nn.Module:
    (tmp_path / "spec.tl").write_text(text)
    return tl.load(tmp_path / "spec.tl").L(dtype=torch.float64)


def dense(name: str, text: str, params: dict[str, np.ndarray]) -> np.ndarray:
    """W as the registry's row builds it from the factors."""
    program = check_layer(spec_of_text(text), "L", {})
    (factored,) = program.factored
    row = factorisations()[factored.factorisation]
    axes = tuple(
        tuple(Mode(index.name, int(index.dim.size)) for index in axis.indices)
        for axis in factored.axes
    )
    form = row.form(axes, factored.ranks, dict(factored.arguments))
    factors = [params[f"W.{factor.name}"] for factor in form.factors]
    return build(form, factors).reshape([prod(m.size for m in axis) for axis in axes])


@every_case
def test_keys_shapes_and_values(name: str, tmp_path) -> None:
    made = layer(tmp_path, spec(name))
    assert {k: tuple(v.shape) for k, v in made.state_dict().items()} == CASES[name][2]
    x = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    y = made(x)
    np.testing.assert_allclose(y.detach(), tl.reference(made)(x.detach()), rtol=0, atol=1e-12)
    weight = dense(name, spec(name), {k: v.numpy() for k, v in made.state_dict().items()})
    np.testing.assert_allclose(
        y.detach(), x.detach().numpy() @ (weight.T if name != "circulant" else weight), atol=1e-12
    )
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in made.parameters())


@every_case
def test_the_dense_tensor_has_the_stated_spread(name: str, tmp_path) -> None:
    torch.manual_seed(1)
    made = layer(tmp_path, spec(name))
    squares = []
    for _ in range(200):
        made.reset_parameters()
        values = {k: v.numpy() for k, v in made.state_dict().items()}
        squares.append(np.mean(dense(name, spec(name), values) ** 2))
    # the mean square of the draws has an error of its own, larger for products of few numbers
    error = np.std(squares) / len(squares) ** 0.5
    assert abs(np.mean(squares) - 0.7**2) < max(0.03 * 2 * 0.7**2, 3 * error)


@pytest.mark.parametrize("law", ["kaiming", "xavier", "uniform(-0.5, 0.5)", "normal(std = 0.3)"])
@pytest.mark.parametrize(
    "form", ["lowrank(32)", "cp(64)", "tucker(ranks = 24)", "tt(rank = 32)", "tr(rank = 12)"]
)
def test_root_mean_square_within_three_percent(form: str, law: str, tmp_path) -> None:
    text = (
        "layer L(o = 40, i = 60):\n    input X[n, i]\n"
        f"    param W[o, i] ~ {law} as {form}\n    output Y[n, o] = X * W\n"
    )
    made = layer(tmp_path, text)
    torch.manual_seed(0)
    squares = []
    for _ in range(200):
        made.reset_parameters()
        values = {k: v.numpy() for k, v in made.state_dict().items()}
        squares.append(np.mean(dense("", text, values) ** 2))
    stated = {
        "kaiming": 1 / np.sqrt(3 * 60),
        "xavier": np.sqrt(2 / 100),
        "uniform(-0.5, 0.5)": 1 / np.sqrt(12),
        "normal(std = 0.3)": 0.3,
    }[law]
    assert abs(np.sqrt(np.mean(squares)) / stated - 1) < 0.03


@every_case
def test_zeros_give_exactly_zero_and_a_gradient(name: str, tmp_path) -> None:
    made = layer(tmp_path, spec(name, "zeros"))
    y = made(torch.randn(5, 12, dtype=torch.float64))
    assert torch.equal(y, torch.zeros_like(y))
    (y * torch.randn_like(y)).sum().backward()
    first = next(iter(CASES[name][2]))
    for key, param in made.named_parameters():
        assert (param.grad.norm() > 0) == (key == first), key


def test_copies_pickles_compiles_and_exports(tmp_path) -> None:
    for name in ("tucker", "tt_matrix"):
        made = layer(tmp_path, spec(name))
        x = torch.randn(4, 12, dtype=torch.float64)
        y = made(x)
        assert torch.equal(copy.deepcopy(made)(x), y)
        assert torch.equal(pickle.loads(pickle.dumps(made))(x), y)
        other = layer(tmp_path, spec(name))
        file = io.BytesIO()
        torch.save(made.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file))
        assert torch.equal(other(x), y)
        compiled = torch.compile(made, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), y)
        torch.testing.assert_close(torch.export.export(made, (x,)).module()(x), y)
        torch.testing.assert_close(
            torch.func.functional_call(made, dict(made.named_parameters()), (x,)), y
        )


def test_frozen_factors_are_not_trained(tmp_path) -> None:
    text = spec("tucker").replace("param", "frozen param")
    assert not any(p.requires_grad for p in layer(tmp_path, text).parameters())


def test_sub_layers_prefix_the_keys(tmp_path) -> None:
    text = (
        "layer L(i = 12):\n    input X[..., i]\n"
        "    param W[i', i] ~ kaiming as lowrank(rank = 2)\n"
        "    output Y[..., i'] = X * W\n\n"
        "layer Two(i = 12):\n    input X[..., i]\n    sub f = L()\n    sub g = L()\n"
        "    H[..., i] = f[i' = i](X)\n    output Y[..., i] = g[i' = i](H)\n"
    )
    (tmp_path / "two.tl").write_text(text)
    made = tl.load(tmp_path / "two.tl").Two(dtype=torch.float64)
    assert set(made.state_dict()) == {"f.W.i_1", "f.W.i", "g.W.i_1", "g.W.i"}
    x = torch.randn(3, 12, dtype=torch.float64)
    np.testing.assert_allclose(made(x).detach(), tl.reference(made)(x), atol=1e-12)


def test_complex_factors(tmp_path) -> None:
    text = (
        "layer L(o = 3, i = 4):\n    input X[n, i]: complex\n"
        "    param W[o, i]: complex ~ normal(std = 0.7) as cp(rank = 8)\n"
        "    output Y[n, o] = X * W\n"
    )
    made = layer(tmp_path, text)
    x = torch.randn(5, 4, dtype=torch.complex128)
    np.testing.assert_allclose(made(x).detach(), tl.reference(made)(x), atol=1e-12)
    squares = []
    for _ in range(200):
        made.reset_parameters()
        values = {k: v.numpy() for k, v in made.state_dict().items()}
        squares.append(np.mean(abs(dense("", text, values)) ** 2))
    assert abs(np.sqrt(np.mean(squares)) / 0.7 - 1) < 0.05


# --- rows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", factorisations())
def test_every_row_has_an_example_that_compiles(name: str) -> None:
    row = factorisations()[name]
    assert row.name == name and row.doc
    indices = dict.fromkeys(
        index.rstrip("'")
        for index in row.example.split("[", 1)[1].split("]")[0].replace(",", " ").split()
        for index in [index.strip("()")]
    )
    dims = ", ".join(f"{index} = 16" for index in indices)
    slots = row.example.split("W[", 1)[1].split("]")[0]
    summed = slots.translate(str.maketrans("() ", "  ,")).replace(" ", "").replace(",,", ",")
    text = (
        f"layer L():\n    dim {dims}\n    input X[n]\n    {row.example}\n"
        f"    output Y[n] = X[n] * sum[{summed}](W[{slots}])\n"
    )
    program = check_layer(spec_of_text(text), "L", {})
    assert all(param.name.startswith("W.") for param in program.params)
    assert {param.initialiser.name for param in program.params} <= set(initialisers())


def over(**sizes: int) -> Axes:
    return tuple((Mode(name, size),) for name, size in sizes.items())


GROUPS = ((Mode("o1", 2), Mode("o2", 3)), (Mode("i1", 5), Mode("i2", 2)))


@pytest.mark.parametrize(
    ("name", "axes", "rank", "args"),
    [
        ("lowrank", over(o=6, i=10), 3, {}),
        ("cp", over(i=4, j=5, k=3), 2, {}),
        ("tucker", over(i=4, j=5, k=3), (2, 3, 2), {}),
        ("tucker", GROUPS, 2, {}),
        ("tt", over(i=4, j=5, k=3), (2, 3), {}),
        ("tt", GROUPS, 4, {}),
        ("tr", over(i=4, j=5, k=3), 2, {}),
        ("kron", GROUPS, 1, {}),
        ("kron", GROUPS, 3, {}),
        ("blockterm", over(o=6, i=10), (1, 2), {"terms": 2}),
        ("blockdiag", over(o=6, i=10), None, {"n": 2}),
        ("toeplitz", over(o=6, i=10), None, {}),
        ("circulant", over(o=6, i=6), None, {}),
        ("cp", over(i=1, j=5, k=1), 1, {}),
    ],
)
def test_a_tensor_of_the_form_is_found_again(name, axes, rank, args) -> None:
    row = factorisations()[name]
    form = row.form(axes, resolved(row, axes, rank, args), args)
    generator = np.random.default_rng(3)
    values = build(form, [generator.standard_normal(f.shape) for f in form.factors])
    found = decompose(row, axes, values, rank, args)
    assert found.error < 1e-6
    assert found.form == form


def test_known_errors_of_a_hilbert_tensor() -> None:
    i = np.arange(20)
    values = 1 / (1 + i[:, None, None] + i[None, :, None] + i[None, None, :])
    axes = over(i=20, j=20, k=20)
    known = {  # HOOI, TT-SVD, CP-ALS: relative errors at ranks 1 to 4
        "tucker": (2.636246e-1, 6.173741e-2, 9.861290e-3, 1.258809e-3),
        "tt": (2.640054e-1, 5.631572e-2, 8.559871e-3, 1.064815e-3),
        "cp": (2.636246e-1, 6.173741e-2),
    }
    for name, errors in known.items():
        for rank, error in enumerate(errors, 1):
            found = decompose(factorisations()[name], axes, values, rank, {})
            assert found.error == pytest.approx(error, rel=1e-5), (name, rank)


@pytest.mark.parametrize("name", [n for n, row in factorisations().items() if row.rank])
def test_tol_finds_ranks(name: str) -> None:
    row = factorisations()[name]
    i = np.arange(6)
    values = 1 / (1 + i[:, None] + i[None, :])
    grouped = ((Mode("a", 2), Mode("b", 3)), (Mode("c", 2), Mode("d", 3)))
    axes = grouped if name == "kron" else over(o=6, i=6)
    args = {argument: 2 for argument, _ in row.arguments}
    found = decompose_within(row, axes, values, 1e-2, args)
    assert found.error <= 1e-2
    assert all(1 <= rank <= 6 for rank in found.ranks)


@pytest.mark.parametrize("name", ["cp", "tucker", "tt", "tr", "lowrank"])
@pytest.mark.parametrize("ratio", [0.05, 0.2, 0.5])
def test_a_ratio_is_kept(name: str, ratio: float) -> None:
    row = factorisations()[name]
    axes = over(o=64, i=48) if name == "lowrank" else over(o=64, i=48, h=3, w=3)
    size = prod(mode.size for mode in modes(axes))
    cost = row.form(axes, resolved(row, axes, ratio, {}), {}).parameters
    assert 0.5 * ratio * size < cost <= ratio * size
