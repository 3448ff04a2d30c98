"""Loaded layers as citizens of PyTorch: seeds, pickling, autocast, vmap, tracing, errors."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.func import functional_call

import tensorlang as tl
from tests.example_cases import CASES, EXAMPLES, LARGE, SMALL, Case

AXIAL = str(EXAMPLES / "axial.tl")


@pytest.fixture(scope="module")
def axial() -> Any:
    return tl.load(AXIAL)


def _case(layer: str) -> Case:
    return next(case for case in CASES if case.layer == layer)


# --- construction --------------------------------------------------------------------------------
def test_importing_tensorlang_imports_nothing_heavy() -> None:
    code = (
        "import sys, tensorlang; heavy = {'torch', 'numpy', 'sympy', 'networkx', 'opt_einsum', "
        "'lark', 'triton', 'scipy', 'rich', 'click'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_loaded_layer_is_an_instance_of_its_class(axial: Any) -> None:
    layer = axial.AxialAttention(d=8, heads=2)
    assert isinstance(layer, axial.AxialAttention)
    assert isinstance(layer, torch.nn.Module)
    assert type(layer) is type(axial.AxialAttention(d=8, heads=2))
    assert type(layer) is type(tl.load(AXIAL).AxialAttention(heads=2, d=8))
    assert "Ho et al., 2019" in (inspect.getdoc(axial.AxialAttention) or "")
    assert list(inspect.signature(axial.AxialAttention).parameters) == [
        "d", "heads", "causal", "device", "dtype",
    ]  # fmt: skip


def test_unknown_and_missing_hyperparameters_are_type_errors(axial: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"no hyperparameter head.*did you mean heads"):
        axial.AxialAttention(head=2)
    with pytest.raises(TypeError, match="by keyword"):
        axial.AxialAttention(8)
    path = tmp_path / "open.tl"
    path.write_text("layer L(d):\n    input X[n, d]\n    output Y[n, d] = 2 * X\n")
    with pytest.raises(TypeError, match="needs a value for d"):
        tl.load(path).L()
    with pytest.raises(TypeError, match="not object"):
        tl.load(path).L(d=object())
    with pytest.raises(AttributeError, match="did you mean AxialPair"):
        _ = axial.AxialPear


def test_hyperparameters_that_do_not_fit_are_a_spec_error(axial: Any) -> None:
    with pytest.raises(tl.SpecError, match="3 does not divide 8") as caught:
        axial.AxialAttention(d=8, heads=3)
    assert caught.value.diagnostics[0].code == "E0303"


def test_the_constructor_takes_device_and_dtype(axial: Any) -> None:
    layer = axial.AxialAttention(d=8, heads=2, dtype=torch.float64)
    assert layer.Wq.dtype == torch.float64
    assert axial.AxialAttention(d=8, heads=2, device="meta").Wq.is_meta


# --- values --------------------------------------------------------------------------------------
def test_the_file_and_the_loaded_module_start_with_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / "axial_torch.py"
    tl.compile(AXIAL, bind={"d": 8, "heads": 2}).write(path)
    spec = importlib.util.spec_from_file_location("axial_torch", path)
    assert spec is not None and spec.loader is not None
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    torch.manual_seed(3)
    first = written.AxialBlock()
    torch.manual_seed(3)
    second = tl.load(AXIAL).AxialBlock(d=8, heads=2)
    torch.manual_seed(3)
    third = tl.load(AXIAL, target="triton").AxialBlock(d=8, heads=2, dtype=torch.float64)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
        torch.testing.assert_close(value.double(), third.state_dict()[key], rtol=1e-6, atol=1e-7)
    torch.manual_seed(4)
    assert not torch.equal(tl.load(AXIAL).AxialBlock(d=8, heads=2).rows.Wq, first.rows.Wq)


def test_initial_values_have_the_stated_spread() -> None:
    layer = tl.load(AXIAL).AxialAttention(d=256, heads=8)
    assert float(layer.Wq.detach().std()) == pytest.approx(256**-0.5, rel=0.02)
    linear = tl.load(EXAMPLES / "linear.tl").Linear(i=400, o=300)
    torch.manual_seed(0)
    peer = torch.nn.Linear(400, 300)
    assert float(linear.W.detach().std()) == pytest.approx(float(peer.weight.std()), rel=0.02)


# --- copies --------------------------------------------------------------------------------------
def test_pickles_in_this_process_and_in_another(axial: Any, tmp_path: Path) -> None:
    layer = axial.AxialBlock(d=8, heads=2)
    x = torch.randn(2, 3, 4, 8)
    for made in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert type(made) is type(layer)
        assert torch.equal(made(x), layer(x))
    rows = pickle.loads(pickle.dumps(layer.rows))
    assert torch.equal(rows.Wq, layer.rows.Wq)
    torch.save({"layer": layer, "x": x, "y": layer(x)}, tmp_path / "all.pt")
    code = (
        "import sys, torch; d = torch.load(sys.argv[1], weights_only=False); "
        "torch.testing.assert_close(d['layer'](d['x']), d['y']); print(type(d['layer']).__name__)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "all.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "AxialBlock"


def test_state_dict_does_not_depend_on_target_or_options() -> None:
    keys = [
        list(tl.load(AXIAL, **options).AxialBlock(d=8, heads=2).state_dict())
        for options in ({}, {"target": "triton"}, {"without": ("flatten",)}, {"dtype": "float64"})
    ]
    assert all(k == keys[0] for k in keys)


# --- PyTorch -------------------------------------------------------------------------------------
def test_hooks_of_children_run_whatever_axes_they_are_bound_to(axial: Any) -> None:
    layer = axial.AxialBlock(d=8, heads=2)
    seen: list[str] = []
    for name, child in layer.named_children():
        child.register_forward_hook(lambda *_, name=name: seen.append(name))
    layer(torch.randn(2, 3, 4, 8))
    assert seen == ["rows", "cols"]


def test_autocast_computes_in_bfloat16(axial: Any) -> None:
    layer, x = axial.AxialAttention(d=8, heads=2), torch.randn(2, 5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), layer(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("target", ["torch", "triton"])
@pytest.mark.parametrize("layer", ["AxialAttention", "Linear", "RMSNorm", "ThirdOrderAttention"])
def test_vmap_over_a_batch_index(layer: str, target: str) -> None:
    case = _case(layer)
    made = getattr(tl.load(case.path, target=target), layer)(**case.hypers).double()
    (x,) = case.draw(LARGE)
    torch.testing.assert_close(torch.vmap(made)(x), made(x))


def test_functional_call_and_a_gradient_by_torch_func() -> None:
    layer = tl.load(EXAMPLES / "mlp.tl").MLP(d=3, f=5).double()
    params = {k: v.detach() for k, v in layer.named_parameters()}
    x = torch.randn(4, 3, dtype=torch.float64)

    def loss(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(layer, p, (x,)).square().sum()

    got = torch.func.grad(loss)(params)
    layer(x).square().sum().backward()
    for name, param in layer.named_parameters():
        torch.testing.assert_close(got[name], param.grad)


@pytest.mark.parametrize("layer", ["MLP", "AxialBlock", "GrassmannMixing"])
def test_inductor(layer: str) -> None:
    torch._dynamo.reset()
    case = _case(layer)
    made = getattr(tl.load(case.path), layer)(**case.hypers).double()
    compiled = torch.compile(made, fullgraph=True, dynamic=True)
    for sizes in (SMALL, LARGE):
        inputs = case.draw(sizes)
        torch.testing.assert_close(compiled(*inputs), made(*inputs))


def test_inputs_go_by_position_or_name() -> None:
    layer = tl.load(EXAMPLES / "kernel_density.tl").KernelDensity()
    x, s = torch.randn(4, 2), torch.randn(5, 2)
    assert torch.equal(layer(x, s), layer(S=s, X=x))


def test_double_reaches_constants_and_half_works() -> None:
    layer = tl.load(EXAMPLES / "grassmann.tl").GrassmannMixing(d=4, r=3, offsets=[1, 2])
    x = torch.randn(2, 5, 4)
    want = copy.deepcopy(layer).double()(x.double())
    torch.testing.assert_close(
        layer.to(torch.bfloat16)(x.bfloat16()).double(), want, rtol=0.1, atol=0.1
    )


# --- wrong calls ---------------------------------------------------------------------------------
def test_a_wrong_shape_names_the_index_both_sizes_and_both_inputs() -> None:
    layer = tl.load(EXAMPLES / "attention.tl").CrossAttention(d=6, heads=2)
    x, m, keep = torch.randn(2, 5, 6), torch.randn(2, 4, 6), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"m.*(4|3).*(4|3)") as caught:
        layer(x, m, keep)
    assert all(name in str(caught.value) for name in ("M", "keep"))
    with pytest.raises(ValueError, match=r"(?s)d.*6.*7|d.*7.*6"):
        layer(torch.randn(2, 5, 7), m, keep)
    with pytest.raises(ValueError, match="X"):
        layer(torch.randn(5, 6), m, keep)


def test_zero_sizes_are_fine() -> None:
    layer = tl.load(EXAMPLES / "message_passing.tl").MessagePassing(d=3, f=4)
    none = torch.zeros(0, dtype=torch.long)
    x = torch.randn(5, 3)
    assert torch.equal(layer(x, none, none), x)
    assert tl.load(AXIAL).AxialAttention(d=8, heads=2)(torch.zeros(0, 5, 8)).shape == (0, 5, 8)


# --- regimes -------------------------------------------------------------------------------------
CHAIN = """
layer Chain(i = 512, r = 400, o = 512):
    input  X[n, i]
    param  A[i, r], B[r, o] ~ kaiming
    output Y[n, o] = X[n, i] * A[i, r] * B[r, o]
"""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("chain") / "chain.tl"
    path.write_text(CHAIN)
    layer = tl.load(path).Chain(dtype=torch.float64)
    (region,) = type(layer)._compiled.stages["Chain", ""].plan.regions
    assert len(region.regimes) == 2
    return layer


SIDES = (2, 3, 700)  # few rows: the chain; many: the product of the factors first


def test_both_regimes_compute_the_same(chain: Any) -> None:
    for n in SIDES:
        x = torch.randn(n, 512, dtype=torch.float64)
        torch.testing.assert_close(chain(x), x @ chain.A @ chain.B)


def test_a_regime_costs_one_recompilation_at_most(chain: Any) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(chain, fullgraph=True, dynamic=True, backend=counter)
    for n in (*SIDES, 5, 17, 800, 900):
        x = torch.randn(n, 512, dtype=torch.float64)
        torch.testing.assert_close(compiled(x), chain(x))
    assert counter.frame_count <= 2


def test_an_exported_layer_works_on_both_sides_of_a_regime(chain: Any) -> None:
    rows = torch.export.Dim.AUTO
    x = torch.randn(7, 512, dtype=torch.float64)
    exported = torch.export.export(chain, (x,), dynamic_shapes=({0: rows},)).module()
    for n in SIDES:
        x = torch.randn(n, 512, dtype=torch.float64)
        torch.testing.assert_close(exported(x), chain(x))
