"""What an expert writes by hand for each workload, and what the equations say literally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Params = Mapping[str, Tensor]


def axial_sdpa(P: Params, x: Tensor, heads: int, axis: int) -> Tensor:
    """Attention along `axis` of x[b, x, y, d] by permute and scaled_dot_product_attention.

    Batch axes are flattened into one: beyond rank 4 torch leaves its fused CPU kernel.
    """
    d = x.shape[-1]
    along = x.movedim(axis, 2)
    weight = torch.cat([P[name].reshape(d, d) for name in ("Wq", "Wk", "Wv")], 1)
    split = (along @ weight).flatten(0, 1).unflatten(-1, (3, heads, d // heads))
    q, k, v = split.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return (mixed @ P["Wo"].reshape(d, d)).unflatten(0, along.shape[:2]).movedim(2, axis)


def axial_einsum(P: Params, x: Tensor, heads: int, axis: int) -> Tensor:
    """The equations of examples/axial.tl, one einsum each, under eager torch."""
    along = x.movedim(axis, 2)
    q, k, v = (torch.einsum("bxnd,dhc->bxhnc", along, P[name]) for name in ("Wq", "Wk", "Wv"))
    scores = torch.einsum("bxhnc,bxhmc->bxhnm", q, k) / q.shape[-1] ** 0.5
    weights = scores.softmax(-1)
    return torch.einsum("bxhnm,bxhmc,hcd->bxnd", weights, v, P["Wo"]).movedim(2, axis)


def third_order_sdpa(q: Tensor, k1: Tensor, k2: Tensor, v1: Tensor, v2: Tensor) -> Tensor:
    """Trilinear attention of [..., n, c] tensors as SDPA over the n^2 expanded keys and values."""
    keys = (k1[..., :, None, :] * k2[..., None, :, :]).flatten(-3, -2)
    values = (v1[..., :, None, :] * v2[..., None, :, :]).flatten(-3, -2)
    return F.scaled_dot_product_attention(q, keys, values, scale=1.0)


def third_order_einsum(q: Tensor, k1: Tensor, k2: Tensor, v1: Tensor, v2: Tensor) -> Tensor:
    """The same with the n x n x n weights formed."""
    scores = torch.einsum("...ic,...jc,...kc->...ijk", q, k1, k2)
    weights = scores.flatten(-2).softmax(-1).unflatten(-1, scores.shape[-2:])
    return torch.einsum("...ijk,...jc,...kc->...ic", weights, v1, v2)


def grassmann_loop(P: Params, h: Tensor, offsets: Sequence[int], norm: bool = True) -> Tensor:
    """The straightforward mixing: one projection for each offset, sums over valid offsets."""
    z = F.linear(h, P["Wz"], P["bz"])
    i, j = torch.triu_indices(z.shape[-1], z.shape[-1], 1, device=h.device)
    total = torch.zeros_like(h)
    count = h.new_zeros(h.shape[-2], 1)
    for offset in offsets:
        if offset >= h.shape[-2]:
            continue
        here, there = z[..., offset:, :], z[..., :-offset, :]
        p = here[..., i] * there[..., j] - here[..., j] * there[..., i]
        if norm:
            p = p / p.norm(dim=-1, keepdim=True).clamp_min(1e-8)
        g = F.linear(p, P["Wp"], P["bp"])
        total = total + F.pad(g, (0, 0, offset, 0))
        count[offset:] += 1
    return total / count.clamp_min(1)


def toeplitz_gathered(t: Tensor, x: Tensor) -> Tensor:
    """Y[b, i] = sum_j x[b, j] t[i - j + n - 1], the weight read cell by cell."""
    positions = torch.arange(x.shape[-1], device=x.device)
    return F.linear(x, t[positions[:, None] - positions + x.shape[-1] - 1])


def toeplitz_windows(t: Tensor, x: Tensor) -> Tensor:
    """The same, the weight formed of the flipped windows of t."""
    return F.linear(x, t.unfold(0, x.shape[-1], 1).flip(1))


def toeplitz_fft(t: Tensor, x: Tensor) -> Tensor:
    """The same by the convolution theorem, as scipy.linalg.matmul_toeplitz."""
    n = x.shape[-1]
    product = torch.fft.rfft(x, 2 * n) * torch.fft.rfft(t, 2 * n)
    return torch.fft.irfft(product, 2 * n)[..., n - 1 : 2 * n - 1]


def long_convolution(w: Tensor, x: Tensor) -> Tensor:
    """Causal convolution of x[b, t, d] with a filter w[t, d] for each channel, by conv1d."""
    length, channels = w.shape
    filters = w.mT.flip(1)[:, None]
    return F.conv1d(F.pad(x.mT, (length - 1, 0)), filters, groups=channels).mT


def long_convolution_fft(w: Tensor, x: Tensor) -> Tensor:
    """The same by the convolution theorem."""
    n = x.shape[1]
    product = torch.fft.rfft(x, 2 * n, dim=1) * torch.fft.rfft(w, 2 * n, dim=0)
    return torch.fft.irfft(product, 2 * n, dim=1)[:, :n]


def hadamard(n: int) -> Tensor:
    """The matrix of Walsh and Hadamard in Sylvester's order."""
    out = torch.ones(1, 1)
    while len(out) < n:
        out = torch.kron(out, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    return out


def fast_hadamard(x: Tensor) -> Tensor:
    """Its product with the last axis of x: sums and differences of halves, log2 n times."""
    for bit in range(x.shape[-1].bit_length() - 1):
        first, second = x.unflatten(-1, (-1, 2, 1 << bit)).unbind(-2)
        x = torch.stack((first + second, first - second), -2).flatten(-3)
    return x
