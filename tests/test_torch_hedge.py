"""The hand-written yardsticks of the torch target survive everything torch does to a module."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from benchmarks.peers import axial_sdpa
from tests.golden.axial_by_hand import AxialAttention, AxialPair
from tests.golden.tensor_train_by_hand import TensorTrainLinear

AUTO = torch.export.Dim.AUTO


def _image(*sizes: int) -> Tensor:
    return torch.randn(*sizes, 128, dtype=torch.float64)


def _rows(*sizes: int) -> Tensor:
    return torch.randn(*sizes, 256, dtype=torch.float64)


CASES = [
    pytest.param(AxialPair, _image, (2, 3, 5), (4, 7, 2), id="axial pair"),
    pytest.param(AxialAttention, _image, (2, 3, 5), (3, 4, 7), id="axial attention"),
    pytest.param(TensorTrainLinear, _rows, (2, 3), (40, 5), id="tensor train"),
]
every = pytest.mark.parametrize(("layer", "draw", "small", "large"), CASES)
Draw = Callable[..., Tensor]
Shape = tuple[int, ...]


def _module(layer: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return layer(dtype=torch.float64)


def test_axial_is_what_an_expert_writes() -> None:
    module, X = _module(AxialPair), _image(2, 3, 5)
    P = dict(module.named_parameters())
    rows = {k.removeprefix("rows."): v for k, v in P.items()}
    cols = {k.removeprefix("cols."): v for k, v in P.items()}
    want = axial_sdpa(cols, axial_sdpa(rows, X, 8, 2), 8, 1)
    torch.testing.assert_close(module(X), want, rtol=1e-12, atol=1e-12)


def test_both_regimes_of_the_tensor_train_agree() -> None:
    module = _module(TensorTrainLinear)
    X = _rows(200)
    parts = torch.cat([module(X[:50]), module(X[50:100]), module(X[100:])])
    torch.testing.assert_close(module(X), parts)


@every
def test_it_compiles_with_dynamic_sizes(
    layer: type[nn.Module], draw: Draw, small: Shape, large: Shape
) -> None:
    torch._dynamo.reset()
    module = _module(layer)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    for sizes in (small, large):
        X = draw(*sizes)
        torch.testing.assert_close(compiled(X), module(X))


@every
def test_it_exports_with_dynamic_sizes(
    layer: type[nn.Module], draw: Draw, small: Shape, large: Shape
) -> None:
    module = _module(layer)
    dynamic = (dict.fromkeys(range(len(small)), AUTO),)
    exported = torch.export.export(module, (draw(*small),), dynamic_shapes=dynamic)
    for sizes in (small, large):
        X = draw(*sizes)
        torch.testing.assert_close(exported.module()(X), module(X))


@every
def test_vmap_pickle_deepcopy_functional_call(
    layer: type[nn.Module], draw: Draw, small: Shape, large: Shape
) -> None:
    module, X = _module(layer), draw(3, *small)
    want = torch.stack([module(x) for x in X])
    torch.testing.assert_close(vmap(module)(X), want)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        torch.testing.assert_close(twin(X[0]), want[0])
    state = {name: 2 * value for name, value in module.named_parameters()}
    assert functional_call(module, state, (X[0],)).shape == want[0].shape


@every
def test_autocast_gradients_and_edge_sizes(
    layer: type[nn.Module], draw: Draw, small: Shape, large: Shape
) -> None:
    module = _module(layer).float()
    X = draw(*small).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        Y = module(X)
    assert Y.dtype == torch.bfloat16
    torch.testing.assert_close(Y.float(), module(X), rtol=0.1, atol=0.1)
    Y.float().sum().backward()
    assert X.grad is not None and all(p.grad is not None for p in module.parameters())
    for sizes in ((0, *small[1:]), (1,) * len(small)):
        assert module(draw(*sizes).float()).shape[:-1] == sizes


def test_a_wrong_shape_names_the_index_and_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"d is 128, but X has size 64"):
        _module(AxialPair)(torch.zeros(1, 2, 3, 64, dtype=torch.float64))


def test_a_seed_gives_the_same_values_in_every_dtype_and_meta_draws_nothing() -> None:
    torch.manual_seed(3)
    single = AxialPair(dtype=torch.float32)
    torch.manual_seed(3)
    double = AxialPair(dtype=torch.float64)
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(a, b.float())
    before = torch.get_rng_state()
    AxialPair(device="meta")
    assert torch.equal(before, torch.get_rng_state())
