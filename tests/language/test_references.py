"""Sections 3 and 5: dims, indices, groups, subscripts of all kinds, sizes 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import tensorlang as tl
from tests.language.street import agree, codes, layer, warm

IDX = torch.tensor([3, 0, 9, -2, 4])


def reflect(e: int, size: int) -> int:
    while size > 1 and not 0 <= e < size:
        e = -e if e < 0 else 2 * (size - 1) - e
    return e if size > 1 else 0


@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 1, 1), (0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_indices_of_one_dim_and_their_values(sizes: tuple[int, int, int]) -> None:
    b, n, d = sizes
    agree(
        "input X[b, n, d]; index q, k in n; output Y[b, q, k] = X[b, q, d] * X[b, k, d] * (q - k')"
        " * (1 if k' == k else 0)",
        [warm(b, n, d)],
        lambda x: torch.einsum("bqd,bkd->bqk", x, x) * (torch.arange(n)[:, None] - torch.arange(n)),
    )
    agree(
        "input X[b, n, d]; output Y[n, b] = sum[d](X * d) + |d| * n",
        [warm(b, n, d)],
        lambda x: (x @ torch.arange(d, dtype=x.dtype) + d * torch.arange(n)).T,
    )


def test_a_bare_tensor_means_its_declared_indices() -> None:
    agree(
        "input X[n, d]; output Y[d, n] = X; output Z[n, d] = Y + X",
        [warm(3, 4)],
        lambda x: (x.T, 2 * x),
    )
    agree("input X[n, n']; output Y[n, n'] = X + X[n', n]", [warm(3, 3)], lambda x: x + x.T)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_diagonals(n: int) -> None:
    x = warm(n, n)
    agree("input X[n, n']; output Y[n] = X[n, n]", [x], lambda x: x.diagonal())
    agree("input X[n, n']; output Y[] = sum[n](X[n, n])", [x], lambda x: x.trace())
    agree("input X[n, n']; output Y[] = X[n, n'] * X[n', n]", [x], lambda x: (x * x.T).sum())
    agree(
        "input X[i, j, i']; output Y[j] = sum[i](X[i, j, i])",
        [warm(n, 3, n)],
        lambda x: torch.einsum("iji->j", x),
    )
    agree(
        "input X[i, i', i'']; output Y[i] = X[i, i, i]",
        [warm(n, n, n)],
        lambda x: torch.einsum("iii->i", x),
    )
    assert codes("input X[n]; output Y[n, n] = X") == ["E0405"]


@pytest.mark.parametrize("b, n", [((), 3), ((2,), 1), ((2, 1, 3), 4), ((0,), 2)])
def test_groups_split_and_merge_row_major(b: tuple[int, ...], n: int) -> None:
    h, c = 2, 3
    agree(
        "dim h = 2, c = 3; input P[..., n, (h c)]; Q[..., h, n, c] = P[..., n, (h c)];"
        "output Y[..., n, (c h)] = Q[..., h, n, c]; output Z[..., h] = sum[n, c](Q)",
        [warm(*b, n, h * c)],
        lambda p: (
            p.unflatten(-1, (h, c)).transpose(-1, -2).flatten(-2),
            p.unflatten(-1, (h, c)).sum((-1, -3)),
        ),
    )


def test_a_group_with_one_unknown_factor() -> None:
    text = "dim h = 4; input P[n, (h c)]; output Y[n, c] = sum[h](P[n, (h c)]); output S[] = |c|"
    agree(text, [warm(3, 20)], lambda p: (p.view(3, 4, 5).sum(1), torch.tensor(5)))
    agree(text, [warm(3, 4)], lambda p: (p.view(3, 4, 1).sum(1), torch.tensor(1)))
    with pytest.raises(ValueError, match=r"21|4"):
        layer(text)(warm(3, 21))
    agree(
        "dim w = 2; input X[(t w), d]; output Y[t, (w d)] = X[(t w), d]",
        [warm(6, 3)],
        lambda x: x.reshape(3, 6),
    )
    agree(
        "dim a = 2, b = 3, c = 2; input X[(a b c)]; output Y[(c b), a] = X[(a b c)]",
        [warm(12)],
        lambda x: x.view(2, 3, 2).permute(2, 1, 0).reshape(6, 2),
    )


@pytest.mark.parametrize("x, k", [(5, 3), (3, 3), (4, 1)])
def test_affine_reads(x: int, k: int) -> None:
    agree(
        "input X[b, i, x]; param W[o, i, u] ~ normal; dim o = 2, i = 3, u = k, y = x - k + 1;"
        "output Y[b, o, y] = X[b, i, y + u] * W[o, i, u]",
        [warm(2, 3, x)],
        lambda v, p: F.conv1d(v, p["W"]),
        hypers="k",
        k=k,
    )
    agree(
        "input X[b, i, x]; param W[o, i, u] ~ normal; dim o = 2, i = 3, u = k;"
        "output Y[b, o, x] = X[b, i, x + u - 1 else 0] * W[o, i, u]",
        [warm(2, 3, x)],
        lambda v, p: F.conv1d(
            F.pad(v, (1, k - 2 if k > 1 else 0)) if k > 1 else F.pad(v, (1, -1)), p["W"]
        ),
        hypers="k",
        k=k,
    )
    agree("input X[x]; dim y = (x + 1) // 2; output Y[y] = X[2 * y]", [warm(x)], lambda v: v[::2])
    agree(
        "input X[x]; dim y = x // 2; output Y[y] = X[2 * y + 1] - X[2 * y]",
        [warm(x)],
        lambda v: v[1::2] - v[: x // 2 * 2 : 2],
    )
    agree("input X[x]; output Y[x] = X[|x| - 1 - x]", [warm(x)], lambda v: v.flip(0))
    agree(
        "input X[n]; output Y[n] = sum[n' where n' <= n](X[n' - n + |n| - 1])",
        [warm(x)],
        lambda v: torch.stack([v[x - 1 - n :].sum() for n in range(x)]),
    )


BOUNDARIES = [
    ("wrap({})", lambda e, n: e % n),
    ("clamp({})", lambda e, n: min(max(e, 0), n - 1)),
    ("reflect({})", reflect),
]


@pytest.mark.parametrize("form, at", BOUNDARIES, ids=["wrap", "clamp", "reflect"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_boundaries(form: str, at: object, n: int) -> None:
    def read(v: torch.Tensor, places: list[int]) -> torch.Tensor:
        return v[torch.tensor([at(e, n) for e in places], dtype=torch.long)]  # type: ignore[operator]

    agree(
        f"input X[n]; output Y[n] = X[{form.format('3 * n - 5')}]",
        [warm(n)],
        lambda v: read(v, [3 * k - 5 for k in range(n)]),
    )
    agree(
        f"input X[n], i[m]: int; output Y[m] = X[{form.format('i[m] - 1')}] * m",
        [warm(n), IDX],
        lambda v, i: read(v, [int(k) - 1 for k in i]) * torch.arange(5),
    )
    agree(
        f"input X[n, d]; output Y[n, d] = X[{form.format('n + 2')}, d]",
        [warm(n, 2)],
        lambda v: read(v, [k + 2 for k in range(n)]),
    )
    empty = f"input X[n], i[m]: int; output Y[m] = X[{form.format('i[m]')}]"
    with pytest.raises(ValueError):
        layer(empty)(warm(0), IDX)
    agree(empty, [warm(0), IDX[:0]])


@pytest.mark.parametrize("n", [0, 1, 4])
def test_else(n: int) -> None:
    inside = (IDX >= 0) & (n > IDX)
    agree(
        "input X[n], i[m]: int; output Y[m] = X[i[m] else 7]",
        [warm(n), IDX],
        lambda v, i: torch.where(
            inside, v[i.clamp(0, n - 1)] if n else torch.zeros(5).double(), 7.0
        ),
    )
    agree(
        "input X[n]; output Y[n] = X[n - 1 else -1.5]",
        [warm(n)],
        lambda v: torch.cat([torch.full((1,), -1.5).double(), v])[:n],
    )
    agree(
        "input X[n]; output Y[n] = X[n - 4 else 2]",
        [warm(n)],
        lambda v: torch.full((n,), 2.0).double(),
    )
    agree(
        "input X[n, m]; output Y[n, m] = X[n - 1 else 0, m + 1 else 0]",
        [warm(n, 3)],
        lambda v: F.pad(v, (0, 1, 1, 0))[:n, 1:],
    )
    assert codes("input X[n, m]; output Y[n, m] = X[n - 1 else 0, m + 1 else 1]") == ["E0503"]


def test_gathers() -> None:
    x, i = warm(5, 3), torch.tensor([[4, 0], [1, 1]])
    agree(
        "input X[n, d], i[e, f]: int; output Y[e, f, d] = X[i[e, f], d]", [x, i], lambda x, i: x[i]
    )
    agree(
        "input X[n, d], i[e, f]: int; output Y[e, d] = X[i[e, f], d] * f",
        [x, i],
        lambda x, i: x[i[:, 1]],
    )
    agree(
        "input X[n, n'], i[e]: int; output Y[e, e'] = X[i[e], i[e']]",
        [warm(5, 5), i[0]],
        lambda x, i: x[i][:, i],
    )
    agree(
        "input X[n, n'], i[e]: int; output Y[e] = X[i[e], i[e]]",
        [warm(5, 5), i[0]],
        lambda x, i: x[i, i],
    )
    agree(
        "input X[b, n, d], i[b, m]: int; output Y[b, m, d] = X[b, i[b, m], d]",
        [warm(2, 5, 3), i],
        lambda x, i: torch.stack([x[k][i[k]] for k in range(2)]),
    )
    agree(
        "input X[n], i[m]: int, j[n]: int; output Y[m] = X[j[i[m]]]",
        [warm(5), i[0], torch.tensor([4, 3, 2, 1, 0])],
        lambda x, i, j: x[j[i]],
    )
    agree(
        "input X[n], t[m]; output Y[m] = X[floor(t[m])] + X[ceil(t[m])]",
        [warm(5), torch.tensor([0.5, 3.0, 2.2]).double()],
        lambda x, t: x[t.floor().long()] + x[t.ceil().long()],
    )
    gather = "input X[n, d], i[m]: int; output Y[m, d] = X[i[m], d]"
    for bad in (5, -1, 2**40):
        with pytest.raises(IndexError, match=r"(?s)X.*") as error:
            layer(gather)(x, torch.tensor([1, bad, 7]))
        assert str(bad) in str(error.value) and "n" in str(error.value)
        with pytest.raises(IndexError, match=str(bad)):
            tl.reference(layer(gather))(x, np.array([1, bad, 7]))
    assert layer(gather)(x, torch.zeros(0, dtype=torch.long)).shape == (0, 3)


def test_positions_are_int64_or_int32() -> None:
    gather = layer("input X[n], i[m]: int; output Y[m] = X[i[m]]; output Z[m] = i[m] + 1")
    y, z = gather(warm(5), torch.tensor([4, 1], dtype=torch.int32))
    torch.testing.assert_close(y, warm(5)[[4, 1]])
    assert z.tolist() == [5, 2]
    for kind in (torch.int16, torch.uint8, torch.bool, torch.float64):  # torch takes some for masks
        with pytest.raises(TypeError, match="i gives positions on axis n of X"):
            gather(warm(5), torch.tensor([1, 1], dtype=kind))


def test_fixed_positions() -> None:
    agree(
        "dim n = 4; input X[n, d]; output Y[d] = X[0, d] - X[|n| - 1, d] * X[2, d]",
        [warm(4, 3)],
        lambda x: x[0] - x[3] * x[2],
    )
    agree(
        "input X[n]; output Y[] = X[0 else 5] + X[|n| - 1 else 2]",
        [warm(0)],
        lambda x: torch.tensor(7.0).double(),
    )
    agree(
        "input X[n]; output Y[m] = X[0 else 5] + m; dim m = 2",
        [warm(3)],
        lambda x: x[0] + torch.arange(2),
    )
    assert codes("dim n = 3; input X[n]; output Y[] = X[-1]") == ["E0502"]
    assert codes("dim n = 3; input X[n]; output Y[] = X[3]") == ["E0501"]


def test_reads_at_computed_positions_of_expressions() -> None:
    x = warm(4, 5)
    agree(
        "input X[n, x]; output Y[n, x] = at[x = |x| - 1 - x](exp(X) + n)",
        [x],
        lambda x: x.exp().flip(1) + torch.arange(4)[:, None],
    )
    agree(
        "input X[n, x], p[m]: int; output Y[n, m] = at[x = p[m]](X * x)",
        [x, torch.tensor([4, 0])],
        lambda x, p: x[:, p] * p,
    )
    agree(
        "input X[n, x]; output Y[n, x] = at[x = x - 1 else 0](X ^ 2)",
        [x],
        lambda x: F.pad(x**2, (1, 0))[:, :-1],
    )
    agree(
        "input X[n, x]; output Y[n, x] = at[x = wrap(x + 2)](softmax[x](X))",
        [x],
        lambda x: x.softmax(1).roll(-2, 1),
    )
    agree(
        "input X[n, x]; output Y[n] = sum[x](at[x = clamp(x + 2)](cumsum[x](X)))",
        [x],
        lambda x: x.cumsum(1)[:, [2, 3, 4, 4, 4]].sum(1),
    )


@pytest.mark.parametrize("x", [1, 2, 5])
def test_lerp(x: int) -> None:
    t = torch.tensor([-1.0, 0.0, 0.25, 0.99, 3.5, 40.0]).double()

    def want(v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        low = t.floor().long()
        a, b = (v[:, low.add(k).clamp(0, x - 1)] for k in (0, 1))
        return a + (b - a) * (t - t.floor())

    agree(
        "use std: lerp\nlayer L():\n    input X[d, x], t[m]\n    output Y[d, m] = lerp[x](X, t[m])\n",
        [warm(2, x), t],
        want,
    )


@pytest.mark.parametrize("batch", [(), (2,), (2, 3, 1)])
def test_the_batch_of_the_caller(batch: tuple[int, ...]) -> None:
    x, y = warm(*batch, 4, 3), warm(*batch, 3)
    agree(
        "input X[..., n, d], Z[..., d]; output Y[..., n] = X[..., n, d] * Z[..., d]",
        [x, y],
        lambda x, z: torch.einsum("...nd,...d->...n", x, z),
    )
    agree(
        "input X[n, ..., d]; output Y[d, ..., n] = exp(X)",
        [warm(4, *batch, 3)],
        lambda x: x.exp().transpose(0, -1),
    )
    agree(
        "input X[n, ...], Z[..., n]; output Y[...] = X * Z",
        [warm(4, *batch), warm(*batch, 4)],
        lambda x, z: (x.movedim(0, -1) * z).sum(-1),
    )
    agree("input X[...]; output Y[...] = relu(X)", [warm(*batch)], lambda x: x.relu())
    agree(
        "input X[..., n]; output Y[..., n, n'] = softmax[n'](X[..., n] * X[..., n'])",
        [warm(*batch, 4)],
        lambda x: (x[..., None] * x[..., None, :]).softmax(-1),
    )
    with pytest.raises(ValueError):
        layer("input X[..., n], Z[..., n]; output Y[..., n] = X + Z")(warm(2, 3), warm(3, 3))
    with pytest.raises(ValueError):
        layer("input X[..., n], Z[..., n]; output Y[..., n] = X + Z")(warm(1, 3), warm(2, 3))


def test_an_axis_is_read_by_an_index_of_an_equal_size() -> None:
    agree(
        "dim e = d; input X[n, d]; output Y[n, e] = X[n, e]",
        [warm(2, 3)],
        lambda x: x * 1,
        hypers="d = 3",
    )
    assert codes("input X[n], Z[m]; output Y[n] = X[n] + Z[n]") == ["E0308"]


def test_sizes_in_expressions() -> None:
    agree(
        "input X[n, d]; dim h = 2 * n + 1; output Y[h, n] = sum[d](X) / sqrt(|d|) + |h| * h + |n|",
        [warm(3, 4)],
        lambda x: x.sum(1) / 2 + 7 * torch.arange(7)[:, None] + 3,
    )
    agree(
        "input X[n], Z[d]; output Y[n] = X * |d| + sum[d](Z * d)",
        [warm(3), warm(4)],
        lambda x, z: x * 4 + z @ torch.arange(4).double(),
    )
    agree(
        "input X[n, d]; output Y[n] = sum[d](X * d)",
        [warm(2, 3)],
        lambda x: x @ torch.arange(3).double(),
        hypers="d = 3",
    )
    with pytest.raises(ValueError, match="m"):
        layer("input X[n]; dim m = n - 3; output Y[m] = m")(warm(3))
