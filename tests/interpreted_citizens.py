"""Kernels as parts of PyTorch, in Triton's interpreter: operators, transformations, tracing, sizes
of 0 and 1. test_triton_citizens.py runs it in its own process, see interpreting.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from tests.example_cases import CASES, SMALL, Case, Sizes
from tests.interpreting import Check, as_tuple, case_of, kernel_count, main, module_of

CHECKS: dict[str, Check] = {}
FEW: Sizes = {**SMALL, "b": 1, "x": 3, "y": 2}
SEVERAL = (
    case_of("AxialBlock"),
    case_of("CrossAttention"),
    case_of("LayerNorm"),
    case_of("GatedMLP"),
    case_of("KernelDensity"),
)


def check(function: Callable[[Case], None]) -> Callable[[Case], None]:
    """One check for each of several layers."""
    for case in SEVERAL:
        CHECKS[f"{function.__name__}-{case.name}"] = lambda case=case: function(case)  # type: ignore[misc]
    return function


def _plain(case: Case) -> torch.nn.Module:
    """The same layer with the same parameters from the torch target."""
    import tensorlang as tl

    module: torch.nn.Module = getattr(tl.load(str(case.path)), case.layer)(**case.hypers)
    module = module.double()
    module.load_state_dict(module_of(case).state_dict())
    return module


def _pair(case: Case) -> tuple[torch.nn.Module, torch.nn.Module]:
    return module_of(case), _plain(case)


Function = Callable[..., Tensor]


def _losses(case: Case, sizes: Sizes = FEW) -> tuple[list[Function], tuple[Tensor, ...]]:
    """A nonlinear function of the real inputs, by kernels and by torch, and these inputs."""
    inputs = case.draw(sizes)
    real = [k for k, x in enumerate(inputs) if x.is_floating_point()]

    def loss_of(module: torch.nn.Module) -> Function:
        def loss(*leaves: Tensor) -> Tensor:
            given = list(inputs)
            for k, leaf in zip(real, leaves, strict=True):
                given[k] = leaf
            return sum((y.sin() * (y + 1)).sum() for y in as_tuple(module(*given)))  # type: ignore[return-value]

        return loss

    return [loss_of(module) for module in _pair(case)], tuple(inputs[k] for k in real)


def _close(got: Any, want: Any, rtol: float = 1e-8, atol: float = 1e-9) -> None:
    for mine, peer in zip(as_tuple(got), as_tuple(want), strict=True):
        torch.testing.assert_close(mine, peer, rtol=rtol, atol=atol)


class _Seen(TorchDispatchMode):
    """Calls of operators that an emitted module registers, one of each."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Any, tuple[Any, ...]] = {}

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op.namespace.startswith("tensorlang_"):
            detached = (x.detach() if isinstance(x, Tensor) else x for x in args)
            self.calls.setdefault(op, tuple(detached))
        return op(*args, **(kwargs or {}))


# --- operators -----------------------------------------------------------------------------------
def _operators(case: Case, sizes: Sizes) -> dict[Any, tuple[Any, ...]]:
    """What a forward and a backward pass call."""
    module = module_of(case)
    inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(sizes)]
    leaves = [x for x in (*inputs, *module.parameters()) if x.requires_grad]
    with _Seen() as seen:
        total = sum((y * torch.randn_like(y)).sum() for y in as_tuple(module(*inputs)))
        if isinstance(total, Tensor) and total.requires_grad:
            torch.autograd.grad(total, leaves, allow_unused=True)
    return seen.calls


def _well_formed(case: Case) -> None:
    if kernel_count(module_of(case)):
        calls = _operators(case, {**SMALL, "b": 1})
        assert calls
        for operator, args in calls.items():
            torch.library.opcheck(operator, args)


for _each in CASES:
    CHECKS[f"operators-{_each.name}"] = lambda case=_each: _well_formed(case)  # type: ignore[misc]


@check
def gradients_with_a_graph_are_by_kernels(case: Case) -> None:
    """create_graph=True computes first derivatives as without, only the second are torch's."""
    (loss, _), given = _losses(case)
    leaves = [x.clone().requires_grad_() for x in given]
    called = []
    for graph in (False, True):
        with _Seen() as seen:
            torch.autograd.grad(loss(*leaves), leaves, create_graph=graph)
        called.append(list(seen.calls))
    assert called[0] == called[1] and any("backward" in str(op) for op in called[0])


# --- transformations -----------------------------------------------------------------------------
@contextmanager
def _differentiable() -> Iterator[None]:
    """torch's fused attention has first derivatives only."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _compared(case: Case, transform: Callable[[Function, tuple[int, ...]], Function]) -> None:
    losses, given = _losses(case)
    places = tuple(range(len(given)))
    got, want = (transform(loss, places) for loss in losses)
    made = got(*given)
    with _differentiable():
        _close(made, want(*given))


@check
def func_grad(case: Case) -> None:
    _compared(case, lambda loss, places: torch.func.grad(loss, places))


@check
def func_grad_twice(case: Case) -> None:
    def transform(loss: Function, places: tuple[int, ...]) -> Function:
        first = torch.func.grad(loss, places)
        return torch.func.grad(lambda *xs: sum((d**2).sum() for d in first(*xs)), places)  # type: ignore[arg-type, return-value]

    _compared(case, transform)


@check
def forward_mode(case: Case) -> None:
    def transform(loss: Function, places: tuple[int, ...]) -> Function:
        return lambda *xs: torch.func.jvp(loss, xs, tuple(x.cos() for x in xs))[1]

    _compared(case, transform)


@check
def forward_over_reverse(case: Case) -> None:
    def transform(loss: Function, places: tuple[int, ...]) -> Function:
        first = torch.func.grad(loss, places)
        return lambda *xs: torch.func.jvp(first, xs, tuple(x.cos() for x in xs))[1]

    _compared(case, transform)


@check
def jacobian_rows(case: Case) -> None:
    """jacrev: backward over many output gradients at once."""
    module, plain = _pair(case)
    given = case.draw(FEW)
    for place, x in enumerate(given):
        if x.is_floating_point():

            def of(x: Tensor, module: torch.nn.Module, place: int = place) -> Tensor:
                made = as_tuple(module(*given[:place], x, *given[place + 1 :]))[0]
                return made.flatten()[:3]

            got = torch.func.jacrev(of)(x, module)
            with _differentiable():
                _close(got, torch.func.jacrev(of)(x, plain))


def _stacked(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.stack([x, x.sin(), 1 - x]) for x in given)


@check
def per_sample_gradients(case: Case) -> None:
    def transform(loss: Function, places: tuple[int, ...]) -> Function:
        many = torch.vmap(torch.func.grad(loss, places))
        return lambda *xs: many(*_stacked(xs))  # type: ignore[no-any-return]

    _compared(case, transform)


@check
def second_derivatives_under_autocast(case: Case) -> None:
    """Gradients keep the dtypes of what they belong to."""
    module = module_of(case, torch.float32)
    given = [x.float() if x.is_floating_point() else x for x in case.draw(FEW)]
    leaves = [x.requires_grad_() for x in given if x.is_floating_point()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = sum(y.float().square().sum() for y in as_tuple(module(*given)))
    assert isinstance(total, Tensor)
    first = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    scalar = sum(d.square().sum() for d in first if d is not None)
    second = torch.autograd.grad(scalar, leaves, allow_unused=True)
    for found in (*first, *second):
        assert found is None or (found.dtype is torch.float32 and torch.isfinite(found).all())


# --- tracing -------------------------------------------------------------------------------------
def _traced(function: Function, given: Sequence[Tensor]) -> Any:
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)(*given)


@check
def traced_for_inference(case: Case) -> None:
    module = module_of(case).requires_grad_(False)
    given = case.draw(FEW)
    want = module(*given)
    _close(_traced(module, given), want)
    with torch.no_grad():
        _close(_traced(module, [x.requires_grad_(x.is_floating_point()) for x in given]), want)


@check
def traced_transformations(case: Case) -> None:
    losses, given = _losses(case)
    places = tuple(range(len(given)))
    grad, plain = (torch.func.grad(loss, places) for loss in losses)
    with _differentiable():
        _close(_traced(grad, given), plain(*given))
        _close(_traced(torch.vmap(grad), _stacked(given)), torch.vmap(plain)(*_stacked(given)))


@check
def traced_with_first_and_second_sizes(case: Case) -> None:
    """No size is taken for a constant: the second call, at other sizes, compiles nothing anew."""
    torch._dynamo.reset()
    module = module_of(case)
    count = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, backend=count, dynamic=True)
    for step in (0, 1):
        sizes = {name: 5 + k % 7 + 4 * step for k, name in enumerate(sorted(SMALL))}
        sizes |= {"b": 4 + 4 * step, "x": 3 + 4 * step, "y": 5 + 4 * step, "k": 3}
        inputs = [x.requires_grad_(x.is_floating_point()) for x in case.draw(sizes)]
        leaves = [x for x in inputs if x.requires_grad]
        got, want = (as_tuple(f(*inputs)) for f in (compiled, module))
        _close(got, want)
        slopes = [torch.autograd.grad(sum(y.sum() for y in ys), leaves) for ys in (got, want)]  # type: ignore[arg-type]
        _close(*slopes)
    assert count.frame_count == 1


@check
def exported_and_run_at_another_size(case: Case) -> None:
    module = module_of(case)
    free, fixed = torch.export.Dim.AUTO, torch.export.Dim.STATIC
    given = case.draw({**SMALL, "n": 6})
    shapes = tuple({k: free if n > 1 else fixed for k, n in enumerate(x.shape)} for x in given)
    program = torch.export.export(module, given, dynamic_shapes=shapes).module()
    for sizes in ({**SMALL, "n": 6}, {**SMALL, "b": 3, "n": 7, "x": 8}):
        inputs = case.draw(sizes)
        _close(program(*inputs), module(*inputs))


# --- sizes and layouts ---------------------------------------------------------------------------
def _sized(case: Case, sizes: Sizes) -> None:
    """Values and gradients as torch has them, whatever the strides."""
    module, plain = _pair(case)
    given = case.draw(sizes)
    for moved in (lambda x: x, lambda x: x.mT.contiguous().mT if x.dim() > 1 else x):
        runs = []
        for made in (module, plain):
            inputs = [moved(x).detach().requires_grad_(x.is_floating_point()) for x in given]
            leaves = [x for x in (*inputs, *made.parameters()) if x.requires_grad]
            ys = as_tuple(made(*inputs))
            found = torch.autograd.grad(sum(y.sum() for y in ys), leaves, allow_unused=True)  # type: ignore[arg-type]
            zeros = (torch.zeros_like(x) for x in leaves)
            runs.append((*ys, *(z if d is None else d for d, z in zip(found, zeros, strict=True))))
        _close(*runs)


for _each in CASES:
    if _each.ones and _each.file not in ("embedding", "conv2d"):
        CHECKS[f"all-ones-{_each.name}"] = lambda case=_each: _sized(case, dict.fromkeys(SMALL, 1))  # type: ignore[misc]
    CHECKS[f"no-batch-{_each.name}"] = lambda case=_each: _sized(case, {**SMALL, "b": 0})  # type: ignore[misc]
CHECKS["no-edges"] = lambda: _sized(case_of("CGConvolution"), {**SMALL, "e": 0})
CHECKS["one-atom"] = lambda: _sized(case_of("CGConvolution"), {**SMALL, "n": 1})


if __name__ == "__main__":
    main(CHECKS)
