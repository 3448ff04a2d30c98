"""Kernels of examples and rows in Triton's interpreter; test_triton_kernels.py runs them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from tests.example_cases import CASES, LARGE, SMALL, Case, Sizes
from tests.interpreting import (
    Check,
    as_tuple,
    assert_agree,
    assert_precise,
    case_of,
    into,
    kernel_count,
    layers_of,
    main,
    module_of,
    names_of,
)

CHECKS: dict[str, Check] = {}
check = into(CHECKS)


def _against_oracle(case: Case, sizes: Sizes) -> None:
    module = module_of(case)
    inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(sizes)]
    leaves = [x for x in (*inputs, *module.parameters()) if x.requires_grad]
    named = dict(module.named_parameters())
    assert_agree(
        lambda: module(*inputs), lambda: case.oracle(named, case.hypers, *inputs), leaves, 1e-9
    )


# --- the examples --------------------------------------------------------------------------------
def _add(case: Case, sizes: Sizes, label: str) -> None:
    CHECKS[f"{case.name}-{label}"] = lambda: _against_oracle(case, sizes)


PLAIN = {"conv2d", "embedding", "linear", "tensorised"}
for _each in CASES:
    if _each.file not in PLAIN:
        _add(_each, SMALL, "small")
    if _each.file in ("norms", "attention", "kernel_density"):
        _add(_each, LARGE, "large")
for _each in (case_of("MultiHeadAttention", causal=True), case_of("WindowAttention")):
    _add(_each, {**SMALL, "b": 1, "n": 37}, "several blocks")


# --- precision -----------------------------------------------------------------------------------
def _precision(case: Case, dtype: torch.dtype) -> None:
    """At most 3 times the error of plain torch in the same precision, plus a few roundings."""
    exact = module_of(case)
    inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(SMALL)]
    low = [x.detach().to(dtype if x.is_floating_point() else x.dtype) for x in inputs]
    low = [x.requires_grad_(x.is_floating_point()) for x in low]
    runs: list[list[Tensor]] = []
    rounded = module_of(case, dtype)
    with torch.no_grad():
        for a, b in zip(exact.parameters(), rounded.parameters(), strict=True):
            a.copy_(b)
        for a, b in zip(inputs, low, strict=True):
            a.copy_(b)
    for call, given, params in (
        (exact, inputs, dict(exact.named_parameters())),
        (rounded, low, dict(rounded.named_parameters())),
        (None, low, {k: p.detach().requires_grad_() for k, p in rounded.named_parameters()}),
    ):
        made = call(*given) if call is not None else case.oracle(params, case.hypers, *given)
        leaves = [*(x for x in given if x.requires_grad), *params.values()]
        (y,) = as_tuple(made)
        torch.manual_seed(2)
        weight = torch.randn(y.shape, dtype=torch.float64).to(y.dtype)
        runs.append([y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)])
    assert_precise(dtype, *runs)


for _dtype in (torch.float32, torch.float16, torch.bfloat16):
    for _each in (
        case_of("AxialBlock"),
        case_of("CrossAttention"),
        case_of("WindowAttention"),
        case_of("LayerNorm"),
        case_of("GatedMLP"),
    ):
        _name = f"{_each.layer}-{str(_dtype).removeprefix('torch.')}"
        CHECKS[_name] = lambda case=_each, dtype=_dtype: _precision(case, dtype)  # type: ignore[misc]


@check
def autocast_multiplies_in_the_low_dtype_and_keeps_the_dtypes_of_gradients() -> None:
    case = case_of("AxialBlock")
    module = module_of(case, torch.float32)
    (x,) = (x.float().requires_grad_() for x in case.draw(SMALL))
    exact = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    grads = torch.autograd.grad(y.float().sum(), [x, *module.parameters()])
    assert all(g.dtype is torch.float32 for g in grads)
    torch.testing.assert_close(y.float(), exact, rtol=0.1, atol=0.1)
    assert not torch.equal(y.float(), exact)


# --- layouts and sizes ---------------------------------------------------------------------------
@check
def any_strides() -> None:
    case = case_of("AxialBlock")
    module = module_of(case)
    (x,) = case.draw(SMALL)
    want = module(x)
    for moved in (
        x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
        x.repeat_interleave(2, -1)[..., ::2],
        x.flip(0).contiguous().flip(0),
    ):
        torch.testing.assert_close(module(moved), want, rtol=1e-12, atol=1e-12)


@check
def expanded_inputs_and_gradients() -> None:
    case = case_of("AxialBlock")
    module = module_of(case)
    (x,) = case.draw(SMALL)
    leaf = x[:1].clone().requires_grad_()
    named = dict(module.named_parameters())
    made = module(leaf.expand(3, -1, -1, -1))
    want = case.oracle(named, case.hypers, leaf.expand(3, -1, -1, -1))
    got = torch.autograd.grad(made.sum(), leaf)  # a gradient of stride 0
    torch.testing.assert_close(got, torch.autograd.grad(want.sum(), leaf), rtol=1e-9, atol=1e-9)


@check
def no_cells() -> None:
    for layer in ("AxialBlock", "CrossAttention", "LayerNorm", "GatedMLP"):
        case = case_of(layer)
        module = module_of(case)
        for empty in ("b", "n", "m"):
            inputs = [
                x.requires_grad_(x.is_floating_point()) for x in case.draw({**SMALL, empty: 0})
            ]
            (y,) = as_tuple(module(*inputs))
            assert torch.isfinite(y).all()
            y.sum().backward()
            assert all(
                torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None
            )


@check
def a_query_that_sees_nothing_is_zero_in_value_and_gradient() -> None:
    case = case_of("CrossAttention")
    module = module_of(case)
    x, memory, keep = case.draw(SMALL)
    keep[0] = False
    x.requires_grad_(), memory.requires_grad_()
    y = module(x, memory, keep)
    assert torch.equal(y[0], torch.zeros_like(y[0]))
    dx, dm = torch.autograd.grad(y.sum(), (x, memory))
    assert torch.equal(dx[0], torch.zeros_like(dx[0])) and torch.isfinite(dm).all()
    assert torch.equal(dm[0], torch.zeros_like(dm[0]))


# --- transformations -----------------------------------------------------------------------------
def _small_attention() -> tuple[torch.nn.Module, Tensor]:
    case = case_of("AxialBlock")
    return module_of(case), case.draw({**SMALL, "b": 1, "x": 2, "y": 3})[0]


@check
def second_derivatives() -> None:
    module, x = _small_attention()
    x.requires_grad_()
    assert torch.autograd.gradcheck(module, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(module, (x,), fast_mode=True)


@check
def functional_transforms() -> None:
    module, x = _small_attention()

    def loss(x: Tensor) -> Tensor:
        made: Tensor = module(x)
        return (made**2).sum()

    (want,) = torch.autograd.grad(loss(x.requires_grad_()), x)
    torch.testing.assert_close(torch.func.grad(loss)(x.detach()), want, rtol=1e-9, atol=1e-9)
    many = torch.stack([x.detach(), 2 * x.detach()])
    each = torch.stack([module(one) for one in many])
    torch.testing.assert_close(torch.vmap(module)(many), each, rtol=1e-10, atol=1e-10)
    per_sample = torch.vmap(torch.func.grad(loss))(many)
    torch.testing.assert_close(per_sample[0], want, rtol=1e-9, atol=1e-9)


@check
def traced_by_dynamo_with_gradients() -> None:
    for layer in ("AxialBlock", "CrossAttention", "LayerNorm"):
        case = case_of(layer)
        module = module_of(case)
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
        for sizes in (SMALL, LARGE):
            inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(sizes)]
            leaves = [*(x for x in inputs if x.requires_grad), *module.parameters()]
            assert_agree(lambda: compiled(*inputs), lambda: module(*inputs), leaves)  # noqa: B023


@check
def exported() -> None:
    case = case_of("MultiHeadAttention", causal=True)
    module = module_of(case)
    auto = torch.export.Dim.AUTO
    program = torch.export.export(module, case.draw(SMALL), dynamic_shapes=({0: auto, 1: auto},))
    for sizes in (SMALL, LARGE):
        inputs = case.draw(sizes)
        torch.testing.assert_close(program.module()(*inputs), module(*inputs))


@check
def operators_are_well_formed() -> None:
    q, k, v = (torch.randn(2, 3, 5, 2, dtype=torch.float64) for _ in range(3))
    module = module_of(case_of("MultiHeadAttention", causal=True))
    names = names_of(module)
    forward, backward = (names[f"_attention_0_{what}_op"] for what in ("forward", "backward"))
    torch.library.opcheck(forward, (q, k, v))
    made, lse = forward(q, k, v)
    torch.library.opcheck(backward, (q, k, v, made, lse, torch.randn_like(made)))
    norm = module_of(case_of("LayerNorm"))
    names = names_of(norm)
    x, g, b = torch.randn(7, 5), torch.randn(5), torch.randn(5)
    torch.library.opcheck(names["_rows_0_forward_op"], (x, g, b, 7))
    torch.library.opcheck(names["_rows_0_backward_op"], (x, g, b, torch.randn(7, 5), 7))


@check
def a_file_may_be_run_twice() -> None:
    import tensorlang as tl

    case = case_of("RMSNorm")
    source = tl.compile(str(case.path), target="triton", bind={"RMSNorm": dict(case.hypers)}).source
    path = Path(tempfile.mkdtemp()) / "norms.py"
    path.write_text(source)
    results = []
    for _ in range(2):
        names: dict[str, object] = {"__name__": "norms"}
        exec(compile(source, str(path), "exec"), names)
        module = names["LAYERS"]["RMSNorm"]()  # type: ignore[index]
        results.append(module.double()(case.draw(SMALL)[0]))
    assert torch.equal(*results)


# --- rows ----------------------------------------------------------------------------------------
ROWS = """
layer Kinds():
    \"\"\"Operands that lack rows, some rows, lanes or both.\"\"\"
    input X[a, b, c], row[a, b], lane[c], middle[b], first[a, c]
    H[a, b, c] = sigmoid(X[a, b, c] * row[a, b] + lane[c]) * middle[b] + first[a, c]
    output Y[a, b, c] = H * rsqrt(mean[c](H^2) + 0.1)

layer Pieces():
    # lanes that only the call knows, a piece of them in a tile
    input X[a, b, c], row[a, b], lane[c], first[a], one[a, c]
    output Y[a, b, c] = sigmoid(X * row[a, b] + lane[c]) * first[a] + one[a, c]

layer TwoLanes():
    \"\"\"A softmax over two indices and what is pooled by it.\"\"\"
    input X[b, x, y], V[b, x, y]
    A[b, x, y] = softmax[x, y](X)
    output P[b] = A[b, x, y] * V[b, x, y]
    output L[b] = logsumexp[x, y](X)

layer Masked():
    input X[b, n], keep[b, n]: bool
    output S[b, n] = softmax[n where keep[b, n]](2 * X[b, n])
    output L[b, n] = X[b, n] * log_softmax[n](X[b, n])

layer Extremes():
    \"\"\"Ties share their gradient.\"\"\"
    input X[b, n]
    M[b] = max[n](X[b, n])
    output Y[b, n] = (X[b, n] - M[b]) * exp(min[n](X[b, n]))

layer Everything():
    \"\"\"A reduction that leaves no index.\"\"\"
    input X[n, d], V[n, d]
    M = mean[n, d](X[n, d] * V[n, d])
    output Y[n, d] = tanh(X[n, d] - M) * V[n, d]

layer Grouped(h = 3):
    \"\"\"An axis that is read split.\"\"\"
    dim c = 4
    input X[b, (h c)], g[h]
    output Y[b, h, c] = silu(X[b, (h c)]) * g[h]

layer Conditioned():
    \"\"\"Conditions without an index.\"\"\"
    input X[b, n], s
    output S[b, n] = softmax[n where s > 0.1 and n != 1](X[b, n])
    output T[b, n] = softmax[n where s > 0.1 or 2.5 < 0.5 * |n| or n < b](X[b, n])

layer Positions():
    input X[b, n, d]
    output Y[b, n, d] = cos(n * 0.1) * sigmoid(X[b, n, d]) / |d| if n >= d else X[b, n, d]
"""


def _rows(layer: str, *shapes: tuple[int, ...], boolean: bool = False, ties: bool = False) -> None:
    given = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    if ties:
        given = [x.round() for x in given]
    leaves = [x.requires_grad_() for x in given]
    inputs = [*leaves, torch.rand(shapes[0]) < 0.5] if boolean else leaves
    plain, fused = (getattr(layers_of(ROWS, target), layer)() for target in ("torch", "triton"))
    assert kernel_count(fused) >= 2, "nothing was fused"
    assert_agree(lambda: fused(*inputs), lambda: plain(*inputs), leaves, 1e-10, 1e-11)


@check
def rows_lacking_axes() -> None:
    for a, b, c in ((2, 3, 5), (1, 7, 33), (3, 1, 1)):
        _rows("Kinds", (a, b, c), (a, b), (c,), (b,), (a, c))


@check
def rows_in_pieces() -> None:
    for a, b, c in ((2, 3, 5), (2, 9, 300)):
        _rows("Pieces", (a, b, c), (a, b), (c,), (a,), (a, c))


@check
def rows_of_two_lanes() -> None:
    _rows("TwoLanes", (3, 4, 5), (3, 4, 5))
    _rows("TwoLanes", (2, 1, 17), (2, 1, 17))


@check
def rows_masked() -> None:
    _rows("Masked", (5, 19), boolean=True)


@check
def rows_under_conditions() -> None:
    for shape in ((5, 19), (4, 3), (1, 1)):
        _rows("Conditioned", shape, ())


@check
def rows_of_extremes() -> None:
    _rows("Extremes", (4, 9), ties=True)


@check
def rows_reduced_to_one_number() -> None:
    _rows("Everything", (5, 7), (5, 7))


@check
def rows_of_positions() -> None:
    _rows("Positions", (2, 4, 5))


@check
def many_rows() -> None:
    _rows("Kinds", (1, 600, 40), (1, 600), (40,), (600,), (1, 40))


@check
def every_function_that_triton_spells() -> None:
    from tensorlang.dtype import Dtype
    from tensorlang.registry import functions

    lines = ["layer Functions():", "    input X[n, d], Z[n, d]"]
    for name, row in functions().items():
        if row.reserved or row.triton is None or row.name in ("dropout", "stopgrad"):
            continue
        if row.dtype((Dtype.REAL,) * max(row.arity[0], 1)) is not Dtype.REAL:
            continue
        second = ", Z[n, d]" if row.arity[0] == 2 else ""
        inner = "sigmoid(X[n, d])"  # inside every domain
        lines.append(f"    output Y_{name}[n, d] = {name}({inner}{second}) * Z[n, d]")
    text = "\n".join(lines) + "\n"
    plain, fused = (layers_of(text, target).Functions() for target in ("torch", "triton"))
    leaves = [torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert kernel_count(fused) > 20, kernel_count(fused)
    assert_agree(lambda: fused(*leaves), lambda: plain(*leaves), leaves, 1e-9, 1e-10)


if __name__ == "__main__":
    main(CHECKS)
