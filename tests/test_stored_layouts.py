"""Params lie in memory as their readers want them; what Python sees of them is as declared."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tensorlang as tl

LAYERS = {
    "Spectral": """
layer Spectral(i = 6, o = 5, p = 4, q = 3):
    input  X[b, i, p, q]
    param  W[i, o, p, q] ~ normal(std = 0.5)
    output Y[b, o, p, q] = X[b, i, p, q] * W[i, o, p, q]
""",
    "Waves": """
layer Waves(i = 6, o = 5, p = 7):
    input  X[b, i, p]: complex
    param  W[i, o, p]: complex ~ normal(std = 0.5)
    output Y[b, o, p] = X[b, i, p] * W[i, o, p]
""",
    "Heads": """
layer Heads(d = 6, h = 2, e = 3):
    input  X[n, d]
    param  Wq[h, d, e], Wk[h, d, e] ~ normal(std = 0.5)
    output Y[n, h, e] = X[n, d] * Wq[h, d, e]
    output Z[n, h, e] = exp(X[n, d]) * Wk[h, d, e]
""",
    "CP": """
layer CP(i = 5, j = 3, k = 4, l = 7, r = 2):
    input  X[n, (i j)]
    param  A[r, i], B[j, r], C[r, k], D[l, r] ~ normal(std = 0.5)
    output Y[n, (k l)] = X[n, (i j)] * A[r, i] * B[j, r] * C[r, k] * D[l, r]
""",
    "TT": """
layer TT(i = 5, j = 3, k = 4, l = 7, r = 2):
    input  X[n, (i j)]
    param  A[k, r, i], B[j, r, l] ~ normal(std = 0.5)
    output Y[n, (k l)] = X[n, (i j)] * A[k, r, i] * B[j, r, l]
""",
}
SHAPES = {
    "Spectral": (2, 6, 4, 3),
    "Waves": (2, 6, 7),
    "Heads": (4, 6),
    "CP": (3, 15),
    "TT": (3, 15),
}


def made(name: str, folder: Path, text: str | None = None) -> nn.Module:
    path = folder / f"{name}.tl"
    path.write_text(LAYERS[name] if text is None else text)
    torch.manual_seed(0)
    layer: nn.Module = getattr(tl.load(str(path)), name)(dtype=torch.float64)
    return layer


def given(name: str, batch: int | None = None) -> Tensor:
    shape = SHAPES[name] if batch is None else (batch, *SHAPES[name][1:])
    dtype = torch.complex128 if name == "Waves" else torch.float64
    return torch.randn(shape, dtype=dtype)


def values(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    out = layer(x)
    return out if isinstance(out, tuple) else (out,)


def turned(layer: nn.Module) -> list[str]:
    """Names of params that lie otherwise than declared."""
    return [name for name, param in layer.named_parameters() if not param.is_contiguous()]


def contiguous(layer: nn.Module) -> nn.Module:
    """A copy whose params lie as declared."""
    other = copy.deepcopy(layer)
    for param in other.parameters():
        param.data = param.data.contiguous()
    return other


def test_a_spectral_weight_is_stored_by_modes(tmp_path: Path) -> None:
    layer = made("Spectral", tmp_path)
    assert layer.W.shape == (6, 5, 4, 3)
    assert layer.W.permute(2, 3, 0, 1).is_contiguous()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch", [0, 1, 2, 67])
def test_values_and_gradients_do_not_depend_on_layouts(
    name: str, batch: int, tmp_path: Path
) -> None:
    layer, x = made(name, tmp_path), given(name, batch)
    other = contiguous(layer)
    assert not turned(other)
    want = tl.reference(layer)(x)
    want = want if isinstance(want, tuple) else (want,)
    for mine, theirs, true in zip(values(layer, x), values(other, x), want, strict=True):
        torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(mine.detach(), torch.as_tensor(true))
    for one in (layer, other):
        sum(value.abs().square().sum() for value in values(one, x)).backward()
    for mine, theirs in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
        assert mine.grad.stride() == mine.stride()


@pytest.mark.parametrize("name", ["Spectral", "Waves", "Heads"])
def test_some_are_turned(name: str, tmp_path: Path) -> None:
    assert turned(made(name, tmp_path))


def test_initial_values_are_those_of_the_declared_shape(tmp_path: Path) -> None:
    plain = """
layer Plain(i = 6, o = 5, p = 4, q = 3):
    input  X[b]: int
    param  W[i, o, p, q] ~ normal(std = 0.5)
    output Y[b, o, p, q] = W[X[b], o, p, q]
"""
    other = made("Plain", tmp_path, plain)
    assert not turned(other)  # rows are gathered
    torch.testing.assert_close(made("Spectral", tmp_path).W, other.W, rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_saved_is_contiguous(name: str, tmp_path: Path) -> None:
    layer, x = made(name, tmp_path), given(name)
    state = layer.state_dict()
    assert all(value.is_contiguous() for value in state.values())
    assert [v.shape for v in state.values()] == [p.shape for p in layer.parameters()]
    strides = [param.stride() for param in layer.parameters()]
    kept = layer.state_dict(keep_vars=True)
    assert all(kept[key] is param for key, param in layer.named_parameters())
    torch.manual_seed(1)
    other = made(name, tmp_path)
    nn.init.zeros_(next(other.parameters()))
    for given_state in (state, {key: value.mT.contiguous().mT for key, value in state.items()}):
        other.load_state_dict(given_state)
        assert [param.stride() for param in other.parameters()] == strides
        for mine, theirs in zip(values(layer, x), values(other, x), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    other.load_state_dict(state, assign=True)  # as they come: only slower
    for mine, theirs in zip(values(layer, x), values(other, x), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", LAYERS)
def test_layouts_survive_copies_and_casts(name: str, tmp_path: Path) -> None:
    layer, x = made(name, tmp_path), given(name)
    strides = [param.stride() for param in layer.parameters()]
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    others = [
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        copy.deepcopy(layer).float().double(),
        copy.deepcopy(layer).to("meta").to_empty(device="cpu"),
    ]
    others[-1].load_state_dict(layer.state_dict())
    others[-2].load_state_dict(layer.state_dict())
    for other in others:
        assert [param.stride() for param in other.parameters()] == strides
        for mine, theirs in zip(values(layer, x), values(other, x), strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["Spectral", "CP", "Heads"])
@pytest.mark.parametrize("foreach", [False, True])
def test_optimisers_step_alike(name: str, foreach: bool, tmp_path: Path) -> None:
    layer, x = made(name, tmp_path), given(name)
    other = contiguous(layer)
    for one in (layer, other):
        optimiser = torch.optim.AdamW(one.parameters(), lr=0.1, foreach=foreach)
        for _ in range(3):
            optimiser.zero_grad()
            sum(value.square().sum() for value in values(one, x)).backward()
            optimiser.step()
        for param in one.parameters():
            assert optimiser.state[param]["exp_avg"].stride() == param.stride()
    for mine, theirs in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", LAYERS)
def test_traced_and_functional(name: str, tmp_path: Path) -> None:
    layer, x = made(name, tmp_path), given(name)
    want = values(layer, x)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    exported = torch.export.export(layer, (x,)).module()
    called = torch.func.functional_call(layer, layer.state_dict(), (x,))
    for found in (compiled(x), exported(x), called):
        found = found if isinstance(found, tuple) else (found,)
        for mine, theirs in zip(found, want, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_a_flat_buffer_may_take_their_place(tmp_path: Path) -> None:
    """As sharding does it: params become views of one flat tensor."""
    layer, x = made("Spectral", tmp_path), given("Spectral")
    want = layer(x)
    flat = torch.cat([param.detach().flatten() for param in layer.parameters()])
    layer.W = nn.Parameter(flat.view(layer.W.shape))
    torch.testing.assert_close(layer(x), want)


def test_a_convolution_keeps_its_kernel(tmp_path: Path) -> None:
    text = """
layer Kernel(i = 6, o = 5, s = 3):
    input  X[b, i, t]
    param  W[o, i, s] ~ normal(std = 0.5)
    output Y[b, o, t] = X[b, i, t + s else 0] * W[o, i, s]
"""
    path = tmp_path / "Kernel.tl"
    path.write_text(text)
    assert not turned(tl.load(str(path)).Kernel())


def test_most_readers_win(tmp_path: Path) -> None:
    """Two read it as it is declared, one otherwise."""
    text = """
layer Most(a = 4, b = 3, c = 5):
    input  X[n, a], Z[n, c]
    param  W[a, b, c] ~ normal(std = 0.5)
    output Y[n, b, c] = X[n, a] * W[a, b, c]
    output V[n, a, b] = Z[n, c] * W[a, b, c]
    output U[n, a, c] = sum[b](X[n, a] * Z[n, c] * W[a, b, c])
"""
    path = tmp_path / "Most.tl"
    path.write_text(text)
    assert not turned(tl.load(str(path)).Most())


def test_forms_of_a_sub_layer_share_its_params(tmp_path: Path) -> None:
    text = """
layer Inner(d = 6, h = 2, e = 3):
    input  X[..., n, d]
    param  W[h, d, e] ~ normal(std = 0.5)
    output Y[..., n, h, e] = X[..., n, d] * W[h, d, e]

layer Outer(d = 6, h = 2, e = 3):
    input  X[b, x, y, d]
    sub    inner = Inner(d)
    output Y[b, x, y, h, e] = inner[n = x](X)
"""
    path = tmp_path / "Outer.tl"
    path.write_text(text)
    layer = tl.load(str(path)).Outer(dtype=torch.float64)
    x = torch.randn(2, 5, 3, 6, dtype=torch.float64)
    assert turned(layer) == ["inner.W"]
    torch.testing.assert_close(layer(x), torch.as_tensor(tl.reference(layer)(x)))
    torch.testing.assert_close(layer(x), contiguous(layer)(x))
