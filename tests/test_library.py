"""A sweep over the rows of the library: every row has a text, an example and laws that hold."""

from __future__ import annotations

import functools
import itertools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tensorlang import reference, registry
from tensorlang.check.check import check_layer
from tensorlang.check.spec import spec_of_text
from tensorlang.dtype import Dtype
from tensorlang.library import signature
from tensorlang.library.initialiser import Fan, Law
from tensorlang.library.row import Function
from tensorlang.library.transform import Transform
from tensorlang.reference.arrays import KINDS

FUNCTIONS = registry.functions()
TRANSFORMS = registry.transforms()
every_function = pytest.mark.parametrize("name", FUNCTIONS)
every_transform = pytest.mark.parametrize("name", TRANSFORMS)

REALS = np.array([-30.0, -2.5, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.25, 0.5, 1.0, 1.5, 2.0, 7.0, 30.0])
SAMPLES: dict[Dtype, Any] = {
    Dtype.BOOL: np.array([False, True]),
    Dtype.INT: np.array([-3, -2, -1, 1, 2, 5]),
    Dtype.REAL: REALS,
    Dtype.COMPLEX: np.array([0.3 + 0.4j, -1.2 + 0.5j, 0.7 - 1.1j, -0.2 - 0.6j]),
}


# --- helpers -------------------------------------------------------------------------------------
def arities(row: Function) -> tuple[int, ...]:
    least, most = row.arity
    return (least,) if most == least else (least, least + 1)


def typings(row: Function) -> Iterator[tuple[Dtype, ...]]:
    for arity in arities(row):
        for kinds in itertools.product(Dtype, repeat=arity):
            if isinstance(row.dtype(kinds), Dtype):
                yield kinds


def spelled(row: Function, *args: Any) -> Any:
    """Evaluate the torch spelling; n-ary functions are folded from the left."""
    assert row.torch is not None
    if row.arity[1] is None and len(args) > 2:
        return spelled(row, spelled(row, *args[:-1]), args[-1])
    names = {f"a{k}": arg for k, arg in enumerate(args)}
    places = ["0.25" if (row.name, k) == ("dropout", "a1") else k for k in names]
    text = row.torch.format(
        *places, dtype="torch.float64", complex_dtype="torch.complex128", training="False"
    )
    return eval(text, {"torch": torch, **names})


def grid(samples: list[Any]) -> list[Any]:
    return [np.ascontiguousarray(a).ravel() for a in np.meshgrid(*samples, indexing="ij")]


def evaluate(text: str, inputs: dict[str, Any]) -> Any:
    """Run equations of the language on arrays over the index i (and j)."""
    words = {"f": "real", "i": "int", "b": "bool", "c": "complex"}
    declared = [
        f"{name}[{', '.join(('i', 'j')[: x.ndim])}]: {words[x.dtype.kind]}"
        for name, x in inputs.items()
    ]
    source = f"layer L():\n    input {', '.join(declared)}\n    output {text}\n"
    program = check_layer(spec_of_text(source), "L", {})
    return reference.evaluate(program, list(inputs.values()), {})[0]


# --- functions -----------------------------------------------------------------------------------
@every_function
def test_a_function_has_a_text_and_its_name(name: str) -> None:
    row = FUNCTIONS[name]
    assert row.name == name and row.doc and not row.doc.endswith(".") and row.example
    assert row.arity[0] >= 1 and len(row.derivative) == row.arity[0]
    assert list(typings(row)), "it takes nothing"


@every_function
def test_a_functions_example_runs(name: str) -> None:
    row = FUNCTIONS[name]
    inputs = {
        "X": REALS[2:10],
        "A": np.linspace(0.5, 2, 8),
        "K": np.arange(8),
        "B": np.arange(8) % 3 == 0,
        "Z": np.exp(1j * np.arange(8)),
    }
    used = {k: v for k, v in inputs.items() if re.search(rf"\b{k}\b", row.example)}
    assert np.isfinite(evaluate(row.example, used)).all()


@every_function
def test_numpy_and_torch_agree(name: str) -> None:
    row = FUNCTIONS[name]
    for kinds in typings(row):
        if name in ("floordiv", "mod") and kinds[1] is Dtype.BOOL:
            continue  # torch refuses to divide ints by 0
        args = grid([SAMPLES[kind] for kind in kinds])
        with np.errstate(all="ignore"):
            want = reference.arrays.Numpy().apply(row, args)
        cast = signature.promoted(row, kinds)
        arrays = [reference.arrays.Numpy().cast(a, k) for a, k in zip(args, cast, strict=True)]
        got = spelled(row, *map(torch.as_tensor, arrays)).resolve_conj().numpy()
        assert KINDS[got.dtype.kind] is KINDS[want.dtype.kind] is row.dtype(kinds), kinds
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15, err_msg=str(kinds))


def test_refused_kinds_have_a_sentence() -> None:
    for row in FUNCTIONS.values():
        for arity in arities(row):
            for kinds in itertools.product(Dtype, repeat=arity):
                said = row.dtype(kinds)
                assert isinstance(said, Dtype) or (said and not said.endswith(".")), row.name


INSIDE = np.array([0.15, 0.4, 0.62, 0.85])


def differentiable() -> list[str]:
    return [n for n, row in FUNCTIONS.items() if any(row.derivative) and row.name != "where"]


def leaves(row: Function) -> list[Any]:
    """Points of every domain, also negative where the function is defined there."""
    points = np.concatenate([INSIDE, -INSIDE])
    args = grid([points, points + 0.03][: row.arity[0]])
    with np.errstate(all="ignore"):
        good = np.isfinite(row.numpy(*args))
    return [torch.tensor(a[good], requires_grad=True) for a in args]


@pytest.mark.parametrize("name", differentiable())
def test_gradients_of_the_torch_spelling(name: str) -> None:
    row = FUNCTIONS[name]
    args = leaves(row)
    if name == "pow":
        args[1] = args[1].detach()
    call = functools.partial(spelled, row)
    assert torch.autograd.gradcheck(call, args)
    assert torch.autograd.gradgradcheck(call, args)


@pytest.mark.parametrize("name", differentiable())
def test_derivatives_in_the_language_are_those_of_torch(name: str) -> None:
    row = FUNCTIONS[name]
    args = [x.abs().detach().requires_grad_() for x in leaves(row)]
    value = spelled(row, *args)
    if value.is_complex():
        pytest.skip("its derivative is complex")
    slopes = torch.autograd.grad(value.sum(), args)
    named = dict(zip("xyz", (a.detach().numpy() for a in args), strict=False))
    for text, slope in zip(row.derivative, slopes, strict=True):
        if text is None:
            continue
        used = {"f": value.detach().numpy(), **named}
        used = {k: v for k, v in used.items() if re.search(rf"\b{k}\b", text)}
        shown = text
        if not used:  # an index of the left must be on the right
            shown, used = f"{text} + 0 * x", {"x": named["x"]}
        got = evaluate(f"Y[i] = {shown}", used)
        np.testing.assert_allclose(got, slope.numpy(), rtol=1e-12)


def slopes(call: Callable[[Any], Any], at: list[float], times: int = 1) -> list[float]:
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    y = call(x)
    for _ in range(times):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return [float(value) for value in y.detach()]


@pytest.mark.parametrize("name", ["relu", "abs"])
def test_the_slope_at_a_kink_is_zero(name: str) -> None:
    assert slopes(functools.partial(spelled, FUNCTIONS[name]), [0.0]) == [0.0]


@pytest.mark.parametrize("name", ["max", "min"])
def test_a_tie_shares_its_slope(name: str) -> None:
    zero = torch.zeros((), dtype=torch.float64)
    assert slopes(functools.partial(spelled, FUNCTIONS[name], zero), [0.0]) == [0.5]


def test_a_square_has_every_derivative_at_zero() -> None:
    for times, value in ((1, 0.0), (2, 2.0), (3, 0.0)):
        assert slopes(lambda x: spelled(FUNCTIONS["pow"], x, 2), [0.0], times) == [value]


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "silu", "gelu", "tanh", "erf", "atan"])
def test_saturating_functions_have_finite_derivatives_far_out(name: str) -> None:
    far = [-1e4, -800.0, -100.0, -40.0, 0.0, 39.0, 41.0, 100.0, 800.0, 1e4]
    for times in (0, 1, 2):
        assert all(map(math.isfinite, slopes(lambda x: spelled(FUNCTIONS[name], x), far, times)))


def test_softplus_is_exact() -> None:
    x = np.array([-700.0, -50.0, -1.0, 0.0, 1.0, 19.0, 21.0, 35.0, 39.9, 40.1, 1e3])
    exact = [max(v, 0) + math.log1p(math.exp(-abs(v))) for v in x]
    np.testing.assert_allclose(spelled(FUNCTIONS["softplus"], torch.tensor(x)), exact, rtol=1e-15)


def test_all_functions_compile_in_one_graph() -> None:
    texts = [
        row.torch.format("x", dtype="torch.float64", complex_dtype="torch.complex128")
        for row in FUNCTIONS.values()
        if row.torch and row.arity == (1, 1) and isinstance(row.dtype((Dtype.REAL,)), Dtype)
    ]
    scope: dict[str, Any] = {"torch": torch}
    exec(f"def call(x):\n    return [{', '.join(texts)}]", scope)
    call: Callable[[Any], list[Any]] = scope["call"]
    x = torch.tensor(INSIDE)
    compiled: Any = torch.compile(call, fullgraph=True, backend="aot_eager")
    for got, want in zip(compiled(x), call(x), strict=True):
        torch.testing.assert_close(got, want)


# --- triton --------------------------------------------------------------------------------------
def test_triton_spellings_name_what_triton_has() -> None:
    language = pytest.importorskip("triton.language")
    for row in FUNCTIONS.values():
        for dotted in re.findall(r"\btl\.(\w+)", row.triton or ""):
            assert hasattr(language, dotted), (row.name, dotted)


INTERPRETED = """
import numpy as np, torch, triton, triton.language as tl

@triton.jit
def kernel(X, Y, OUT, n, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    x = tl.load(X + i, mask=i < n, other=1.0)
    y = tl.load(Y + i, mask=i < n, other=1.0)
    z = TEXT
    tl.store(OUT + i, z, mask=i < n)

x, y = (torch.tensor(a) for a in np.load("IN.npy"))
out = torch.zeros_like(x)
kernel[(1,)](x, y, out, len(x), SIZE=triton.next_power_of_2(len(x)))
np.save("OUT.npy", out.numpy())
"""


def _interpretable() -> list[str]:
    skip = ("and", "or", "not", "to_int", "where")
    return [n for n, row in FUNCTIONS.items() if row.triton and n not in skip]


def test_numpy_and_triton_agree(tmp_path: Path) -> None:
    """All spellings in one process of triton's interpreter."""
    pytest.importorskip("triton")
    x, y = grid([REALS, np.array([-1.5, 0.5, 2.0])])
    np.save(tmp_path / "in.npy", [x, y])
    names = _interpretable()
    for name in names:
        text = FUNCTIONS[name].triton
        assert text is not None
        kernel = INTERPRETED.replace("TEXT", text.format("x", "y"))
        kernel = kernel.replace("IN.npy", str(tmp_path / "in.npy"))
        (tmp_path / f"{name}_kernel.py").write_text(
            kernel.replace("OUT.npy", str(tmp_path / f"{name}.npy"))
        )
    loop = f"""
import runpy
for name in {names!r}:
    runpy.run_path({str(tmp_path)!r} + "/" + name + "_kernel.py")
"""
    interpreted = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", loop], check=True, env=interpreted)
    for name in names:
        row = FUNCTIONS[name]
        with np.errstate(all="ignore"):
            want = np.asarray(row.numpy(*(x, y)[: row.arity[0]]), np.float64)
        got = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15, err_msg=name)


# --- initialisers --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", registry.initialisers())
def test_an_initialiser_has_a_text_an_example_and_numbers(name: str) -> None:
    row = registry.initialisers()[name]
    assert row.name == name and row.doc and row.example.startswith("param W")
    required = {key: 0.5 for key, default in row.parameters if default is None}
    numbers = row.bound(required, Fan(12, 4))
    expected = {Law.NORMAL: 2, Law.UNIFORM: 2, Law.GIVEN: 0}.get(row.law, 1)
    assert len(numbers) == expected and all(isinstance(value, float) for value in numbers)
    layer = f"layer L(n = 3):\n    index i in n\n    {row.example}\n    output Y[i] = W[i, i]\n"
    layer = layer if "i'" in row.example else layer.replace("W[i, i]", "W[i]")
    (param,) = check_layer(spec_of_text(layer), "L", {}).params
    assert param.initialiser.name == name


def test_kaiming_is_the_law_of_nn_linear() -> None:
    low, high = registry.initialisers()["kaiming"].bound({}, Fan(64, 16))
    weight = torch.nn.Linear(64, 1000).weight.detach()
    assert low == -high and float(weight.abs().max()) == pytest.approx(high, rel=1e-3)
    low, high = registry.initialisers()["xavier"].bound({}, Fan(64, 1000))
    torch.nn.init.xavier_uniform_(weight)
    assert low == -high and float(weight.abs().max()) == pytest.approx(high, rel=1e-3)


# --- transforms ----------------------------------------------------------------------------------
RNG = np.random.default_rng(0)
GENERAL = RNG.standard_normal((2, 4, 4)) / 4 + 2 * np.eye(4)
FACTOR = RNG.standard_normal((2, 4, 4))
POSITIVE = FACTOR @ FACTOR.swapaxes(1, 2) + np.eye(4)
IMAGES = RNG.standard_normal((3, 5, 6))
VECTORS = RNG.standard_normal((4, 3))


def transformed(row: Transform, *args: Any, sizes: tuple[int, ...], norm: str = "backward") -> Any:
    """Evaluate the torch spelling."""
    names = {f"a{k}": arg for k, arg in enumerate(args)}
    scope: dict[str, Any] = {"torch": torch, **names}
    exec(row.torch_helper, scope)
    joined, size = ", ".join(names) + ",", sizes[0]
    text = row.torch.format(*names, args=joined, sizes=sizes, size=size, norm=repr(norm))
    return eval(text, scope)


def cases(name: str) -> list[tuple[list[Any], tuple[int, ...]]]:
    """Arguments and target sizes."""
    complex_images = IMAGES + 1j * IMAGES[::-1]
    match name:
        case "fft" | "ifft" | "irfft":
            sizes = [(6,), (4,), (9,), (1,), (5, 6), (3, 4), (8, 7)]
            return [([complex_images], s) for s in sizes] + [([complex_images[..., :1]], (2,))]
        case "rfft":
            sizes = [(4,), (2,), (6,), (5, 4), (3, 2), (6, 5)]
            return [([IMAGES], s) for s in sizes] + [([IMAGES[..., :5]], (3,))]
        case "concat":
            return [([IMAGES, IMAGES[..., :1], IMAGES[..., :0]], (7,))]
        case "spherical_harmonics":
            return [([VECTORS], (k * k,)) for k in (4, 1, 2, 3, 7)] + [([VECTORS[:0]], (9,))]
        case "solve":
            return [([GENERAL, GENERAL[..., 0]], (4,)), ([GENERAL[:0], GENERAL[:0, 0]], (4,))]
        case "cholesky" | "eigvals" | "eigvecs":
            hermitian = POSITIVE + 0.5j * (FACTOR - FACTOR.swapaxes(1, 2))
            return [([a], (4, 4)) for a in (POSITIVE, POSITIVE[:, :1, :1], hermitian)]
        case _:
            return [([a], (4, 4)) for a in (GENERAL, GENERAL[:, :1, :1], GENERAL + 0.3j * POSITIVE)]


@every_transform
def test_a_transform_has_a_text_and_its_example_runs(name: str) -> None:
    row = TRANSFORMS[name]
    assert row.name == name and row.doc and not row.doc.endswith(".")
    text = row.example
    inputs = {"X": GENERAL[0, 0], "A": GENERAL[0, 1, :3], "M": POSITIVE[0]}
    used = [k for k in inputs if re.search(rf"\b{k}\b", text)]
    declared = {"X": "X[i]", "A": "A[j]", "M": "M[i, i']"}
    dim = "dim k = i + j" if name == "concat" else "index k in i"
    if name == "spherical_harmonics":
        inputs, dim = {"X": np.array([1.0, 2.0, 3.0])}, "dim i = 3, k = irreps(2)"
    lines = [f"input {', '.join(declared[k] for k in used)}", dim]
    lines += [line if "Y" not in line else f"output {line}" for line in text.split("; ")]
    source = "layer L():\n" + "".join(f"    {line}\n" for line in lines)
    program = check_layer(spec_of_text(source), "L", {})
    (value,) = reference.evaluate(program, [inputs[k] for k in used], {})
    assert np.isfinite(value).all()


@every_transform
def test_numpy_and_torch_agree_on_a_transform(name: str) -> None:
    row = TRANSFORMS[name]
    for args, sizes in cases(name):
        for norm in ("backward", "forward") if row.norm else ("backward",):
            want = row.numpy(*args, sizes=sizes, norm=norm)
            got = transformed(row, *map(torch.as_tensor, args), sizes=sizes, norm=norm)
            kind = row.dtype(tuple(KINDS[a.dtype.kind] for a in args))
            assert KINDS[want.dtype.kind] is kind
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-12)
            if name not in ("eigvals", "solve"):
                assert got.shape[-len(sizes) :] == sizes or got.shape[-1] == 1


@every_transform
def test_gradients_of_a_transform(name: str) -> None:
    row = TRANSFORMS[name]
    (args, sizes), *_ = cases(name)
    tensors = [torch.as_tensor(a[:1]).clone().requires_grad_() for a in args if a.size]
    call = functools.partial(transformed, row, sizes=sizes)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True, atol=1e-4)


def test_laws_of_the_transforms() -> None:
    run = {name: functools.partial(row.numpy, norm="backward") for name, row in TRANSFORMS.items()}
    root = run["sqrtm"](GENERAL, sizes=(4, 4))
    np.testing.assert_allclose(root @ root, GENERAL)
    np.testing.assert_allclose(run["expm"](run["logm"](GENERAL, sizes=(4, 4)), sizes=()), GENERAL)
    lower = run["cholesky"](POSITIVE, sizes=(4, 4))
    np.testing.assert_allclose(lower @ lower.swapaxes(1, 2), POSITIVE)
    values, vectors = run["eigvals"](POSITIVE, sizes=(4,)), run["eigvecs"](POSITIVE, sizes=(4, 4))
    np.testing.assert_allclose(POSITIVE @ vectors, vectors * values[:, None, :], atol=1e-13)
    half = run["rfft"](IMAGES, sizes=(5, 4))
    np.testing.assert_allclose(run["irfft"](half, sizes=(5, 6)), IMAGES, atol=1e-14)
    few, all_of_them = run["fft"](IMAGES, sizes=(4,)), np.fft.fft(IMAGES)
    np.testing.assert_allclose(few, all_of_them[..., [0, 1, -2, -1]])


def test_matrix_functions_of_matrices_with_equal_eigenvalues_have_gradients() -> None:
    for name in ("sqrtm", "logm", "expm"):
        a = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
        call = functools.partial(transformed, TRANSFORMS[name], sizes=(3, 3))
        assert torch.autograd.gradcheck(call, [a])


# --- registry ------------------------------------------------------------------------------------
def test_the_registry_is_sorted_and_knows_its_backends() -> None:
    for rows in (FUNCTIONS, TRANSFORMS, registry.initialisers()):
        assert list(rows) == sorted(rows)
    assert registry.backends() == ("torch", "triton")
    assert registry.backend("torch").__name__ == "tensorlang.backends.torch"
    with pytest.raises(ValueError, match=r"unknown target 'jax'; known: torch, triton"):
        registry.backend("jax")


def test_an_entry_point_brings_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Entry:
        name: str
        value: str
        row: Function

        def load(self) -> Function:
            return self.row

    own = Entry("cube", "else:ROW", replace(FUNCTIONS["relu"], name="cube"))
    monkeypatch.setattr(registry, "_entries", lambda kind: [own])
    assert list(registry._rows("functions", Function)) == sorted([*FUNCTIONS, "cube"])
    taken = replace(own, row=FUNCTIONS["relu"])
    monkeypatch.setattr(registry, "_entries", lambda kind: [taken])
    with pytest.raises(ValueError, match="else:ROW: there is a function relu already"):
        registry._rows("functions", Function)
