"""`tensorlang.factorise` on torch's layers, `factorise_state` and the command on whole files."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn

import tensorlang as tl
from tensorlang.cli import tensorlang as command
from tensorlang.factorisation import flops
from tensorlang.library.factorisation import Mode
from tensorlang.registry import factorisations

DOUBLE = {"dtype": torch.float64}


def same(layer: nn.Module, x: torch.Tensor, form: str, **options) -> nn.Module:
    """The factorised layer; at full rank it computes what the layer does."""
    made = tl.factorise(layer, form, **options)
    torch.testing.assert_close(made(x), layer(x), rtol=1e-9, atol=1e-9)
    assert made.factorisations["weight"].error < 1e-9
    assert all(key == "bias" or key.startswith("weight.") for key in made.state_dict())
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    layer = nn.Linear(12, 8, bias=bias, **DOUBLE)
    x = torch.randn(2, 5, 12, **DOUBLE)
    same(layer, x, "tucker", ranks=(8, 8))
    same(layer, x, "lowrank", rank=8)
    same(layer, x, "tt", rank=8)
    made = same(layer, x, "tt", rank=32, shape=((2, 4), (3, 4)))
    assert {k: tuple(v.shape) for k, v in made.state_dict().items() if k != "bias"} == {
        "weight.0": (2, 3, 6),
        "weight.1": (6, 4, 4),
    }
    same(layer, x, "kron", rank=99)
    assert pickle.loads(pickle.dumps(made))(x).equal(made(x))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"padding": (2, 1), "stride": (2, 1), "dilation": (1, 2)},
        {"padding": "same", "groups": 3},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": 1, "padding_mode": "reflect", "bias": False},
        {"padding": 1, "padding_mode": "replicate"},
        {"groups": 6, "stride": 2},
    ],
)
def test_conv2d(options) -> None:
    layer = nn.Conv2d(6, 12, 3, **options, **DOUBLE)
    same(layer, torch.randn(2, 6, 9, 11, **DOUBLE), "tucker", ranks=100)


def test_other_convolutions_and_embeddings() -> None:
    same(nn.Conv1d(6, 4, 3, stride=2, **DOUBLE), torch.randn(2, 6, 9, **DOUBLE), "tt", rank=99)
    volume = torch.randn(2, 3, 4, 5, 4, **DOUBLE)
    same(nn.Conv3d(3, 4, 2, padding=1, **DOUBLE), volume, "tucker", rank=99)
    same(nn.Embedding(20, 6, **DOUBLE), torch.randint(20, (3, 4)), "lowrank", rank=6)


def test_the_error_is_reported_and_tol_is_kept() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30, bias=False, **DOUBLE)
    made = tl.factorise(layer.eval(), "tucker", ranks=(6, 7))
    fit = made.factorisations["weight"]
    built = made(torch.eye(40, **DOUBLE)).T
    error = (built - layer.weight).norm() / layer.weight.norm()
    assert fit.error == pytest.approx(error.item(), rel=1e-9) and not made.training
    assert fit.ranks == (6, 7) and fit.parameters == 42 + 30 * 6 + 40 * 7
    assert tl.factorise(layer, "lowrank", tol=0.4).factorisations["weight"].error <= 0.4
    ratio = tl.factorise(layer, "cp", rank=0.3).factorisations["weight"]
    assert 0.25 < ratio.parameters / ratio.dense_parameters <= 0.3


def test_mistakes() -> None:
    layer = nn.Linear(12, 8)
    with pytest.raises(TypeError, match="no factorisation 'tuker'"):
        tl.factorise(layer, "tuker", rank=2)
    with pytest.raises(TypeError, match="can be factorised"):
        tl.factorise(nn.LayerNorm(3), "cp", rank=2)
    with pytest.raises(TypeError, match="does not split"):
        tl.factorise(layer, "tt", rank=2, shape=((2, 2), (3, 4)))
    with pytest.raises(TypeError, match="has no ranks"):
        tl.factorise(layer, "toeplitz", rank=2)
    with pytest.raises(tl.SpecError, match="3 entries"):
        tl.factorise(layer, "tucker", ranks=[2, 2, 2])
    with pytest.raises(TypeError, match="max_norm"):
        tl.factorise(nn.Embedding(4, 4, max_norm=1.0), "cp", rank=2)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(80, 64), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.LayerNorm(80))


def test_state() -> None:
    state = model().state_dict()
    seen = []
    made, rows = tl.factorise_state(
        state, "tucker", rank=0.3, progress=lambda name, done, total: seen.append((done, total))
    )
    assert [row.name for row in rows] == ["0.weight", "2.weight"]
    assert seen[-1] == (len(state), len(state))
    assert {k for k in made if k.startswith("0.weight")} == {
        "0.weight.core",
        "0.weight.o",
        "0.weight.i",
    }
    assert made["3.weight"] is state["3.weight"]
    layer = tl.factorise(model()[2], "tucker", ranks=list(rows[1].fit.ranks))
    layer.load_state_dict({k[2:]: v for k, v in made.items() if k.startswith("2.")})
    for row in rows:
        assert row.fit.parameters <= 0.3 * row.fit.dense_parameters
        assert row.flops <= row.dense_flops and 0 < row.fit.error < 1
    left, rows = tl.factorise_state(state, "lowrank", rank=40)
    assert left.keys() == state.keys()
    assert [row.left for row in rows] == [
        "it would not get smaller",
        "lowrank takes two indices, here are 4 (o i u v)",
    ]


def test_flops_of_a_use() -> None:
    row = factorisations()["lowrank"]
    axes = ((Mode("o", 64),), (Mode("i", 32),))
    assert flops(row.form(axes, (4,), {})) == 2 * 4 * (64 + 32)
    assert flops(row.form(axes, (32,), {})) == 2 * 64 * 32
    square = ((Mode("o", 32),), (Mode("i", 32),))
    assert flops(factorisations()["blockdiag"].form(square, (), {"n": 4})) == 2 * 32 * 8


def run(*args: str):
    return CliRunner().invoke(command, ["factorise", *args])


def test_command(tmp_path) -> None:
    state = model().state_dict()
    source, target = tmp_path / "model.safetensors", tmp_path / "out.safetensors"
    save_file(state, source)
    done = run(str(source), "--as", "tucker", "--rank", "0.2", "-o", str(target))
    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][0] == "tensor" and {len(line) for line in lines} == {8}
    assert [line[0] for line in lines[1:]] == ["0.weight", "2.weight", "total"]
    made = load_file(target)
    assert "0.weight.core" in made and "0.weight" not in made
    basis = made["0.weight.o"].double().numpy()
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)

    torch.save(state, tmp_path / "model.pt")
    options = ("--rank", "[3]", "--match", "0.*", "--format", "json")
    done = run(str(tmp_path / "model.pt"), "--as", "lowrank", *options)
    (fact,) = json.loads(done.stdout)
    assert fact["ranks"] == [3] and fact["parameters"] == 3 * 144 and fact["dense_flops"] == 10240


def test_wrong_commands(tmp_path) -> None:
    path = tmp_path / "model.pt"
    torch.save(model().state_dict(), path)
    for args, told in (
        (("--as", "cpp", "--rank", "3"), "no factorisation 'cpp'"),
        (("--as", "cp"), "needs a rank or tol"),
        (("--as", "cp", "--rank", "x"), "nothing is called x"),
    ):
        done = run(str(path), *args)
        assert done.exit_code == 2 and told in done.output
    path.write_bytes(b"no model")
    assert run(str(path), "--as", "cp", "--rank", "3").exit_code == 2
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no model at all")
    assert run(str(path), "--as", "cp", "--rank", "3").exit_code == 2
