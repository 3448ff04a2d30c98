"""Derivatives of transforms in the graph, first and second, forward and reverse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.differentiating import check, gradients
from tests.rewriting import drawn, layer

SQUARES = "dim i = 3\nindex k in i\n"
GRAM = "B[b, i, i'] = A[b, i, k] * A[b, i', k] + (1 if i == i' else 0)\n"
FFTS = {
    "fft": "input X[n]: complex\ndim k = {k}\nF[k] = fft[n -> k](X, norm = {norm})",
    "ifft": "input X[n]: complex\ndim k = {k}\nF[k] = ifft[n -> k](X, norm = {norm})",
    "rfft": "input X[n]\ndim k = {k}\nF[k] = rfft[n -> k](X, norm = {norm})",
    "irfft": "input X[n]: complex\ndim k = {k}\nF[k] = irfft[n -> k](X, norm = {norm})",
}
CASES: dict[str, tuple[str, dict[str, int]]] = {
    "two axes, half": (
        "input X[b, n, m]\ndim k = 4, l = 3\nF[b, k, l] = rfft[n -> k, m -> l](X)\n"
        "output Y[b, l, k] = F * F",
        {"n": 5, "m": 4, "b": 2},
    ),
    "two axes, back": (
        "input X[b, n, m]: complex\ndim k = 4, l = 6\nF[b, k, l] = irfft[n -> k, m -> l](X)\n"
        "output Y[b, k, l] = F * F",
        {"n": 5, "m": 4, "b": 2},
    ),
    "fft of reals": (
        "input X[b, n]\ndim k = 4\noutput Y[b, k] = abs(fft[n -> k](X))",
        {"n": 5, "b": 2},
    ),
    "concat": (
        "input A[i], B[n, j]\ndim f = 7, i = 3, j = 4\nC[n, f] = concat[i, j -> f](A, B * B)\n"
        "output Y[n, f] = C * C * C",
        {"n": 5},
    ),
    "inv": (
        "input A[b, i, i']\ndim i = 3\nB[b, i, i'] = A + 4 * (1 if i == i' else 0)\n"
        "output Y[b, i, i'] = inv[i, i'](B)",
        {"b": 2},
    ),
    "inv, complex, turned": (
        "input A[i, b, i']: complex\ndim i = 3\noutput Y[i', i, b] = inv[i', i](A[i', b, i])",
        {"b": 2},
    ),
    "solve": (
        "input A[b, i, i'], v[i, j]\ndim i = 3\nB[b, i, i'] = A + 4 * (1 if i == i' else 0)\n"
        "output Y[b, j, i'] = solve[i, i'](B, v)",
        {"b": 2, "j": 2},
    ),
    "solve, complex": (
        "input A[b, i, i']: complex, v[b, i]: complex\ndim i = 3\n"
        "output Y[b, i'] = solve[i, i'](A, v)",
        {"b": 2},
    ),
    "cholesky": (
        f"input A[b, i, i']\n{SQUARES}{GRAM}output Y[b, i, i'] = cholesky[i, i'](B)",
        {"b": 2},
    ),
    "cholesky, complex": (
        f"input A[b, i, i']: complex\n{SQUARES}"
        "B[b, i, i'] = A[b, i, k] * conj(A[b, i', k]) + (1 if i == i' else 0)\n"
        "output Y[b, i, i'] = cholesky[i, i'](B)",
        {"b": 2},
    ),
    "expm": ("input A[b, i, i']\ndim i = 3\noutput Y[b, i, i'] = expm[i, i'](A)", {"b": 2}),
    "expm, complex": (
        "input A[i, i']: complex\ndim i = 2\noutput Y[i, i'] = expm[i, i'](A)",
        {},
    ),
    "sqrtm": (
        f"input A[b, i, i']\n{SQUARES}{GRAM}output Y[b, i, i'] = sqrtm[i, i'](B)",
        {"b": 2},
    ),
    "logm": (
        f"input A[b, i, i']\n{SQUARES}{GRAM}output Y[b, i, i'] = logm[i, i'](B)",
        {"b": 2},
    ),
    "eigvals": (
        "input A[i, b, i']\ndim i = 3, k = 3\nE[k, b] = eigvals[i, i' -> k](A)\n"
        "output Y[b, k] = E * E",
        {"b": 2},
    ),
    "eigvals, complex": (
        "input A[b, i, i']: complex\ndim i = 3, k = 3\noutput Y[b, k] = eigvals[i, i' -> k](A)",
        {"b": 2},
    ),
    "eigvecs": (
        "input A[b, i, i']\ndim i = 3, k = 3\noutput Y[b, i, k] = eigvecs[i, i' -> k](A)",
        {"b": 2},
    ),
    "eigvecs, complex": (
        "input A[b, i, i']: complex\ndim i = 3, k = 3\noutput Y[k, b, i] = eigvecs[i, i' -> k](A)",
        {"b": 2},
    ),
    "spherical harmonics": (
        "input R[b, n, x]\ndim x = 3, j = irreps(3)\n"
        "output Y[b, n, j] = spherical_harmonics[x -> j](R)",
        {"b": 2, "n": 5},
    ),
    "spherical harmonics, turned": (
        "input R[x, n]\ndim x = 3, j = irreps(2)\noutput Y[j, n] = spherical_harmonics[x -> j](R)",
        {"n": 1},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_their_gradients(name: str) -> None:
    text, sizes = CASES[name]
    graph = layer(text)
    check(graph, drawn(graph.program, sizes))


@pytest.mark.parametrize("norm", ["backward", "forward", "ortho"])
@pytest.mark.parametrize("name", FFTS)
def test_modes_cut_off_and_filled_in(name: str, norm: str) -> None:
    for k in (3, 4, 8):
        for n in (1, 4, 5):
            text = FFTS[name].format(k=k, norm=f'"{norm}"') + "\noutput Y[k] = F * F"
            graph = layer(text)
            check(graph, drawn(graph.program, {"n": n}))


def test_the_zero_vector_has_no_slope() -> None:
    graph = layer(CASES["spherical harmonics"][0])
    (vectors,), params = drawn(graph.program, {"b": 1, "n": 2})
    vectors[0, 0] = 0
    grads: Any = gradients(graph, ([vectors], params))
    assert (grads[0][0, 0] == 0).all() and (grads[0][0, 1] != 0).all()
