"""Oracles of examples/conv2d.tl: torch's convolution over a copy that is padded by hand."""

from torch import Tensor
from torch.nn import functional as F

from tests.oracles.linear import Hypers, Params


def valid(P: Params, H: Hypers, X: Tensor) -> Tensor:
    stride, dilation = H.get("stride", 1), H.get("dilation", 1)
    return F.conv2d(X, P["W"], P["bias"], stride=stride, dilation=dilation)


def zero(P: Params, H: Hypers, X: Tensor) -> Tensor:
    margin = H.get("dilation", 1) * (H["k"] // 2)
    return valid(P, H, F.pad(X, [margin] * 4))


def wrap(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return valid(P, H, _taken(X, H, lambda i, n: i % n))


def clamp(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return valid(P, H, _taken(X, H, lambda i, n: min(max(i, 0), n - 1)))


def reflect(P: Params, H: Hypers, X: Tensor) -> Tensor:
    return valid(P, H, _taken(X, H, _fold))


def _fold(i: int, n: int) -> int:
    while not 0 <= i < n:
        i = (-i if i < 0 else 2 * (n - 1) - i) if n > 1 else 0
    return i


def _taken(X: Tensor, H: Hypers, inside) -> Tensor:  # type: ignore[no-untyped-def]
    margin = H.get("dilation", 1) * (H["k"] // 2)
    for axis in (2, 3):
        n = X.shape[axis]
        X = X.index_select(
            axis, X.new_tensor([inside(i, n) for i in range(-margin, n + margin)]).long()
        )
    return X
