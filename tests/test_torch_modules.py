"""What emitted modules promise: they stand alone, survive what torch does, and fail with names."""

from __future__ import annotations

import ast
import copy
import io
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

import tensorlang as tl
from tensorlang.check.spec import spec_of_text
from tensorlang.driver import Compiled, build
from tensorlang.options import Options
from tests.example_cases import CASES, EXAMPLES, SMALL, Case

AUTO = torch.export.Dim.AUTO


def compiled(
    text: str, path: str = "<spec>.tl", options: Options | None = None, **bind: Any
) -> Compiled:
    spec = spec_of_text(text, path)
    return build(spec, {list(spec.layers)[-1]: bind}, options or Options())


def classes(source: str) -> dict[str, type[nn.Module]]:
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(source, "<emitted>", "exec"), space)
    layers: dict[str, type[nn.Module]] = space["LAYERS"]
    return layers


def module(text: str, **bind: Any) -> nn.Module:
    made = compiled(text, **bind)
    layer = classes(made.source)[next(iter(made.roots.values()))]
    return layer(dtype=torch.float64)


def doubles(*sizes: int) -> Tensor:
    return torch.randn(*sizes, dtype=torch.float64)


# --- the file ------------------------------------------------------------------------------------
@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.tl")), ids=lambda path: path.stem)
def test_a_file_imports_torch_and_the_standard_library_only(example: Any) -> None:
    tree = ast.parse(tl.compile(example).source)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    standard = {"math", "base64", "functools", "collections", "weakref", "__future__"}
    assert imported <= {"torch", *standard}


def test_two_processes_emit_the_same_bytes() -> None:
    program = (
        "import tensorlang as tl, sys\n"
        "for name in ('digits', 'grassmann', 'message_passing'):\n"
        f"    sys.stdout.write(tl.compile({str(EXAMPLES)!r} + f'/{{name}}.tl').source)\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("0", "7")
    }
    assert len(texts) == 1


HOSTILE = '''
layer L(d = 2):
    """Quotes \' and " and {braces} and %s."""
    input lambda[n, d], self[n], torch[n], F[n], x__y[n]
    param torch_[d, d'], _x[d], __y[d], λ[d] ~ kaiming
    import[n, d] = lambda[n, d'] * torch_[d, d'] + _x[d] * __y[d] + λ[d]
    output return[n, d] = import * self[n] + torch[n] * F[n] + x__y[n]
'''


def test_nothing_of_a_spec_reaches_the_output_but_names_and_escapes() -> None:
    path = 'a"""\nimport os  # .tl'
    made = compiled(HOSTILE, path)
    tree = ast.parse(made.source)
    assert not any(
        "os" in [a.name for a in n.names] for n in ast.walk(tree) if isinstance(n, ast.Import)
    )
    layer = classes(made.source)["L"](dtype=torch.float64)
    assert sorted(layer.state_dict()) == sorted(["torch_", "_x", "__y", "λ"])
    assert layer.__doc__ == spec_of_text(HOSTILE).layers["L"].ast.docstring
    vectors = [doubles(3) for _ in range(4)]
    X = doubles(3, 2)
    P = layer.state_dict()
    inner = X @ P["torch_"].T + P["_x"] * P["__y"] + P["λ"]
    want = inner * vectors[0][:, None] + (vectors[1] * vectors[2] + vectors[3])[:, None]
    torch.testing.assert_close(layer(X, *vectors), want)


# --- modules -------------------------------------------------------------------------------------
ATTENTION = tl.load(str(EXAMPLES / "attention.tl"))
AXIAL = tl.load(str(EXAMPLES / "axial.tl"))


def _axial() -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = AXIAL.AxialBlock(d=8, heads=2).double()
    return made


def test_pickle_deepcopy_state_dict_and_functional_call() -> None:
    layer, X = _axial(), doubles(2, 3, 4, 8)
    want = layer(X)
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        torch.testing.assert_close(twin(X), want)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other = AXIAL.AxialBlock(d=8, heads=2).double()
    other.load_state_dict(torch.load(buffer))
    torch.testing.assert_close(other(X), want)
    doubled = {name: 2 * value for name, value in layer.named_parameters()}
    assert not torch.equal(functional_call(layer, doubled, (X,)), want)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_over_a_batch_index() -> None:
    layer, X = _axial(), doubles(3, 2, 3, 4, 8)
    torch.testing.assert_close(vmap(layer)(X), torch.stack([layer(x) for x in X]))
    gather = tl.load(str(EXAMPLES / "embedding.tl")).Gather()
    Z, pick = doubles(3, 2, 5, 4), torch.randint(5, (3, 2, 2))
    want = torch.stack([gather(z, p) for z, p in zip(Z, pick, strict=True)])
    torch.testing.assert_close(vmap(gather)(Z, pick), want)


def test_autocast_gives_half_precision_and_gradients() -> None:
    layer, X = _axial().float(), doubles(2, 3, 4, 8).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        Y = layer(X)
    torch.testing.assert_close(Y.float(), layer(X), rtol=0.1, atol=0.1)
    Y.float().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_hooks_of_sub_layers_run() -> None:
    layer, seen = _axial(), []
    for name, child in layer.named_children():
        child.register_forward_hook(lambda *_, name=name: seen.append(name))
    layer(doubles(1, 2, 3, 8))
    assert seen == ["rows", "cols"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_batches_may_be_empty(case: Case) -> None:
    layer = getattr(tl.load(str(case.path)), case.layer)(**case.hypers).double()
    if "b" not in {axis for given in case.inputs for axis in given.axes}:
        pytest.skip("it has no batch")
    layer.load_state_dict({key: torch.ones_like(x) for key, x in layer.state_dict().items()})
    inputs = case.draw({**SMALL, "b": 0})
    for value in (layer(*inputs),):
        outputs = value if isinstance(value, tuple) else (value,)
        assert all(y.numel() == 0 or "b" not in case.inputs[0].axes for y in outputs)


# --- initial values and constants ----------------------------------------------------------------
def test_a_seed_gives_the_same_values_in_file_and_loaded_module() -> None:
    source = tl.compile(EXAMPLES / "axial.tl", bind={"d": 8, "heads": 2}).source
    torch.manual_seed(5)
    loaded = AXIAL.AxialBlock(d=8, heads=2)
    torch.manual_seed(5)
    written = classes(source)["AxialBlock"](dtype=torch.float64)
    for a, b in zip(loaded.parameters(), written.parameters(), strict=True):
        assert torch.equal(a, b.float())
    before = torch.get_rng_state()
    classes(source)["AxialBlock"](device="meta")
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(loaded.rows.Wq, loaded.cols.Wq)
    assert not torch.equal(loaded.rows.Wq, loaded.rows.Wk)


LAWS = """
layer L(d = 40):
    input X[d]
    param N[d, d'] ~ normal(mean = 1.0, std = 0.5)
    param U[d, d'] ~ kaiming
    param C[d, d']: complex ~ normal(std = 2.0)
    param O[d, d'] ~ orthogonal
    param I[d, d'] ~ eye
    frozen param K[d] ~ constant(0.25)
    A[d] = N[d, d'] * X[d'] + U[d, d'] * X[d'] + O[d, d'] * X[d'] + I[d, d'] * X[d']
    output Y[d] = real(C[d, d'] * X[d']) + A + K
"""


def test_initial_values_follow_their_laws() -> None:
    torch.manual_seed(0)
    P = module(LAWS).state_dict()
    assert abs(float(P["N"].mean()) - 1) < 0.05 and abs(float(P["N"].std()) - 0.5) < 0.05
    assert float(P["U"].abs().max()) <= 40**-0.5 and abs(float(P["U"].std()) - 120**-0.5) < 0.01
    assert abs(float(P["C"].abs().square().mean()) - 4) < 0.5
    torch.testing.assert_close(P["O"] @ P["O"].T, torch.eye(40, dtype=torch.float64))
    assert torch.equal(P["I"], torch.eye(40, dtype=torch.float64))
    assert torch.equal(P["K"], torch.full((40,), 0.25, dtype=torch.float64))
    assert not dict(module(LAWS).named_parameters())["K"].requires_grad


CONSTANTS = """
layer L(d = 6):
    input X[n, d]
    param W[d, d']: complex ~ normal
    const T[d, k] = cos(0.1 * d * k + 1.0)
    const S[d] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]
    dim k = 9
    output Y[n, k] = X[n, d] * S[d] * T[d, k] + 0 * abs(X[n, d] * W[d, d'])
"""


def test_constants_and_complex_parameters_survive_casts() -> None:
    text = CONSTANTS.replace(" + 0 * abs(X[n, d] * W[d, d'])", "")
    text = text.replace("    output Y", "    output Z[n, d] = W[d, d'] * X[n, d']\n    output Y")
    layer, X = module(text), doubles(3, 6)
    want, kept = layer(X), layer.W.detach().clone()
    again = layer.half().double()
    torch.testing.assert_close(again(X)[1], want[1], rtol=0, atol=0)
    assert again.W.dtype == torch.complex128 and again.W.is_complex()
    torch.testing.assert_close(again.W, kept, rtol=1e-2, atol=1e-2)
    assert not any("const" in name or name in ("T", "S") for name in layer.state_dict())
    bf16 = copy.deepcopy(layer).bfloat16()
    assert bf16(X.bfloat16())[1].dtype == torch.bfloat16


def test_a_complex_constant_follows_the_module_without_complex_parameters() -> None:
    text = "layer L():\n    input X[n]\n    const C[k] = complex(0.1, k)\n    dim k = 3\n"
    text += "    output Y[n, k] = real(X[n] * C[k]) + imag(C[k])\n"
    layer = classes(compiled(text).source)["L"]().double()
    want = 0.1 * torch.ones(2, 3, dtype=torch.float64) + torch.arange(3)
    torch.testing.assert_close(layer(torch.ones(2, dtype=torch.float64)), want, rtol=0, atol=0)


# --- errors at the call --------------------------------------------------------------------------
def test_wrong_shapes_name_the_index_both_sizes_and_both_inputs() -> None:
    layer = ATTENTION.CrossAttention(d=8, heads=2).double()
    keep = torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"M\[b, m, d\]: index b has size 3, but 2 in X"):
        layer(doubles(2, 5, 8), doubles(3, 4, 8), keep)
    with pytest.raises(ValueError, match=r"M\[b, m, d\]: index d has size 7, but 8 in the layer"):
        layer(doubles(2, 5, 8), doubles(2, 4, 7), keep)
    with pytest.raises(ValueError, match=r"keep\[b, m\]: index m has size 5, but 4 in M"):
        layer(doubles(2, 5, 8), doubles(2, 4, 8), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"X\[b, n, d\] has 3 axes, not 2"):
        layer(doubles(5, 8), doubles(2, 4, 8), keep)
    third = tl.load(str(EXAMPLES / "third_order.tl")).Trilinear()
    Q = doubles(2, 3, 4)
    with pytest.raises(ValueError, match=r"the batch axes have sizes \[3\], but \[2\] in Q"):
        third(Q, doubles(3, 3, 4), Q, Q, Q)
    with pytest.raises(ValueError, match=r"at least 2 axes, not 1"):
        third(doubles(3), Q, Q, Q, Q)


def test_a_computed_dim_below_one_is_an_error_at_the_call() -> None:
    layer = tl.load(str(EXAMPLES / "conv2d.tl")).Conv2d(i=2, o=3, k=3).double()
    with pytest.raises(ValueError, match="dim xo is 0"):
        layer(doubles(1, 2, 2, 5))


EMBED = """
layer L(v = 5):
    input i[n]: int
    param E[v, d] ~ normal
    dim d = 2
    output Y[n, d] = E[i[n], d]
"""


def test_a_group_may_stand_before_the_input_that_divides_it() -> None:
    text = (
        "layer L():\n input X[i, (h c)], B[c], A[h]\n output Y[i, c] = X[i, (h c)] * A[h] * B[c]\n"
    )
    unknown = text.replace(", B[c]", "").replace(" * B[c]", "")
    x, a, b = doubles(5, 12), doubles(3), doubles(4)
    halves = torch.einsum("ihc,h->ic", x.unflatten(1, (3, 4)), a)
    torch.testing.assert_close(module(unknown)(x, a), halves)
    torch.testing.assert_close(module(text)(x, b, a), halves * b)
    for shape, h in (((5, 10), 3), ((5, 12), 0)):
        with pytest.raises(ValueError, match="h"):
            module(unknown)(doubles(*shape), doubles(h))


def test_index_checks_name_the_tensor_and_can_be_left_out() -> None:
    with pytest.raises(
        IndexError, match=r"i has the index 5, out of range for axis v of E of size 5"
    ):
        module(EMBED)(torch.tensor([1, 5]))
    unchecked = compiled(EMBED, options=Options(index_checks=False))
    assert "_check_index" not in unchecked.source
    inner = torch.compile(module(EMBED), fullgraph=True, backend="aot_eager")
    assert inner(torch.tensor([1, 4, 0])).shape == (3, 2)
    for bad in (5, -1):
        with pytest.raises(RuntimeError, match="i is out of range for axis v of E"):
            inner(torch.tensor([1, bad, 0]))


# --- regimes and blocks --------------------------------------------------------------------------
LINEAR_ATTENTION = """
layer L():
    input q[b, n, c], k[b, n, c], v[b, n, c]
    output Y[b, n, c] = q[b, n, c'] * k[b, n', c'] * v[b, n', c]
"""


def test_regimes_agree_and_an_export_holds_on_both_sides() -> None:
    made = compiled(LINEAR_ATTENTION)
    assert "is_exporting()" in made.source and "else:" in made.source
    layer = classes(made.source)["L"]()
    few, many = ([doubles(2, n, 12) for _ in range(3)] for n in (4, 300))
    for q, k, v in (few, many):
        torch.testing.assert_close(layer(q, k, v), q @ (k.mT @ v))
    dynamic = tuple({0: AUTO, 1: AUTO, 2: AUTO} for _ in range(3))
    exported = torch.export.export(layer, tuple(few), dynamic_shapes=dynamic).module()
    for inputs in (few, many):
        torch.testing.assert_close(exported(*inputs), layer(*inputs))


def test_masked_attention_over_pairs_of_keys_comes_in_blocks() -> None:
    file = tl.load(str(EXAMPLES / "third_order.tl"))
    wide, narrow = file.Simplicial(w1=6, w2=5), file.Simplicial(w1=2, w2=1)
    inputs = [doubles(2, 150, 3).requires_grad_() for _ in range(5)]
    Q, K1, K2, V1, V2 = inputs
    n = torch.arange(150)
    for layer, w1, w2 in ((wide, 6, 5), (narrow, 2, 1), (wide, 6, 5)):
        near = n[:, None] - n
        seen = [(near >= 0) & (near < w) for w in (w1, w2)]
        mask = seen[0][:, :, None] & seen[1][:, None, :]
        logits = torch.einsum("bic,bjc,bkc->bijk", Q, K1, K2) / 3**0.5
        weights = (
            logits.masked_fill(~mask, -torch.inf)
            .flatten(2)
            .softmax(-1)
            .unflatten(2, mask.shape[1:])
        )
        want = torch.einsum("bijk,bjc,bkc->bic", weights, V1, V2)
        got = layer(*inputs)
        torch.testing.assert_close(got, want)
        slope = torch.randn_like(want)
        for a, b in zip(
            torch.autograd.grad(got, inputs, slope),
            torch.autograd.grad(want, inputs, slope),
            strict=True,
        ):
            torch.testing.assert_close(a, b)
    stacked = [torch.stack([x.detach(), 2 * x.detach()]) for x in inputs]
    want = torch.stack([wide(*(x[k] for x in stacked)) for k in range(2)])
    torch.testing.assert_close(vmap(wide)(*stacked), want)
