"""compiler.md 9 and 10: calls from Python, their errors, modules as citizens; hostile combinations."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tensorlang as tl
from tests.example_cases import EXAMPLES
from tests.language.street import agree, codes, layer, source, spec, warm


# --- calls ---------------------------------------------------------------------------------------
def test_inputs_go_by_position_or_name() -> None:
    made = layer("input X[n], Z[m], s; output Y[n, m] = X * Z + s")
    x, z, s = warm(2), warm(3), warm()
    want = made(x, z, s)
    for got in (made(X=x, Z=z, s=s), made(x, s=s, Z=z), made(x, z, s=s)):
        assert torch.equal(got, want)
    assert (tl.reference(made)(x, s=s, Z=z) == tl.reference(made)(x, z, s)).all()
    for args, named in (((x,), {}), ((x, z, s, s), {}), ((x, z, s), {"s": s}), ((x, z), {"t": s})):
        with pytest.raises(TypeError):
            made(*args, **named)


def test_shapes_that_do_not_fit_name_index_sizes_and_inputs() -> None:
    made = layer(
        "input X[b, n, d], M[b, m], P[n, (h c)]; dim h = 2, d = 3; output Y[b, n] = sum[d](X) + sum[m](M) + sum[h, c](P[n, (h c)])"
    )
    good = (warm(2, 4, 3), warm(2, 5), warm(4, 6))
    made(*good)
    for bad, words in (
        ((warm(2, 4, 7), *good[1:]), ("d", "7", "3", "X")),
        ((good[0], warm(3, 5), good[2]), ("b", "3", "2", "M", "X")),
        ((*good[:2], warm(5, 6)), ("n", "5", "4", "P", "X")),
        ((*good[:2], warm(4, 7)), ("7", "P")),
        ((warm(2, 4), *good[1:]), ("X", "2")),
        ((warm(1, 4, 3), *good[1:]), ("b", "1", "2")),
    ):
        for run in (made, tl.reference(made)):
            with pytest.raises(ValueError) as caught:
                run(*bad)
            assert all(word in str(caught.value) for word in words), (str(caught.value), words)


def test_a_factor_of_a_group_is_found_by_division() -> None:
    made = layer("input A[h], X[(h c)]; output Y[h, c] = A * X[(h c)]; output Z = |c|")
    assert made(warm(3), warm(12))[1] == 4
    for run in (made, tl.reference(made)):
        for sizes in ((3, 10), (0, 12), (0, 0)):
            with pytest.raises(ValueError, match="h"):
                run(warm(sizes[0]), warm(sizes[1]))


def test_dims_computed_from_inputs_are_at_least_1() -> None:
    made = layer("input X[x]; dim k = 3, y = x - k + 1; output Y[y] = X[y + 1]; output Z = |y|")
    assert made(warm(3))[1] == 1
    for n in (2, 0):
        for run in (made, tl.reference(made)):
            with pytest.raises(ValueError, match="y"):
                run(warm(n))


@pytest.mark.parametrize("n", [0, 1])
def test_sizes_0_and_1_everywhere(n: int) -> None:
    for text, shapes in (
        ("input X[b, n, d], Z[b, m, d]; output Y[b, n, d] = softmax[m](X[b, n, d'] * Z[b, m, d']) * Z[b, m, d]",
         [(n, n, n), (n, n, n)]),
        ("input X[b, n, d]; S[b, n, n'] = softmax[n' where n' <= n](X[b, n, d] * X[b, n', d] / sqrt(|d| + 1));"
         "output Y[b, n, d] = S[b, n, n'] * X[b, n', d]", [(n, n, 2)]),
        ("input X[b, n, d]; output Y[b, n, d] = X - mean[d](X) + std[n](X) * norm[b](X)", [(n, n, n)]),
        ("input A[i, j], B[j, k], C[k, l]; output Y[i, l] = A * B * C", [(n, n)] * 3),
        ("input X[x]; output Y[x] = X[x - 1 else 0] + X[x + 1 else 0] + X[wrap(x + 1)] + X[reflect(x - 2)]", [(n,)]),
        ("input X[..., (h c)]; dim h = 2; output Y[..., h, c] = X[..., (h c)]", [(n, 2 * n)]),
        ("input X[b, x]; dim k = 2; output Y[b, k] = abs(rfft[x -> k](X))", [(n, 4)]),
        ("input X[t, m]; output Y[t, m] = sum[t' where t' <= t](X[t', m]); output Z[t] = argmax[m](X)", [(n, n)]),
        ("input X[t, m]; output Y[m] = max[t](X) ; output Z[t] = logsumexp[m](X + 1)", [(n, n)]),
        ("input X[n, d]; output Y[d] = var[n](X) + prod[n](X) + count[n where X > 0]", [(n, n)]),
        ("input X[n, d]; P[n, m, d] = X[n, d] * X[m, d]; index m in n; output Y[n] = sum[m, d](P)", [(n, 3)]),
    ):  # fmt: skip
        agree(text, [warm(*s) for s in shapes], slopes=n == 1 and "std" not in text)


def test_rank_0_inputs_and_outputs() -> None:
    agree(
        "input a, b[], X[n]; output s[] = a * b; output t = sum[n](X) + a; output Y[n] = s * X",
        [warm(), warm(seed=1), warm(3)],
        lambda a, b, x: (a * b, x.sum() + a, a * b * x),
    )
    agree(
        "input a; output y[n] = a ^ n; dim n = 4",
        [warm()],
        lambda a: torch.stack([a**k for k in range(4)]),
    )


# --- hyperparameters -----------------------------------------------------------------------------
TYPED = 'd = 2, e: float = 1.5, b: bool = true, s: str = "x", l: list = [1, 2]'
KINDS = "input X[n, d]; param W[d] ~ normal(std = e); const C[w] = l; output Y[n, d] = X * W if b else -X;"
KINDS += "output Z[w] = 2 * C"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"d": np.int64(8)}, 8), ({"d": np.uint8(8)}, 8), ({"d": np.array(8)}, 8), ({"d": torch.tensor(8)}, 8),
        ({"e": np.float64(0.5)}, 0.5), ({"e": np.float32(0.5)}, 0.5), ({"e": np.int64(2)}, 2.0),
        ({"e": torch.tensor(0.5)}, 0.5), ({"e": Fraction(1, 2)}, 0.5), ({"e": 2}, 2.0),
        ({"b": np.bool_(False)}, False), ({"b": torch.tensor(True)}, True), ({"s": np.str_("y")}, "y"),
        ({"l": np.array([[1, 2], [3, 4]])[1]}, (3, 4)), ({"l": np.array([0.5, 1.0])}, (0.5, 1.0)),
        ({"l": [np.int64(1), np.float64(2)]}, (1, 2.0)), ({"l": range(3)}, (0, 1, 2)),
    ],
)  # fmt: skip
def test_numbers_of_numpy_and_torch_are_hyperparameters(given: dict[str, Any], kept: Any) -> None:
    made = spec(KINDS, TYPED).L(**given)
    (name,) = given
    value = dict(type(made)._program.hypers)[name]
    assert repr(value) == repr(kept)
    made(torch.ones(2, made.W.shape[0]))
    assert type(pickle.loads(pickle.dumps(made))) is type(made)


@pytest.mark.parametrize(
    "given",
    [{"d": None}, {"d": 2**63}, {"e": 1j}, {"e": np.complex64(1)}, {"s": b"y"}, {"l": {1}}, {"l": [None]}],
)  # fmt: skip
def test_other_values_are_a_type_error(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="a hyperparameter"):
        spec(KINDS, TYPED).L(**given)


def test_values_that_python_holds_equal_are_different_layers() -> None:
    loaded = spec(KINDS, TYPED)
    assert loaded.L(l=[1, 2])(torch.ones(1, 2))[1].dtype == torch.int64
    assert loaded.L(l=[1.0, 2.0])(torch.ones(1, 2))[1].dtype == torch.float32
    loaded.L(b=True)
    for wrong in ({"b": 1}, {"b": 1.0}, {"d": True}, {"e": True}):
        with pytest.raises(tl.SpecError, match="E0803"):
            loaded.L(**wrong)
    text = """
layer K(l: list):
    input X[n]
    const C[w] = l
    output Y[w] = C
layer L():
    input X[n]
    sub f = K([1, 2])
    sub g = K([1.0, 2.0])
    output Y[w] = f(X)
    output Z[w] = g(X)
"""
    assert [y.dtype for y in agree(text, [warm(3)])] == [torch.int64, torch.float64]


# --- attention and its masks ---------------------------------------------------------------------
def test_masked_rows_of_attention_are_0_in_value_and_gradient() -> None:
    q, k, v = warm(2, 3, 4), warm(2, 5, 4, seed=1), warm(2, 5, 4, seed=2)
    keep = torch.tensor([[True, False, True, True, False], [False] * 5])
    text = (
        "input Q[b, n, c], K[b, m, c], V[b, m, c], keep[b, m]: bool;"
        "A[b, n, m] = softmax[m where keep](Q * K / sqrt(|c|)); output Y[b, n, c] = A * V"
    )

    def want(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
        a = (q @ k.mT / 2).masked_fill(~keep[:, None], -1e30).softmax(-1) * keep[:, None]
        return a @ v

    agree(text, [q, k, v, keep], want)
    for target in ("torch", "triton"):
        made = spec(text, target=target).L().double()
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        y = made(*leaves, keep)
        assert torch.equal(y[1], torch.zeros(3, 4).double())
        assert all(g[1].eq(0).all() for g in torch.autograd.grad(y.sum(), leaves))
    rows = text.replace("where keep", "where m < n")

    def strict(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
        mask = torch.ones(3, 5).tril(-1).bool()
        return ((q @ k.mT / 2).masked_fill(~mask, -1e30).softmax(-1) * mask) @ v

    agree(rows, [q, k, v, keep], strict)


def test_attention_with_bias_window_and_heads() -> None:
    text = """
layer L(d = 8, heads = 2, w = 3):
    dim h = heads, c = d / heads
    input X[..., n, d], B[h, n, n']
    param Wq[d, h, c], Wk[d, h, c], Wv[d, h, c] ~ normal(std = d^-0.5)
    Q[..., h, n, c] = X * Wq
    K[..., h, n, c] = X * Wk
    V[..., h, n, c] = X * Wv
    A[..., h, n, n'] = softmax[n' where n - w < n' <= n](Q[..., h, n, c] * K[..., h, n', c] / sqrt(|c|) + B)
    output Y[..., n, (h c)] = A[..., h, n, n'] * V[..., h, n', c]
"""

    def want(x: Tensor, b: Tensor, p: dict[str, Tensor]) -> Tensor:
        q, k, v = (torch.einsum("...nd,dhc->...hnc", x, p[w]) for w in ("Wq", "Wk", "Wv"))
        n = torch.arange(x.shape[-2])
        mask = (n[:, None] - 3 < n) & (n <= n[:, None])
        a = (q @ k.mT / 2 + b).masked_fill(~mask, -torch.inf).softmax(-1)
        return (a @ v).movedim(-3, -2).flatten(-2)

    for batch in ((), (2,), (2, 3)):
        agree(text, [warm(*batch, 5, 8), warm(2, 5, 5)], want)


# --- modules -------------------------------------------------------------------------------------
def test_modules_without_reals_have_a_dtype_and_survive(tmp_path: Path) -> None:
    text = source("input i[n]: int; output Y[n] = i / 2; output Z[k] = k / 3; dim k = 2")
    made = spec(text).L(dtype=torch.float16)
    assert made(torch.arange(3))[0].dtype == torch.float16
    assert made.double()(torch.arange(3))[1].dtype == torch.float64
    assert made.state_dict() == {}
    twin = pickle.loads(pickle.dumps(made))
    assert twin(torch.arange(3))[0].dtype == torch.float64
    alone = spec("output Y[n] = n * 1.5; dim n = 3").L(device="meta")
    assert alone().is_meta


def test_a_loaded_class_knows_its_hyperparameters_and_its_children() -> None:
    text = "layer K(d):\n    input X[..., d]\n    param W[d, d'] ~ normal\n    output Y[..., d] = X[..., d'] * W\n"
    text += "layer L(d = 2):\n    input X[n, d]\n    sub f[2] = K(d)\n    sub g = K(d)\n    output Y[n, d] = g(f(X))\n"
    made = layer(text, d=3)
    assert list(made.state_dict()) == ["f.0.W", "f.1.W", "g.W"]
    assert isinstance(made.f, torch.nn.ModuleList)
    torch.testing.assert_close(copy.deepcopy(made)(warm(2, 3)), made(warm(2, 3)))
    torch.testing.assert_close(
        torch.vmap(made)(warm(4, 2, 3)), torch.stack([made(x) for x in warm(4, 2, 3)])
    )
    made.load_state_dict({k: torch.eye(3) for k in made.state_dict()})
    torch.testing.assert_close(made(warm(2, 3)), warm(2, 3))


class Doubled(tl.load(EXAMPLES / "linear.tl").Linear):  # type: ignore[misc]
    """A user's own subclass."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return 2 * super().forward(*inputs)  # type: ignore[no-any-return]


def test_subclasses_of_a_layer_are_copied_and_pickled_as_such() -> None:
    made = Doubled(i=3, o=2)
    x = torch.randn(4, 3)
    plain = tl.load(EXAMPLES / "linear.tl").Linear(i=3, o=2)
    plain.load_state_dict(made.state_dict())
    for twin in (made, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert isinstance(twin, Doubled) and type(twin) is type(made)
        torch.testing.assert_close(twin(x), 2 * plain(x))


def test_requests_that_fit_nothing_are_type_errors() -> None:
    path = EXAMPLES / "axial.tl"
    assert list(tl.compile(path, layers="AxialPair").roots) == ["AxialPair"]
    assert tl.compile(path, ranges={"n": (1, 64)}).options.ranges == (("n", 1, 64),)
    for wrong in (
        lambda: tl.compile(path, ranges={"zz": (1, 64)}), lambda: tl.load(path, ranges={"n": 5}),
        lambda: tl.load(path, ranges={"n": (5, 1)}), lambda: tl.load(path, nope=1),
        lambda: tl.compile(path, layers=["Q"]), lambda: tl.verify(path, layers=["Q"]),
        lambda: tl.reference(torch.nn.Linear(1, 1)), lambda: tl.explain(torch.nn.Linear(1, 1)),
        lambda: tl.load(path).AxialPair(8), lambda: tl.load(path, target="cuda").AxialPair(),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()


def test_the_written_file_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "all.tl"
    path.write_text(
        "layer lambda(d = 2):\n    input X[n, d]\n    param __W[d, d'] ~ normal\n    output Y[n, d'] = X * __W\n"
    )
    made = tl.compile(path)
    out = tmp_path / "out.py"
    made.write(out)
    assert not re.search(r"^ *(import|from) tensorlang", out.read_text(), re.MULTILINE)
    loaded = importlib.util.spec_from_file_location("out", out)
    assert loaded is not None and loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    written = module.LAYERS["lambda"](dtype=torch.float64)
    face = getattr(tl.load(path), "lambda")().double()
    face.load_state_dict(written.state_dict())
    assert torch.equal(face(warm(3, 2)), written(warm(3, 2)))


def test_compile_and_export_of_a_layer_of_many_kinds() -> None:
    text = """
layer K(d):
    input X[..., n, d]
    param W[d, d'] ~ normal(std = 0.3)
    S[..., n, n'] = softmax[n' where n' <= n](X[..., n, d] * X[..., n', d])
    output Y[..., n, d] = S[..., n, n'] * X[..., n', d'] * W[d', d]
layer L(d = 4):
    input X[b, x, y, d], src[e]: int
    const C[w] = [0, 1, 3]
    sub f = K(d)
    H[b, x, y, d] = f[n = y](X) + f[n = x](X)
    M[b, x, y, d] = mean[w where C[w] <= x](H[b, x - C[w] else 0, y, d])
    E[b, e, d] = sum[y](M[b, src[e], y, d])
    T[b, x = src[e], d] += E
    output Y[b, x, d] = T + max[y](H) + std[y](H)
"""
    made = layer(text)
    src = torch.tensor([0, 2, 2])
    agree(text, [warm(2, 3, 5, 4), src], made=made)
    torch._dynamo.reset()
    compiled = torch.compile(made, fullgraph=True, dynamic=True, backend="aot_eager")
    for x in (warm(2, 3, 5, 4), warm(3, 4, 2, 4)):
        torch.testing.assert_close(compiled(x, src), made(x, src))
    auto = torch.export.Dim.AUTO
    exported = torch.export.export(
        made, (warm(2, 3, 5, 4), src), dynamic_shapes=({0: auto, 1: auto, 2: auto}, {0: auto})
    ).module()
    torch.testing.assert_close(exported(warm(3, 4, 2, 4), src), made(warm(3, 4, 2, 4), src))


def test_spec_errors_are_value_errors_with_diagnostics(tmp_path: Path) -> None:
    path = tmp_path / "bad.tl"
    path.write_text("layer L():\n    input X[n]\n    output Y[m] = Q + 1\n    output Z = X\n")
    with pytest.raises(ValueError) as caught:
        tl.load(path).L()
    assert isinstance(caught.value, tl.SpecError)
    found = [d.code for d in caught.value.diagnostics]
    assert len(found) >= 2
    assert str(caught.value).startswith(f"{path}:3:")
    with pytest.raises(FileNotFoundError):
        tl.load(tmp_path / "none.tl")
    for content in (
        b"\xff\xfe\x00",
        b"",
        b"layer",
        b"\x00",
        b"layer L(:\n",
        "layer L():\n    output Y = 1\n".encode("utf-16"),
    ):
        path.write_bytes(content)
        with pytest.raises(tl.SpecError):
            tl.load(path)


def test_layers_of_a_file_that_have_one_name_as_a_callee_elsewhere() -> None:
    files = {
        "k.tl": "layer K(d):\n    input X[..., d]\n    output Y[..., d] = 3 * X\n"
        "layer M(d):\n    input X[..., d]\n    sub k = K(d)\n    output Y[..., d] = k(X)\n"
    }
    text = 'use "k.tl": M\nlayer K(d = 2):\n    input X[n, d]\n    sub m = M(d)\n    output Y[n, d] = m(X) + 1\n'
    made = spec(text, files=files).K()
    assert torch.equal(made(torch.ones(1, 2)), torch.full((1, 2), 4.0))


def test_one_sub_layer_with_different_hyperparameters_and_forms() -> None:
    text = """
layer K(d, k = 1):
    input X[..., d]
    param W[d, d'] ~ normal
    output Y[..., d] = k * X[..., d'] * W
layer L(a = 2, b = 3):
    input X[a, n, b], Z[b, a]
    sub f = K(a)
    sub g = K(b, k = 2)
    sub h = K(d = b)
    output Y[n, a, b] = f[d = a](X) + g[d = b](X)
    output V[a, b] = h[d = b](Z) * f[d = a](Z)
"""

    def want(x: Tensor, z: Tensor, p: dict[str, Tensor]) -> Any:
        f, g, h = p["f.W"], p["g.W"], p["h.W"]
        y = torch.einsum("anb,ca->ncb", x, f) + 2 * torch.einsum("anb,cb->nac", x, g)
        return y, (z.T @ h.T) * torch.einsum("ba,ca->cb", z, f)

    agree(text, [warm(2, 4, 3), warm(3, 2)], want)


def test_a_gather_through_everything() -> None:
    x, i, w = warm(2, 5, 3), torch.tensor([[4, 0, 1], [2, 2, 3]]), warm(2, 3)
    agree(
        "input X[b, n, d], i[b, k]: int, w[b, k]; output Y[b, d] = w[b, k] * exp(X[b, i[b, k], d])",
        [x, i, w],
        lambda x, i, w: torch.stack([w[k] @ x[k][i[k]].exp() for k in range(2)]),
    )
    agree(
        "input X[b, n, d], i[b, k]: int; output Y[b, k, k'] = X[b, i[b, k], d] * X[b, i[b, k'], d]",
        [x, i],
        lambda x, i: torch.stack([x[k][i[k]] @ x[k][i[k]].T for k in range(2)]),
    )
    agree(
        "input X[b, n, d], i[b, k]: int; P[b, n, d] = softmax[n](X); output Y[b, k, d] = P[b, i[b, k], d]",
        [x, i],
        lambda x, i: torch.stack([x.softmax(1)[k][i[k]] for k in range(2)]),
    )
    agree(
        "input X[b, n, d]; A[b, d] = argmax[n](X); output Y[b, d] = X[b, A[b, d], d]",
        [x],
        lambda x: x.amax(1),
    )
    agree(
        "input X[n], p[n]; output Y[n] = X[clamp(floor(p * |n|))]",
        [warm(4), warm(4, seed=2)],
        lambda x, p: x[(p * 4).floor().long().clamp(0, 3)],
    )
    agree(
        "input X[n]; output Y[n] = X[(n * n + 3) % 4 else 0]",
        [warm(4)],
        lambda x: x[(torch.arange(4) ** 2 + 3) % 4],
    )


def test_positions_under_conditions_are_checked_where_they_count() -> None:
    text = "input X[n], i[m]: int, ok[m]: bool; output Y[m] = X[i] if ok else 0; output S = sum[m where ok](X[i])"
    i, ok = torch.tensor([1, 99, 0]), torch.tensor([True, False, True])
    agree(
        text, [warm(3), i, ok], lambda x, i, ok: (torch.stack([x[1], x[0] * 0, x[0]]), x[1] + x[0])
    )


def test_frozen_param_and_stopgrad_have_no_gradient() -> None:
    made = layer(
        "input X[n]; frozen param s ~ ones; param t ~ ones; output Y[n] = stopgrad(X * t) * X * s"
    )
    x = warm(3).requires_grad_()
    (slope,) = torch.autograd.grad(made(x).sum(), x)
    torch.testing.assert_close(slope, x.detach())
    assert made(x).requires_grad


def test_functions_of_torch_func_and_float32() -> None:
    made = layer(
        "input X[n, d]; param W[d, e] ~ normal; dim d = 3, e = 2; output Y[n] = norm[e](X * W) + logsumexp[d](X)"
    )
    x = warm(4, 3)
    jac = torch.func.jacrev(made)(x)
    torch.testing.assert_close(jac, torch.func.jacfwd(made)(x))
    torch.testing.assert_close(
        made.float()(x.float()).double(), made.double()(x), rtol=1e-5, atol=1e-5
    )


def test_what_cannot_be_is_said() -> None:
    for text, code in (
        ("input X[n]; output Y[n] = X; check causal[n]", "E0901"),
        ("input X[n, m]; output Y[n, m] = softmax[m](X) as taylor(degree = 2)", "E0901"),
    ):
        assert code in codes(text), text
