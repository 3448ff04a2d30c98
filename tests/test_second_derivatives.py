"""Under SDPBackend.MATH layers with attention are differentiated as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import functional, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

import tensorlang as tl
from tests.example_cases import EXAMPLES
from tests.language.street import layer, warm

PAIRS = "softmax[n', n''{}](Q * K[n', c] * L[n'', c]) * V[n', e] * V[n'', e]"
TRIPLES = "input Q[n, c], K[n, c], L[n, c], V[n, e]; output Y[n, e] = "
ATTENTION = {
    "plain": (
        "input Q[b, n, c], K[b, m, c], V[b, m, e]; output Y[b, n, e] = softmax[m](Q * K * 0.7) * V",
        [(2, 4, 3), (2, 5, 3), (2, 5, 3)],
    ),
    "causal": (
        "input Q[b, n, c], K[b, n, c], V[b, n, e];"
        "output Y[b, n, e] = softmax[n' where n' <= n](Q * K[b, n', c]) * V[b, n', e]",
        [(2, 5, 3), (2, 5, 3), (2, 5, 3)],
    ),
    "window": (  # the first query sees nothing
        "input Q[b, n, c], K[b, n, c], V[b, n, e];"
        "output Y[b, n, e] = softmax[n' where n - 2 <= n' < n](Q * K[b, n', c]) * V[b, n', e]",
        [(2, 5, 3), (2, 5, 3), (2, 5, 3)],
    ),
    "bias": (
        "input Q[n, c], K[n, c], V[n, e], B[n, n'];"
        "output Y[n, e] = softmax[n'](Q * K[n', c] + B) * V[n', e]",
        [(4, 3), (4, 3), (4, 3), (4, 4)],
    ),
    "itself": (
        "input X[n, c]; output Y[n, c] = softmax[n'](X[n, c'] * X[n', c']) * X[n', c]",
        [(4, 3)],
    ),
    "third order": (TRIPLES + PAIRS.format(""), [(4, 3), (4, 3), (4, 3), (4, 3)]),
    "third order, masked": (
        TRIPLES + PAIRS.format(" where n' <= n and n'' < n"),
        [(4, 3), (4, 3), (4, 3), (4, 3)],
    ),
    "one cell": (
        "input Q[b, n, c], K[b, m, c], V[b, m, e]; output Y[b, n, e] = softmax[m](Q * K) * V",
        [(1, 1, 1), (1, 1, 1), (1, 1, 1)],
    ),
}


@pytest.fixture
def by_steps() -> Iterator[None]:
    with sdpa_kernel(SDPBackend.MATH):
        yield


every_attention = pytest.mark.parametrize("name", ATTENTION)


def inputs(name: str) -> list[Tensor]:
    return [warm(*sizes, seed=k).requires_grad_() for k, sizes in enumerate(ATTENTION[name][1])]


@every_attention
def test_second_derivatives_with_create_graph(name: str, by_steps: None) -> None:
    made, given = layer(ATTENTION[name][0]), inputs(name)
    assert gradgradcheck(made, given)
    for k in range(len(given)):  # the others are constants
        alone = [x if j == k else x.detach() for j, x in enumerate(given)]
        assert gradgradcheck(made, alone)


@every_attention
def test_transforms_of_functions(name: str, by_steps: None) -> None:
    made, given = layer(ATTENTION[name][0]), inputs(name)
    first, *rest = given

    def energy(x: Tensor) -> Tensor:
        return made(x, *rest).sin().sum()

    slope = torch.autograd.grad(energy(first), first)[0]
    want = functional.hessian(energy, first)
    x = first.detach()
    torch.testing.assert_close(grad(energy)(x), slope)
    torch.testing.assert_close(vmap(grad(energy))(torch.stack([x, x]))[1], slope)
    for ways in (hessian(energy), jacrev(jacrev(energy)), jacfwd(jacfwd(energy))):
        torch.testing.assert_close(ways(x), want)
    torch.testing.assert_close(vmap(hessian(energy))(torch.stack([x, x]))[1], want)


def test_third_derivatives(by_steps: None) -> None:
    made = layer(ATTENTION["causal"][0])
    first, *rest = (x[:1, :3] for x in inputs("causal"))

    def energy(x: Tensor) -> Tensor:
        return made(x, *rest).sin().sum()

    def second(x: Tensor) -> Tensor:
        return functional.hessian(energy, x, create_graph=True)

    want = functional.jacobian(second, first)
    torch.testing.assert_close(jacrev(hessian(energy))(first.detach()), want)
    step = 1e-5 * warm(*first.shape, seed=9)
    moved = (second(first + step) - second(first - step)) / 2
    torch.testing.assert_close(moved, want.flatten(6) @ step.flatten())


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_loss_on_slopes_of_an_axial_layer(batch: tuple[int, ...], by_steps: None) -> None:
    torch.manual_seed(0)
    made = tl.load(EXAMPLES / "axial.tl").AxialAttention(d=4, heads=2).double()
    x = warm(*batch, 3, 4).requires_grad_()
    params = tuple(made.parameters())

    def loss(x: Tensor, *params: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(made(x).square().sum(), x, create_graph=True)
        return slope.square().sum()

    assert torch.autograd.gradcheck(loss, (x, *params))


@pytest.mark.parametrize("name", ["causal", "third order, masked"])
def test_fused_kernels_have_first_derivatives_only(name: str) -> None:
    made, given = layer(ATTENTION[name][0]), inputs(name)
    (slope,) = torch.autograd.grad(made(*given).sum(), given[0], create_graph=True)
    with pytest.raises(RuntimeError, match=r"not implemented|sdpa_kernel\(SDPBackend.MATH\)"):
        slope.sum().backward()
    with sdpa_kernel(SDPBackend.MATH):
        exact = torch.autograd.grad(made(*given).sum(), given[0])[0]
    torch.testing.assert_close(slope, exact)


@pytest.mark.parametrize("name", ["causal", "third order, masked"])
def test_traced_modules_call_the_fused_kernel(name: str) -> None:
    made, given = layer(ATTENTION[name][0]), inputs(name)
    code = torch.export.export(made, tuple(given)).graph_module.code
    assert "attention" in code and "softmax" not in code
