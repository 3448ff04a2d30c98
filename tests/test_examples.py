"""Every example layer: oracle = reference = each target; gradients, tracing, keys; laws of each."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import tensorlang as tl
from tensorlang import reference
from tensorlang.check.check import check_layer
from tensorlang.check.program import Program
from tensorlang.check.spec import load_spec
from tests.example_cases import CASES, EXAMPLES, LARGE, ONES, SMALL, Case, Sizes
from tests.oracles import flora

TARGETS = ("torch", "triton")
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_target = pytest.mark.parametrize("target", TARGETS)


@functools.cache
def _spec(file: str):  # type: ignore[no-untyped-def]
    return load_spec(EXAMPLES / f"{file}.tl")


@functools.cache
def _classes(file: str, target: str):  # type: ignore[no-untyped-def]
    return tl.load(str(EXAMPLES / f"{file}.tl"), target=target)


def _program(case: Case) -> Program:
    bind = {k: tuple(v) if isinstance(v, list) else v for k, v in case.hypers.items()}
    return check_layer(_spec(case.file), case.layer, bind)


def _module(case: Case, target: str) -> torch.nn.Module:
    module = getattr(_classes(case.file, target), case.layer)(**case.hypers).double()
    module.load_state_dict(_params(case))
    return module


def _shapes(program: Program, prefix: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    for param in program.params:
        yield prefix + param.name, tuple(int(axis.size) for axis in param.axes)
    for sub in program.subs:
        stages = [""] if sub.count is None else [f"{stage}." for stage in range(sub.count)]
        for stage in stages:
            yield from _shapes(sub.program, f"{prefix}{sub.name}.{stage}")


def _params(case: Case) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        key: torch.randn(shape, generator=generator, dtype=torch.float64) * 0.5
        for key, shape in _shapes(_program(case))
    }


def _tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def _sizes(case: Case) -> tuple[Sizes, ...]:
    return (SMALL, LARGE, ONES) if case.ones else (SMALL, LARGE)


def _close(got: Tensor | np.ndarray, want: Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(got), want, rtol=1e-10, atol=1e-11)


@every_case
def test_the_reference_says_what_the_oracle_says(case: Case) -> None:
    program, params = _program(case), _params(case)
    arrays = {key: value.numpy() for key, value in params.items()}
    for sizes in _sizes(case):
        inputs = case.draw(sizes)
        got = reference.evaluate(program, [x.numpy() for x in inputs], arrays)
        want = _tuple(case.oracle(params, case.hypers, *inputs))
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            _close(g, w)


@every_target
@every_case
def test_each_target_says_what_the_oracle_says(case: Case, target: str) -> None:
    module = _module(case, target)
    for sizes in _sizes(case):
        inputs = case.draw(sizes)
        got = _tuple(module(*inputs))
        for g, w in zip(got, _tuple(case.oracle(_params(case), case.hypers, *inputs)), strict=True):
            _close(g, w)


@every_target
@every_case
def test_gradients_are_those_of_the_oracle(case: Case, target: str) -> None:
    module = _module(case, target)
    inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(SMALL)]
    leaves = [leaf for leaf in (*inputs, *module.parameters()) if leaf.requires_grad]
    named = dict(module.named_parameters())
    got = _tuple(module(*inputs))
    want = _tuple(case.oracle(named, case.hypers, *inputs))
    weights = [torch.randn(w.shape, dtype=w.dtype) for w in want]
    grads = [
        torch.autograd.grad(
            sum((y * w).sum() for y, w in zip(ys, weights, strict=True)), leaves, allow_unused=True
        )
        for ys in (got, want)
    ]
    for g, w, leaf in zip(*grads, leaves, strict=True):
        zero = torch.zeros_like(leaf)
        torch.testing.assert_close(
            zero if g is None else g, zero if w is None else w, rtol=1e-8, atol=1e-9
        )


@every_case
def test_gradcheck(case: Case) -> None:
    module = _module(case, "torch")
    tiny = dict(SMALL, b=1, n=3, m=2, t=4, x=6, y=5, e=4) if case.file == "conv2d" else TINY
    inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(tiny)]
    names = [name for name, _ in module.named_parameters()]
    values = [value.detach().clone().requires_grad_() for value in module.parameters()]

    def call(*leaves: Tensor) -> tuple[Tensor, ...]:
        arguments = leaves[: len(inputs)]
        state = dict(zip(names, leaves[len(inputs) :], strict=True))
        return _tuple(functional_call(module, state, arguments))

    if any(leaf.requires_grad for leaf in (*inputs, *values)):
        assert torch.autograd.gradcheck(call, (*inputs, *values), fast_mode=True)


TINY: Sizes = {"b": 1, "n": 3, "m": 2, "t": 4, "x": 2, "y": 3, "e": 4, "q": 2, "s": 3, "k": 2}


@every_case
def test_it_compiles_to_one_graph(case: Case) -> None:
    torch._dynamo.reset()
    module = _module(case, "torch")
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for sizes in (SMALL, LARGE):
        inputs = case.draw(sizes)
        for g, w in zip(_tuple(compiled(*inputs)), _tuple(module(*inputs)), strict=True):
            _close(g, w)


@every_case
def test_it_exports_at_two_sizes(case: Case) -> None:
    module = _module(case, "torch")
    auto = torch.export.Dim.AUTO
    dynamic = tuple(
        {k: auto for k, axis in enumerate(given.axes) if isinstance(axis, str)}
        for given in case.inputs
    )
    exported = torch.export.export(module, case.draw(SMALL), dynamic_shapes=dynamic)
    for sizes in (SMALL, LARGE):
        inputs = case.draw(sizes)
        for g, w in zip(_tuple(exported.module()(*inputs)), _tuple(module(*inputs)), strict=True):
            _close(g, w)


@every_target
@every_case
def test_state_dict_keys_are_the_names_of_the_source(case: Case, target: str) -> None:
    module = getattr(_classes(case.file, target), case.layer)(**case.hypers)
    assert sorted(module.state_dict()) == sorted(case.keys)
    twin = copy.deepcopy(module)
    for key, value in module.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[key], value, rtol=0, atol=0, equal_nan=True)


# --- laws of single examples ---------------------------------------------------------------------
def _case(layer: str, **hypers: object) -> Case:
    found = [c for c in CASES if c.layer == layer and hypers.items() <= c.hypers.items()]
    return found[0]


def _touched(case: Case, axis: int, cell: int) -> set[int]:
    """Output positions along `axis` that change when the input's cell does."""
    module = _module(case, "torch")
    (X,) = case.draw({**LARGE, "n": 40, "t": 40})
    moved = X.clone()
    moved.select(axis, cell).add_(1.0)
    change = (module(moved) - module(X)).abs().movedim(axis, 0).flatten(1).amax(1)
    return {int(k) for k in torch.nonzero(change > 0)}


def test_causal_layers_do_not_look_ahead() -> None:
    for layer in ("MultiHeadAttention", "ThirdOrderAttention"):
        assert _touched(_case(layer, causal=True), 1, 20) == set(range(20, 40))
    assert _touched(_case("LinearAttention"), 1, 20) == set(range(20, 40))


def test_a_window_reaches_exactly_its_length() -> None:
    assert _touched(_case("WindowAttention"), 1, 20) == {20, 21, 22}


def test_grassmann_reaches_exactly_its_offsets() -> None:
    case = _case("GrassmannBlock")
    assert _touched(case, 1, 20) == {20, 21, 23}
    mixing = _case("GrassmannMixing")
    assert _touched(mixing, 1, 20) == {20, 21, 22, 24}
    (X,) = mixing.draw(LARGE)
    assert torch.equal(_module(mixing, "torch")(X)[:, 0], torch.zeros_like(X[:, 0]))


def test_axial_attention_is_dense_attention_with_an_equality_mask() -> None:
    case = _case("AxialAttention")
    module, (X,) = _module(case, "torch"), case.draw({**SMALL, "x": 20, "n": 20})
    b, x, n, d = X.shape
    flat = X.reshape(b, x * n, d)
    row = torch.arange(x).repeat_interleave(n)
    keep = row[:, None] == row
    P = _params(case)
    dense = sum(
        torch.softmax(
            ((flat @ P["Wq"][:, h]) @ (flat @ P["Wk"][:, h]).mT / 3**0.5).masked_fill(
                ~keep, -torch.inf
            ),
            -1,
        )
        @ (flat @ P["Wv"][:, h])
        @ P["Wo"][h]
        for h in range(2)
    )
    _close(module(X), dense.reshape(X.shape))


def test_linear_attention_weights_sum_to_one() -> None:
    case = _case("PrefixSum")
    module, (Q, K, V) = _module(case, "torch"), case.draw({**SMALL, "n": 128})
    Q, K = Q.exp(), K.exp()
    total = module(Q, K, torch.ones_like(V))
    _close((module(Q, K, 3 * torch.ones_like(V)) / total), torch.full_like(V, 3.0))


def test_a_query_that_may_attend_nowhere_gets_zero_and_gradient_zero() -> None:
    case = _case("CrossAttention")
    module = _module(case, "torch")
    X, M, keep = case.draw(SMALL)
    keep[0] = False
    M.requires_grad_()
    Y = module(X, M, keep)
    assert torch.equal(Y[0], torch.zeros_like(Y[0]))
    Y.sum().backward()
    assert M.grad is not None and torch.isfinite(M.grad).all()
    assert torch.equal(M.grad[0], torch.zeros_like(M.grad[0]))


def test_a_gathered_index_out_of_range_names_itself() -> None:
    case = _case("Gather")
    X, pick = case.draw(SMALL)
    pick[1, 0] = 99
    with pytest.raises(IndexError, match=r"pick.*99|99.*pick"):
        _module(case, "torch")(X, pick)


@pytest.mark.parametrize("layer", ["FLoRALinear", "FLoRAConv2d", "FLoRADepthwise"])
def test_an_update_starts_as_exactly_nothing(layer: str) -> None:
    """The adapted layer is the base bit for bit; at first only the core has a gradient."""
    case = _case(layer)
    torch.manual_seed(0)
    dense = {key: value for key, value in _params(case).items() if key in ("W", "bias")}
    module = getattr(_classes("flora", "torch"), layer)(**case.hypers, **dense, dtype=torch.float64)
    assert torch.equal(module.D.core, torch.zeros_like(module.D.core))
    factors = [value for key, value in module.named_parameters() if key.startswith("D.")]
    assert all(value.abs().min() > 0 for value in factors[1:])
    bare = copy.deepcopy(module)
    for parameter in bare.D.parameters():
        parameter.data.zero_()
    inputs = case.draw(LARGE)
    got = module(*inputs)
    assert torch.equal(got, bare(*inputs))
    base = case.oracle({**dict(bare.named_parameters())}, case.hypers, *inputs)
    torch.testing.assert_close(got, base, rtol=1e-12, atol=1e-12)
    got.square().sum().backward()
    assert not any(value.grad for key, value in module.named_parameters() if key in dense)
    assert factors[0].grad.abs().max() > 0
    assert all(not value.grad.any() for value in factors[1:])


@pytest.mark.parametrize("layer", ["FLoRALinear", "FLoRAConv2d", "FLoRADepthwise"])
def test_an_update_merges_into_the_weight(layer: str) -> None:
    case = _case(layer)
    params = _params(case)
    axes = {"FLoRALinear": "oi", "FLoRAConv2d": "oiuv", "FLoRADepthwise": "duv"}[layer]
    merged = {key: torch.zeros_like(value) for key, value in params.items()}
    merged |= {"W": params["W"] + flora.update(params, case.hypers, axes), "bias": params["bias"]}
    module = _module(case, "torch")
    inputs = case.draw(LARGE)
    want = module(*inputs)
    module.load_state_dict(merged)
    torch.testing.assert_close(module(*inputs), want, rtol=1e-12, atol=1e-12)


def test_no_parameter_of_a_frozen_weight_is_trained() -> None:
    module = _module(_case("FLoRAConv2d"), "torch")
    trained = [key for key, value in module.named_parameters() if value.requires_grad]
    assert trained == ["D.core", "D.o", "D.i", "D.u", "D.v"]
