"""Sections 7 and 12, Transforms: Fourier, concat, matrix functions, spherical harmonics."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.language.street import agree, codes, warm


def kept(full: Tensor, axis: int, size: int) -> Tensor:
    """The frequencies of fftfreq(size) of a full axis, zeros where it has none."""
    have = torch.fft.fftfreq(full.shape[axis], 1 / full.shape[axis]).round().long().tolist()
    want = torch.fft.fftfreq(size, 1 / size).round().long().tolist()
    parts = []
    for frequency in want:
        found = [k for k, h in enumerate(have) if h == frequency]
        part = full.select(axis, found[0]) if found else full.select(axis, 0) * 0
        parts.append(part)
    return torch.stack(parts, axis)


def half(full: Tensor, axis: int, size: int) -> Tensor:
    """The first `size` modes, zeros beyond."""
    take = full.narrow(axis, 0, min(size, full.shape[axis]))
    if size <= full.shape[axis]:
        return take
    shape = list(full.shape)
    shape[axis] = size - full.shape[axis]
    return torch.cat([take, torch.zeros(shape, dtype=full.dtype)], axis)


@pytest.mark.parametrize("norm", ["backward", "forward", "ortho"])
@pytest.mark.parametrize("x, m", [(8, 5), (8, 3), (7, 4), (5, 3), (6, 1), (1, 1)])
def test_rfft_keeps_the_first_modes_and_irfft_pads(norm: str, x: int, m: int) -> None:
    agree(
        f'input X[b, x]; dim k = m; output Y[b, k] = rfft[x -> k](X, norm = "{norm}")',
        [warm(2, x)],
        lambda v: half(torch.fft.rfft(v, norm=norm), 1, m),
        hypers="m",
        m=m,
    )
    z = torch.complex(warm(2, m), warm(2, m, seed=1))
    agree(
        f'input Z[b, k]: complex, X[x]; dim k = m; output Y[b, x] = irfft[k -> x](Z, norm = "{norm}") + X',
        [z, warm(x)],
        lambda z, v: torch.fft.irfft(half(z, 1, x // 2 + 1), n=x, norm=norm) + v,
        hypers="m",
        m=m,
    )


@pytest.mark.parametrize("x, m", [(8, 8), (8, 5), (8, 4), (7, 3), (5, 5), (3, 6), (1, 1), (4, 7)])
def test_fft_keeps_the_frequencies_of_fftfreq(x: int, m: int) -> None:
    z = torch.complex(warm(2, x), warm(2, x, seed=1))
    agree(
        "input Z[b, x]: complex; dim k = m; output Y[b, k] = fft[x -> k](Z)",
        [z],
        lambda z: kept(torch.fft.fft(z), 1, m),
        hypers="m",
        m=m,
    )
    agree(
        "input X[x, b]; dim k = m; output Y[k, b] = fft[x -> k](X)",
        [warm(x, 2)],
        lambda v: kept(torch.fft.fft(v, dim=0), 0, m),
        hypers="m",
        m=m,
    )
    agree(
        "input Z[b, k]: complex; dim x = m; output Y[b, x] = ifft[k -> x](Z)",
        [z],
        lambda z: torch.fft.ifft(kept(z, 1, m)),
        hypers="m",
        m=m,
    )


@pytest.mark.parametrize("b, x", [(0, 5), (2, 0), (0, 0)])
def test_transforms_of_nothing(b: int, x: int) -> None:
    z = torch.complex(warm(b, x), warm(b, x))
    for op, k in (("rfft", 3), ("fft", 3), ("fft", 7)):
        (y,) = agree(f"input X[b, x]; dim k = {k}; output Y[b, k] = {op}[x -> k](X)", [warm(b, x)])
        assert torch.equal(y, torch.zeros(b, k, dtype=torch.complex128))
    for op in ("irfft", "ifft"):
        agree(f"input Z[b, x]: complex; dim k = 4; output Y[b, k] = {op}[x -> k](Z)", [z])
        agree(
            f"input Z[b, k]: complex, X[x]; dim k = 3; output Y[b, x] = {op}[k -> x](Z) * X",
            [warm(b, 3) + 0j, warm(x)],
        )
    agree(
        "input X[b, x, y]; dim kx = 3, ky = 2; output Y[b, kx, ky] = rfft[x -> kx, y -> ky](X)",
        [warm(b, x, 4)],
    )


def test_several_axes_the_last_is_the_half_axis() -> None:
    agree(
        "input X[b, x, y, d]; dim kx = 3, ky = 2; output Y[b, kx, ky, d] = rfft[x -> kx, y -> ky](X)",
        [warm(2, 5, 6, 3)],
        lambda v: half(kept(torch.fft.fft(torch.fft.rfft(v, dim=2), dim=1), 1, 3), 2, 2),
    )
    agree(
        "input X[b, x, y]; dim kx = 3, ky = 2; output Y[b, kx, ky] = rfft[y -> ky, x -> kx](X)",
        [warm(2, 5, 6)],
        lambda v: half(kept(torch.fft.fft(torch.fft.rfft(v, dim=1), dim=2), 2, 2), 1, 3),
    )
    z = torch.complex(warm(3, 2), warm(3, 2, seed=1))
    agree(
        "input Z[kx, ky]: complex, X[x, y]; dim kx = 3, ky = 2; output Y[x, y] = irfft[kx -> x, ky -> y](Z) * X",
        [z, warm(5, 6)],
        lambda z, v: (
            torch.fft.irfft(torch.fft.ifft(kept(half(z, 1, 4), 0, 5), dim=0), n=6, dim=1) * v
        ),
    )


def test_concat() -> None:
    agree(
        "input A[n, a], B[n, b]; dim f = a + b; output Y[f, n] = concat[a, b -> f](A, B)",
        [warm(3, 2), warm(3, 4)],
        lambda a, b: torch.cat([a, b], 1).T,
    )
    agree(
        "dim d = 2, f = 3 * d; input A[n, d], B[d], c; output Y[n, f] = concat[d, d, d -> f](A, 2 * B, c * d)",
        [warm(3, 2), warm(2), warm()],
        lambda a, b, c: torch.cat([a, (2 * b).expand(3, 2), (c * torch.arange(2)).expand(3, 2)], 1),
    )
    agree(
        "input A[n], B[m]; dim f = n + m; output Y[f] = concat[n, m -> f](A, B)",
        [warm(0), warm(2)],
        lambda a, b: torch.cat([a, b]),
    )
    agree(
        "input i[n]: int, B[m]; dim f = n + m; output Y[f] = concat[n, m -> f](i, B)",
        [torch.arange(3), warm(2)],
        lambda i, b: torch.cat([i.double(), b]),
    )
    assert (
        codes("dim a = 2, b = 3, f = 6; input A[a], B[b]; output Y[f] = concat[a, b -> f](A, B)")
        != []
    )


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("b", [0, 2])
def test_matrix_functions(b: int, n: int) -> None:
    a = warm(b, n, n) * 0.3 + 2 * torch.eye(n, dtype=torch.float64)
    s = a @ a.mT + torch.eye(n, dtype=torch.float64)
    v = warm(b, n, seed=1)
    agree("input A[b, n, n']; output Y[b, n, n'] = inv[n, n'](A)", [a], lambda a: a.inverse())
    agree(
        "input A[b, n, n']; output Y[n', b, n] = inv[n, n'](A)",
        [a],
        lambda a: a.inverse().permute(2, 0, 1),
    )
    agree(
        "input A[b, n, n'], V[b, n]; output Y[b, n'] = solve[n, n'](A, V)",
        [a, v],
        lambda a, v: torch.linalg.solve(a, v),
    )
    agree(
        "input A[b, n, n'], V[b, n, k]; output Y[b, k, n'] = solve[n, n'](A, V)",
        [a, warm(b, n, 2)],
        lambda a, v: torch.linalg.solve(a, v).mT,
    )
    agree(
        "input A[b, n, n']; output Y[b, n, n'] = expm[n, n'](A)",
        [a],
        lambda a: torch.linalg.matrix_exp(a),
    )
    agree(
        "input A[b, n, n']; output Y[b, n, n'] = cholesky[n, n'](A)",
        [s],
        lambda s: torch.linalg.cholesky(s),
    )
    agree(
        "input A[b, n, n']; R[b, n, n'] = sqrtm[n, n'](A); output Y[b, n, n'] = R[b, n, n''] * R[b, n'', n']",
        [s],
        lambda s: s * 1,
        slopes=False,
    )
    agree(
        "input A[b, n, n']; R[b, n, n'] = logm[n, n'](A); output Y[b, n, n'] = expm[n, n'](R)",
        [s],
        lambda s: s * 1,
        slopes=False,
    )
    agree(
        "input A[b, n, n']; dim k = n; output Y[b, k] = eigvals[n, n' -> k](A)",
        [s],
        lambda s: torch.linalg.eigvalsh(s),
        slopes=False,
    )
    agree(
        "input A[b, n, n']; dim k = n; U[b, n, k] = eigvecs[n, n' -> k](A); E[b, k] = eigvals[n, n' -> k](A);"
        "output Y[b, n, n'] = U[b, n, k] * E[b, k] * U[b, n', k]",
        [s],
        lambda s: s * 1,
        slopes=False,
    )


def test_spherical_harmonics() -> None:
    def want(r: Tensor) -> Any:
        u = r / r.norm(dim=1, keepdim=True)
        return torch.cat([torch.ones(len(r), 1).double(), math.sqrt(3) * u], 1)

    agree(
        "dim j = irreps(1), xyz = 3; input R[n, xyz]; output Y[n, j] = spherical_harmonics[xyz -> j](R)",
        [warm(4, 3)],
        want,
    )
    (y,) = agree(
        "dim j = irreps(2), xyz = 3; input R[n, xyz]; output Y[n, j] = spherical_harmonics[xyz -> j](R)",
        [warm(4, 3)],
    )
    torch.testing.assert_close(y[:, 4:].square().sum(1), torch.full((4,), 5.0).double())
    zero = torch.zeros(1, 3).double().requires_grad_()
    (y,) = agree(
        "dim j = irreps(2), xyz = 3; input R[n, xyz]; output Y[n, j] = spherical_harmonics[xyz -> j](R)",
        [zero.detach()],
        slopes=False,
    )
    assert y[0].tolist() == [1.0] + [0.0] * 8


def test_transforms_stand_inside_expressions() -> None:
    agree(
        "input X[x, d], W[k]; dim k = 3; output Y[k, d] = abs(rfft[x -> k](X * 2) * W) + k",
        [warm(5, 2), warm(3)],
        lambda v, w: (
            (half(torch.fft.rfft(2 * v, dim=0), 0, 3) * w[:, None]).abs() + torch.arange(3)[:, None]
        ),
    )
    agree(
        "input X[x], Z[x]; dim k = 3; output Y[k] = rfft[x -> k](sum[u](X[wrap(x + u)]) * Z) ; dim u = 2",
        [warm(5), warm(5, seed=1)],
        lambda v, z: torch.fft.rfft((v + v.roll(-1)) * z)[:3],
    )
    agree(
        "input A[n, n'], B[n, n']; output Y[n, n'] = inv[n, n'](A[n, n''] * B[n'', n'])",
        [warm(3, 3), warm(3, 3, seed=1)],
        lambda a, b: (a @ b).inverse(),
    )
    assert codes("input X[x]; output Y[k] = rfft[x -> k](X)") == ["E0201"]
    assert codes("input Z[x]: complex; dim k = 2; output Y[k] = rfft[x -> k](Z)") == ["E0601"]
    assert codes('input X[x]; dim k = 2; output Y[k] = rfft[x -> k](X, norm = "none")') == ["E0611"]
