"""What is made of factors alone is kept in eval() without grad, and never out of date."""

from __future__ import annotations

import copy
import gc
import pickle
import sys

import pytest
import torch
from torch import nn

import tensorlang as tl
from tests.example_cases import EXAMPLES


def module(name: str = "FLoRAConv2d") -> nn.Module:
    torch.manual_seed(0)
    if name == "TTLinear":
        return tl.load(EXAMPLES / "tensorised.tl").TTLinear(dtype=torch.float64)
    values = {"W": torch.randn(4, 3, 3, 3), "bias": torch.randn(4)}
    made = tl.load(EXAMPLES / "flora.tl").FLoRAConv2d(
        i=3, o=4, ranks=[3, 2, 2, 2], dtype=torch.float64, **values
    )
    nn.init.normal_(made.D.core)
    return made


def counted(made: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the weights of this class are made."""
    calls: list[int] = []
    emitted = next(c for c in type(made).__mro__ if "_weights" in vars(c))
    original = emitted._weights

    def _weights(self):
        calls.append(1)
        return original(self)

    monkeypatch.setattr(emitted, "_weights", _weights)
    return calls


@pytest.mark.parametrize(("name", "shape"), [("FLoRAConv2d", (2, 3, 5, 5)), ("TTLinear", (7, 64))])
def test_weights_are_made_once(name: str, shape, monkeypatch) -> None:
    made = module(name)
    calls = counted(made, monkeypatch)
    x = torch.randn(shape, dtype=torch.float64)
    want = made(x)
    made.eval()
    calls.clear()
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(made(x), want)
    with torch.inference_mode():
        torch.testing.assert_close(made(x), want)
    assert len(calls) == 1
    made(x).sum().backward()  # with grad they are made anew
    assert len(calls) == 2 and any(p.grad is not None for p in made.parameters())
    made.train()
    with torch.no_grad():
        made(x), made(x)
    assert len(calls) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.D.core.mul_(2),
        lambda made: made.D.core.copy_(torch.randn_like(made.D.core)),
        lambda made: setattr(made.D.core, "data", torch.randn_like(made.D.core)),
        lambda made: setattr(made.D, "core", nn.Parameter(torch.randn_like(made.D.core))),
        lambda made: made.W.add_(1),
        lambda made: (made.reset_parameters(), made.W.fill_(1.0), made.bias.fill_(2.0)),
        lambda made: made.load_state_dict(
            {key: torch.randn_like(value) for key, value in made.state_dict().items()}
        ),
        lambda made: made.float().double(),
    ],
)
def test_a_change_is_seen(change) -> None:
    made = module().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        made(x)
        change(made)
        got = made(x)
        want = copy.deepcopy(made).train()(x)
    assert torch.equal(got.nan_to_num(), want.nan_to_num())


def test_a_step_of_an_optimiser_is_seen() -> None:
    made = module().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    optimiser = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        with torch.no_grad():
            assert torch.equal(made(x), copy.deepcopy(made).train()(x))
        optimiser.zero_grad()
        made(x).square().mean().backward()
        optimiser.step()


def test_other_dtypes_and_autocast() -> None:
    made = module("TTLinear").float().eval()
    x = torch.randn(4, 64)
    with torch.no_grad():
        plain = made(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not torch.equal(made(x), plain)
        assert torch.equal(made(x), plain) and made(x).dtype == torch.float32
        assert made.double()(x.double()).dtype == torch.float64


def test_copies_pickles_and_state_dicts_know_nothing_of_it() -> None:
    made = module().eval()
    before, size = set(made.state_dict()), len(pickle.dumps(made))
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        want = made(x)
        assert set(made.state_dict()) == before and len(pickle.dumps(made)) == size
        for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            twin.D.core.zero_()
            assert not torch.equal(twin(x), want)
        assert torch.equal(made(x), want)
    kept = sys.modules[type(made).__module__]._KEPT
    before = len(kept)
    del made, twin
    gc.collect()
    assert len(kept) < before


def test_traced_modules_make_them() -> None:
    made = module().eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        want = made(x)
        compiled = torch.compile(made, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), want)
        made.D.core.mul_(2)
        torch.testing.assert_close(compiled(x), made(x))
        torch.testing.assert_close(torch.export.export(made, (x,)).module()(x), made(x))
        params = {key: value.detach() * 2 for key, value in made.named_parameters()}
        other = torch.func.functional_call(made, params, (x,))
        made.load_state_dict(params)
        torch.testing.assert_close(other, made(x))
        stacked = {key: torch.stack([value, 2 * value]) for key, value in params.items()}
        both = torch.vmap(lambda p: torch.func.functional_call(made, p, (x,)))(stacked)
        torch.testing.assert_close(both[0], made(x))


def test_a_layer_without_factors_has_no_such_method() -> None:
    spec = tl.load(EXAMPLES / "linear.tl")
    assert not hasattr(spec.Linear(i=3, o=2), "_weights")


PLAIN = """
layer Adapter(d = 6, r = 2):
    input  X[n, d]
    param  W[d, d'], A[d, r], B[r, d'] ~ kaiming
    output Y[n, d] = (W[d, d'] + 2 * (A[d, r] * B[r, d'])) * X[n, d']

layer Scaled(d = 6):
    input  X[n, d]
    param  W[d, d'], g[d] ~ kaiming
    output Y[n, d] = W[d, d'] * X[n, d'] + 2 * g[d]
"""


def test_what_params_multiply_to_is_kept_however_they_are_declared(tmp_path, monkeypatch) -> None:
    path = tmp_path / "plain.tl"
    path.write_text(PLAIN)
    made = tl.load(path).Adapter(dtype=torch.float64).eval()
    calls = counted(made, monkeypatch)
    x = torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        first, second = made(x), made(x)
        assert len(calls) == 1
        made.B.mul_(2)
        torch.testing.assert_close(made(x), x @ (made.W + 2 * (made.A @ made.B)).T)
    torch.testing.assert_close(first, second)
    assert len(calls) == 2


def test_a_scaled_bias_is_no_weight_to_keep(tmp_path) -> None:
    path = tmp_path / "plain.tl"
    path.write_text(PLAIN)
    made = tl.load(path).Scaled()
    assert not any("_weights" in vars(c) for c in type(made).__mro__)
