"""Sections 2, 4 and 12: files, defs, sub-layers, stacks, outputs, scatters, consts, hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tensorlang as tl
from tests.language.street import agree, codes, layer, spec, warm

PAIR = """
layer Pair(d, o = 2):
    input X[..., n, d]
    param W[o, d] ~ normal
    output Y[..., o, n] = X * W
    output S[...] = sum[n, d](X)
    output Z[n, n', ...] = X[..., n, d] * X[..., n', d]
"""


# --- sub-layers ----------------------------------------------------------------------------------
def test_several_outputs_bound_to_several_axes() -> None:
    text = (
        PAIR
        + """
layer L(d = 3):
    input X[b, x, y, d]
    sub f = Pair(d)
    A[o, b, x, y], S[x, b], G[y, y', x, b] = f[n = y](X)
    B[b, x, y, o], T[y, b], H[b, y, x, x'] = f[n = x](X)
    output U[b, x, y, o] = A + B
    output W[x, b] = S[x, b] + T[y, b] * y
    output Q[b] = sum[y', x'](G[y, y', x, b] * H[b, y, x, x'])
"""
    )

    def want(x: Tensor, p: dict[str, Tensor]) -> Any:
        a = torch.einsum("bxyd,od->bxyo", x, p["f.W"])
        g = torch.einsum("bxyd,bxzd->yzxb", x, x)
        h = torch.einsum("bxyd,bwyd->byxw", x, x)
        s, t = x.sum((2, 3)).T, x.sum((1, 3)).T
        return (
            2 * a,
            s + (t * torch.arange(x.shape[2])[:, None]).sum(0),
            torch.einsum("yzxb,byxw->b", g, h),
        )

    for b, x, y in ((2, 4, 5), (1, 1, 1), (0, 2, 3), (2, 1, 3)):
        agree(text, [warm(b, x, y, 3)], want)


def test_the_batch_may_stand_in_the_middle_of_a_tensor() -> None:
    text = """
layer Inner(d):
    input X[n, ..., d]
    param W[d, d'] ~ normal
    output Y[d, ..., n] = X[n, ..., d'] * W
layer Middle(d):
    input X[d, ..., m]
    sub f = Inner(d)
    output Y[m, ..., d] = f[n = m](X) + X
layer L(d = 3):
    input X[x, y, d, z]
    sub f = Middle(d)
    sub g[2] = Middle(d)
    output A[x, y, d, z] = f[m = x](X)
    output B[z, d, y, x] = f[m = z](g[m = y](X))
"""

    def step(x: Tensor, w: Tensor) -> Tensor:  # along the third axis, whatever m is
        return torch.einsum("xyez,de->xydz", x, w) + x

    agree(
        text,
        [warm(2, 4, 3, 5)],
        lambda x, p: (
            step(x, p["f.f.W"]),
            step(step(step(x, p["g.0.f.W"]), p["g.1.f.W"]), p["f.f.W"]).permute(3, 2, 1, 0),
        ),
    )


def test_a_stack_passes_further_inputs_to_every_stage() -> None:
    text = """
layer Stage(d):
    input X[..., n, d], M[n, n'], s
    param W[d, d'] ~ normal
    output Y[..., n, d] = M[n, n'] * X[..., n', d'] * W[d, d'] * s
layer L(d = 3, depth = 2):
    input X[b, t, d], M[t, t'], s
    sub f[depth] = Stage(d)
    output Y[t, b, d] = f[n = t](X, M, s)
"""
    s = torch.tensor(0.7).double()

    def want(x: Tensor, m: Tensor, s: Tensor, *p: dict[str, Tensor]) -> Tensor:
        for w in p[0].values() if p else ():
            x = torch.einsum("ts,bse,de->btd", m, x, w) * s
        return x.transpose(0, 1)

    for depth in (0, 1, 3):
        agree(text, [warm(2, 4, 3), warm(4, 4), s], want, depth=depth)
    assert list(layer(text, depth=2).state_dict()) == ["f.0.W", "f.1.W"]
    assert list(layer(text, depth=0).state_dict()) == []


def test_output_indices_are_renamed_or_keep_their_names() -> None:
    lin = "layer Lin(i, o):\n    input X[..., i]\n    param W[o, i] ~ normal\n    output Y[..., o] = X * W\n"
    text = (
        lin + "layer L(d = 3):\n    input X[n, d]\n    sub f = Lin(d, 4)\n    sub g = Lin(4, 5)\n"
        "    H[n, k] = relu(f[i = d, o = k](X))\n    output Y[n, o] = g[i = k](H)\n"
        "    output Z[o, n] = relu(g[i = k](H)) * 2 + n\n"
    )

    def want(x: Tensor, p: dict[str, Tensor]) -> Any:
        h = torch.relu(x @ p["f.W"].T)
        y = h @ p["g.W"].T
        return y, torch.relu(y).T * 2 + torch.arange(x.shape[0])

    agree(text, [warm(2, 3)], want)


def test_layers_without_params_inputs_or_anything() -> None:
    agree("output Y[n] = n * 2; dim n = 4", [], lambda: torch.arange(4) * 2)
    agree("output Y = 3", [], lambda: torch.tensor(3))
    agree(
        "const C[i, j] = [[1, 2], [3, 4]]; output Y[j, i] = C; output Z[i] = sum[j](C)",
        [],
        lambda: (torch.tensor([[1, 3], [2, 4]]), torch.tensor([3, 7])),
    )
    agree(
        "param W[d] ~ normal; dim d = 3; output Y[] = W * W; output V[d] = W",
        [],
        lambda p: ((p["W"] ** 2).sum(), p["W"] * 1),
    )
    agree(
        "layer K():\n    output Y[n] = n\n    dim n = 3\nlayer L():\n    input X[m]\n    sub k = K()\n"
        "    output Y[m, n] = X[m] * n\n    dim n = 3\n",
        [warm(2)],
        lambda x: x[:, None] * torch.arange(3),
    )
    agree(
        "input X, i: int, c: bool; output Y = X * i + c; output Z[] = exp(X) if c else 0",
        [torch.tensor(2.0).double(), torch.tensor(3), torch.tensor(True)],
        lambda x, i, c: (x * i + 1, x.exp()),
    )


def test_outputs_that_are_inputs_params_or_each_other() -> None:
    x = warm(3, 4)
    got = agree(
        "input X[n, d]; output Y[n, d] = X; output Z[d, n] = X; output V[n, d] = Y; output W[n, d] = X + 0",
        [x],
        lambda x: (x, x.T, x, x),
    )
    text = "input X[n, d], k[n]: int, c[n]: bool; output A[n, d] = X; output B[n] = k; output C[n] = c; output D[n] = not c"
    got = agree(
        text, [x, torch.arange(3), torch.tensor([True, False, True])], lambda x, k, c: (x, k, c, ~c)
    )
    assert [y.dtype for y in got[1:]] == [torch.int64, torch.bool, torch.bool]
    made = layer(
        "param W[d] ~ normal; dim d = 3; frozen param V[d] ~ ones; output Y[d] = W; output Z[d] = V"
    )
    y, z = made()
    assert y.requires_grad and not z.requires_grad
    assert torch.equal(y, made.W)
    agree(
        "input X[n]; Y[n] = X * 2; output Z[n] = Y; output V[n] = Y",
        [warm(3)],
        lambda x: (2 * x, 2 * x),
    )


def test_writing_into_an_output_leaves_module_and_input_alone() -> None:
    for text, given in (
        ("input X[n]; output Y[n] = X", [warm(3)]),
        ("param W[d] ~ normal; dim d = 3; output Y[d] = W", []),
        ("const C[d] = [1.5, 2.5]; output Y[d] = C", []),
        ("output Y[n] = n; output Z[n] = n; dim n = 3", []),
        ("input X[n]; output Y[n] = X * 2; output Z[n] = Y", [warm(3)]),
    ):
        made = layer(text)
        with torch.no_grad():
            first = made(*given)
            first = first if isinstance(first, tuple) else (first,)
            want = [y.clone() for y in first]
            first[0].add_(1)
            again = made(*given)
            again = again if isinstance(again, tuple) else (again,)
        if "C[d]" in text or "n = 3" in text:  # what is the module's own must not change
            for a, b in zip(again, want, strict=True):
                assert torch.equal(a, b), text


def test_outputs_are_read_by_later_equations_and_use_is_not_transitive() -> None:
    agree(
        "input X[n]; output Y[n] = 2 * X; Z[n] = Y + 1; output V[n] = Z * Y",
        [warm(3)],
        lambda x: (2 * x, (2 * x + 1) * 2 * x),
    )
    files = {
        "a.tl": 'use "b.tl": g\ndef f(x) = g(x) + 1\nlayer A():\n    input X[...]\n    output Y[...] = f(X)\n',
        "b.tl": "def g(x) = 2 * x\n",
    }
    text = 'use "a.tl": f, A\nlayer L():\n    input X[n]\n    sub a = A()\n    output Y[n] = f(X) * a(X)\n'
    got = spec(text, files=files).L()(torch.ones(2))
    assert got.tolist() == [9.0, 9.0]
    assert codes(text.replace("f, A", "f, A, g"), files=files) != []
    assert codes(text.replace("f(X) *", "g(X) *"), files=files) != []
    above = 'use "../a.tl": f\nlayer L():\n    output Y = 1\n'
    assert codes(above, files={"../a.tl": "def f(x) = x\n"}) != []


def test_defs_are_hygienic() -> None:
    text = """
def mix[n](x, w = 2) = w * mean[n](x)
def twice(f) = f * 2
layer L():
    input X[n, d]
    Y[n] = mix[d](X, w = 3) + mix[d](X)
    output Z[n, d] = twice(X) + Y
"""
    agree(text, [warm(2, 3)], lambda x: 2 * x + 5 * x.mean(1, keepdim=True))
    agree(
        "def gram[d](x) = sum[d](x * x)\nlayer L():\n    input X[d, e]\n    output Y[e, d] = gram[d](X) * d\n",
        [warm(2, 3)],
        lambda x: (x * x).sum(0)[:, None] * torch.arange(2),
    )
    outer = "def outer(a) = a * X\nlayer L():\n    input X[n]\n    output Y[n] = outer(X)\n"
    assert codes(outer) == ["E0223"]  # a def sees nothing of its callers
    assert codes("def f(x) = f(x)\nlayer L():\n    output Y = f(1)\n") == ["E0221"]


# --- hyperparameters -----------------------------------------------------------------------------
def test_hyperparameters_of_every_type() -> None:
    text = (
        "const O[w] = offsets; input X[n]; output Y[n] = sum[w where O[w] <= n](X[n - O[w] else 0])"
        " * scale + (1 if wide else 0) + |w| * n; output Z[n] = n - d if wide else d * 1"
    )
    hypers = 'd = 3, scale: float = 0.5, wide = true, offsets: list = [1, 2], mode = "a"'

    def want(offsets: list[int], wide: bool, d: int, scale: float) -> Any:
        def value(x: Tensor) -> Any:
            n = len(x)
            sums = torch.stack(
                [sum((x[k - o] for o in offsets if o <= k), x[0] * 0) for k in range(n)]
            )
            y = sums * scale + wide + len(offsets) * torch.arange(n)
            return y, torch.arange(n) - d if wide else torch.full((n,), d)

        return value

    agree(text, [warm(5)], want([1, 2], True, 3, 0.5), hypers=hypers)
    agree(
        text,
        [warm(5)],
        want([0, 4, 9], True, 7, 2.0),
        hypers=hypers,
        offsets=[0, 4, 9],
        d=7,
        scale=2,
    )
    many = list(range(1, 3000))
    agree(
        text, [warm(5)], want(many, True, 3, 0.5), hypers=hypers, offsets=tuple(many), slopes=False
    )
    made = spec(text, hypers).L
    for wrong in (
        {"d": 0.5},
        {"offsets": 3},
        {"wide": 3},
        {"mode": 1},
        {"scale": "x"},
        {"d": "3"},
        {"d": True},
    ):
        with pytest.raises((tl.SpecError, TypeError)):
            made(**wrong)
    for wrong in ({"d": None}, {"d": object()}, {"d": 1j}, {"nope": 1}):
        with pytest.raises(TypeError):
            made(**wrong)
    assert made(d=np.int64(4))(torch.ones(2))[1].tolist() == [-4, -3]


def test_dims_are_exact_and_positive() -> None:
    assert codes("dim c = d / 3; input X[c]; output Y[c] = X", "d = 8") == ["E0303"]
    assert codes("dim c = d - 8; input X[c]; output Y[c] = X", "d = 8") == ["E0302"]
    assert codes("dim c = d * 0.5; input X[c]; output Y[c] = X", "d = 8") == ["E0301"]
    agree(
        "dim c = d^2 // 3 % 4 + min(d, 2) - max(1, len(l)) + 6 / 2; input X[c]; output Y[c] = X * |c|",
        [warm(8 * 8 // 3 % 4 + 2 - 2 + 3)],
        lambda x: x * len(x),
        hypers="d = 8, l = [1, 2]",
    )
    with pytest.raises((tl.SpecError, TypeError)):
        layer("input X[n, d]; output Y[n] = sum[d](X)", "d", d=0)
    with pytest.raises((tl.SpecError, TypeError)):
        layer("input X[n, d]; output Y[n] = sum[d](X)", "d", d=-2)
    with pytest.raises(TypeError):
        layer("input X[n, d]; output Y[n] = sum[d](X)", "d")


# --- scatter -------------------------------------------------------------------------------------
@pytest.mark.parametrize("e, n", [(6, 4), (1, 1), (0, 3), (0, 0)])
def test_scatter(e: int, n: int) -> None:
    dst = (
        torch.randint(n, (e,), generator=torch.Generator().manual_seed(0))
        if n
        else torch.zeros(0).long()
    )
    x, m = warm(n, 3), warm(e, 3, seed=1)
    inputs = [x, m, dst]

    def added(x: Tensor, m: Tensor, dst: Tensor) -> Tensor:
        return torch.zeros_like(x).index_add(0, dst, m)

    def extreme(kind: str) -> Any:
        def value(x: Tensor, m: Tensor, dst: Tensor) -> Tensor:
            return torch.zeros_like(x).scatter_reduce(
                0, dst[:, None].expand(-1, 3), m, kind, include_self=False
            )

        return value

    head = "input X[n, u], M[e, u], dst[e]: int;"
    agree(
        head + "T[n = dst[e], u] += M; output Y[n, u] = X + T",
        inputs,
        lambda x, m, d: x + added(x, m, d),
    )
    agree(
        head + "output T[n = dst[e], u] += M[e, u]; output Y[u, n] = T * X",
        inputs,
        lambda x, m, d: (added(x, m, d), (added(x, m, d) * x).T),
    )
    agree(head + "output T[n = dst[e], u] max= M", inputs, extreme("amax"))
    agree(head + "output T[n = dst[e], u] min= M", inputs, extreme("amin"))
    agree(
        head + "output T[n = dst[e]] += M[e, u] * X[dst[e], u]",
        inputs,
        lambda x, m, d: torch.zeros(n).double().index_add(0, d, (m * x[d]).sum(1)),
    )
    agree(head + "output T[u, n = dst[e]] += 2 * M", inputs, lambda x, m, d: 2 * added(x, m, d).T)
    agree(
        head + "output T[n = dst[e], u] += M; T[n = dst[e], u] += X[dst[e], u]",
        inputs,
        lambda x, m, d: added(x, m + x[d], d),
    )
    agree(
        head + "output T[n = dst[e]] += 1",
        inputs,
        lambda x, m, d: torch.bincount(d, minlength=n),
        slopes=False,
    )
    if n:
        agree(
            head + "output T[n = clamp(dst[e] - 1), u] += M",
            inputs,
            lambda x, m, d: added(x, m, (d - 1).clamp(0, n - 1)),
        )
    agree(
        head + "output T[n = dst[e] - 1 else drop, u] += M",
        inputs,
        lambda x, m, d: added(x, m[d > 0], d[d > 0] - 1),
    )
    agree(
        head + "output T[n = n' + 1 else drop, u] += X[n', u]",
        inputs,
        lambda x, m, d: torch.cat([x[:1] * 0, x])[:n],
    )
    agree(
        head + "output T[n = dst[e], n' = dst[e']] += M[e, u] * M[e', u]",
        inputs,
        lambda x, m, d: (
            torch.zeros(n, n)
            .double()
            .index_put((d[:, None].expand(e, e), d.expand(e, e)), m @ m.T, accumulate=True)
        ),
    )


def test_scatter_of_fixed_and_affine_targets() -> None:
    agree(
        "dim n = 5, k = 2; input X[k]; output T[n = 2 * k + 1] += X",
        [warm(2)],
        lambda x: torch.stack([x[0] * 0, x[0], x[0] * 0, x[1], x[0] * 0]),
    )
    agree(
        "dim k = 3; input X[b, x]; dim y = x + k - 1; param W[k] ~ normal; output T[b, y = x + k] += X * W",
        [warm(2, 4)],
        lambda x, p: torch.nn.functional.conv_transpose1d(x[:, None], p["W"][None, None])[:, 0],
    )
    scatter = "input M[e], dst[e]: int, X[n]; output T[n = dst[e]] += M; output Y[n] = X"
    with pytest.raises(IndexError, match=r"(?s)T.*n|n.*T"):
        layer(scatter)(warm(2), torch.tensor([0, 3]), warm(3))
    with pytest.raises(IndexError):
        layer(scatter)(warm(2), torch.tensor([0, -1]), warm(3))


# --- consts --------------------------------------------------------------------------------------
def test_consts() -> None:
    agree(
        "const C[i, j] = [[1, 2, 3], [4, 5, 6.5]]; dim i = 2; input X[i]; output Y[j] = X * C",
        [warm(2)],
        lambda x: x @ torch.tensor([[1, 2, 3], [4, 5, 6.5]]).double(),
    )
    agree(
        "dim x = 3; const E[x, x', x''] = levi_civita(x, x', x''); input A[n, x], B[n, x];"
        "output Y[n, x] = E[x, x', x''] * A[n, x'] * B[n, x'']",
        [warm(4, 3), warm(4, 3, seed=1)],
        lambda a, b: torch.linalg.cross(a, b),
    )
    agree(
        "dim x = 3; const E[x, x'] = eye(x, x'); input A[n, x, x']; output Y[n] = A * E",
        [warm(4, 3, 3)],
        lambda a: a.diagonal(dim1=1, dim2=2).sum(1),
    )
    agree(
        "dim d = 4, k = 3; const T[d, k] = cos(pi * d * k / 4); const U[k, d] = T * 2 + (1 if d > k else 0);"
        "input X[n, d]; output Y[n, k] = X * U",
        [warm(2, 4)],
        lambda x: (
            x
            @ (
                2 * torch.cos(torch.pi * torch.arange(4).double()[:, None] * torch.arange(3) / 4)
                + (torch.arange(4)[:, None] > torch.arange(3))
            )
        ),
    )
    agree(
        "const P[k] = [3, 0, 1]; dim n = 4; input X[n]; output Y[k] = X[P[k]]",
        [warm(4)],
        lambda x: x[[3, 0, 1]],
    )
    agree("const C[d] = 1; dim d = 3; input X[d]; output Y[] = X * C", [warm(3)], lambda x: x.sum())
    assert codes("const P[k] = [3, 0, 4]; dim n = 4; input X[n]; output Y[k] = X[P[k]]") == [
        "E0501"
    ]
    assert codes("const C[i, j] = [[1, 2], [3]]; output Y[i, j] = C") == ["E0311"]
    agree(
        "const C[i] = l; input X[n]; output Y[i] = C; output Z[n] = X + sum[i](C)",
        [warm(2)],
        lambda x: (torch.zeros(0).long(), x + 0),
        hypers="l: list = [1]",
        l=[],
    )


# --- params --------------------------------------------------------------------------------------
def test_frozen_given_and_complex_params() -> None:
    made = layer(
        "input X[n]; frozen param s ~ constant(0.5); param t ~ ones; output Y[n] = X * s * t"
    )
    assert (made.s.requires_grad, made.t.requires_grad) == (False, True)
    assert float(made.s) == 0.5
    text = "input X[n, d]; param W[o, d] ~ given; dim o = 2, d = 3; output Y[n, o] = X * W"
    values = torch.arange(6.0).view(2, 3)
    made = spec(text).L(W=values, dtype=torch.float64)
    assert torch.equal(made(torch.ones(1, 3).double())[0], values.sum(1).double())
    other = spec(text).L()
    other.load_state_dict({"W": values})
    assert torch.equal(other(torch.ones(1, 3))[0], values.sum(1))
    with pytest.raises(ValueError, match="param W is ~ given and has no values yet"):
        spec(text).L()(torch.ones(1, 3))
    with pytest.raises(ValueError, match="W"):
        spec(text).L(W=torch.ones(3, 2))
    agree(
        "input X[n, d]; param R[d, d']: complex ~ normal(std = 2.0); dim d = 3; output Y[n, d'] = X * R;"
        "output Z[n] = real(X[n, d] * R[d, d'] * conj(R[d', d]))",
        [warm(2, 3)],
        lambda x, p: (
            x.to(torch.complex128) @ p["R"],
            torch.einsum("nd,de,ed->n", x.cdouble(), p["R"], p["R"].conj()).real,
        ),
    )
    assert codes("input X[n]; param g[n] ~ ones; output Y[n] = X * g") == ["E0309"]
    assert codes("input X[n]; param g; output Y[n] = X * g") == ["E0720"]


@pytest.mark.parametrize("constructor", ["random_signs", "random_permutation", "random_normal"])
@pytest.mark.parametrize("seed", ["-1", "1.5", "inf", "-inf"])
def test_seeds_of_constants_are_natural_numbers(constructor: str, seed: str) -> None:
    text = f"const C[i] = {constructor}(i, seed = {seed}); dim i = 3; output Y[i] = C * 2"
    assert codes(text) == ["E0314"]


@pytest.mark.parametrize("sizes", [(3, 2), (1, 1), (0, 2)])
def test_values_that_land_on_cells_of_their_own(sizes: tuple[int, int]) -> None:
    x = warm(*sizes)
    for op in ("+=", "max=", "min="):
        agree(f"input X[n, d]; output Y[d, n] {op} X", [x], lambda x: x.T * 1)
        agree(f"input X[n, d]; output Y {op} X * X", [x], lambda x: (x * x).sum())
    agree(
        "input X[n, d]; output Y[n] += X * d; output Y[n] += n; output Z = 1; output S += Z; output S += 2 * X * X",
        [x],
        lambda x: (
            x @ torch.arange(sizes[1]).double() + torch.arange(sizes[0]),
            torch.tensor(1),
            1 + 2 * (x * x).sum(),
        ),
    )
    agree(
        "input X[n, d]; output Y[d, n] max= X; output Y[d, n] max= 1 - X; output S min= X * X; output S min= 1",
        [x],
        lambda x: (torch.maximum(x, 1 - x).T, torch.clamp((x * x).sum(), max=1)),
    )
    if sizes[0]:
        cells = torch.tensor([0, 0, sizes[0] - 1])
        agree(
            "input X[n, d], i[e]: int; T[n = i[e], d] += X[i[e], d]; T[n, d] += X; output Y[n, d] = T",
            [x, cells],
            lambda x, i: x.index_add(0, i, x[i]),
        )


def test_dropout_acts_in_training_only() -> None:
    made = layer("input X[n]; output Y[n] = dropout(X, 0.25)")
    x = torch.ones(4000, dtype=torch.float64)
    made.eval()
    assert torch.equal(made(x), x)
    made.train()
    y = made(x)
    assert set(y.tolist()) == {0.0, 1 / 0.75}
    assert abs(float(y.mean()) - 1) < 0.1
    assert not torch.equal(made(x), made(x))
    two = layer("input X[n]; output Y[n] = dropout(X, 0.5) - dropout(X, 0.5)")
    assert not torch.equal(two(x), torch.zeros_like(x))
    one = layer("input X[n]; D[n] = dropout(X, 0.5); output Y[n] = D - D[n]")
    assert torch.equal(one(x), torch.zeros_like(x))
    assert torch.equal(layer("input X[n]; output Y[n] = dropout(X, 0)")(x), x)


def test_bind_writes_values_as_the_language_does(tmp_path: Path) -> None:
    from tensorlang.requests import BadRequest, binds

    got = binds(["d=2^3", "L.x=-0.5", "l=[1, [2, 3]]", 's="a b"', "b=true", "K.y=1e-3"])
    assert got == {
        "d": 8,
        "L": {"x": -0.5},
        "l": (1, (2, 3)),
        "s": "a b",
        "b": True,
        "K": {"y": 1e-3},
    }
    for wrong in ("d", "d=", "d=x", "=3", "d=1 2", "d=__import__('os')", "d=1):\n    output Y = 1"):
        with pytest.raises(BadRequest):
            binds([wrong])
