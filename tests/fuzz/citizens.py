"""What is asked of a module beside its values: vmap, tracing, export, second derivatives, kernels.

A module is compared with itself here: called sample by sample, untraced, by difference quotients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tensorlang.verification import direction, relative_error, smooth
from tests.fuzz.cases import Case, Mismatch, Values, difference_quotient, slope, total

EQUAL = 1e-9
CURVATURE = 1e-4
SAMPLES = 3
Draw = Callable[[], Case | None]


@dataclass(frozen=True)
class Check:
    """`run` raises Mismatch; `share` of the programs are asked."""

    share: float
    run: Callable[[torch.nn.Module, Case, Draw, np.random.Generator], None]


def _equal(got: Sequence[Tensor | None], want: Sequence[Tensor | None], what: str) -> None:
    for mine, peer in zip(got, want, strict=True):
        if mine is None or peer is None:  # a gradient that is 0
            given = mine if peer is None else peer
            error = 0.0 if given is None else float(given.abs().sum())
        else:
            pair = (x.detach().resolve_conj().resolve_neg().numpy() for x in (mine, peer))
            error = relative_error(*pair)
        if not error <= EQUAL:
            raise Mismatch(what, f"off by {error:.1e}")


def _weighting(outputs: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
    return [torch.as_tensor(rng.standard_normal(tuple(y.shape))) for y in outputs]


# --- vmap ----------------------------------------------------------------------------------------
def vmap(module: torch.nn.Module, case: Case, _: Draw, rng: np.random.Generator) -> None:
    """Some inputs and params batched, values and gradients: each sample is as if it were alone."""
    values = case.values()
    batched = {name: value for name, value in values.items() if rng.random() < 0.7} or values
    samples = [values, *({**values, **_redrawn(batched, rng)} for _ in range(SAMPLES - 1))]
    names = list(values)
    dims = tuple(0 if name in batched else None for name in names)
    stacked = [
        torch.stack([sample[name] for sample in samples]) if name in batched else values[name]
        for name in names
    ]

    def outputs(*given: Tensor) -> tuple[Tensor, ...]:
        return case.run(module, dict(zip(names, given, strict=True)))

    try:
        alone = [outputs(*sample.values()) for sample in samples]
    except (IndexError, torch.linalg.LinAlgError):
        return
    want = [torch.stack(parts) for parts in zip(*alone, strict=True)]
    _equal(torch.vmap(outputs, dims)(*stacked), want, "vmap: values")
    weights = _weighting(alone[0], rng)
    real = tuple(k for k, name in enumerate(names) if values[name].is_floating_point())

    def loss(*given: Tensor) -> Tensor:  # of every leaf, lest vmap find one unused
        return total(outputs(*given), weights) + sum(0 * given[k].sum() for k in real)

    if real:
        gradient = torch.func.grad(loss, real)
        alone = [gradient(*sample.values()) for sample in samples]
        want = [torch.stack(parts) for parts in zip(*alone, strict=True)]
        _equal(torch.vmap(gradient, dims)(*stacked), want, "vmap: gradients")


def _redrawn(values: Values, rng: np.random.Generator) -> dict[str | int, Tensor]:
    """Other reals, the integers and flags in another order: within the same bounds."""
    out = {}
    for name, value in values.items():
        if smooth(value):
            out[name] = direction(value, rng)
        else:
            order = torch.as_tensor(rng.permutation(value.numel()))
            out[name] = value.flatten()[order].reshape(value.shape)
    return out


# --- tracing -------------------------------------------------------------------------------------
def traced(module: torch.nn.Module, case: Case, another: Draw, rng: np.random.Generator) -> None:
    """torch.compile without graph breaks, at two draws of sizes, values and gradients."""
    torch._dynamo.reset()
    dynamic = [None, True][int(rng.integers(2))]
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for drawn in (case, another()):
        if drawn is None:
            continue
        module.load_state_dict(drawn.state)
        given = [torch.as_tensor(x) for x in drawn.inputs]
        given = [x.requires_grad_(smooth(x)) for x in given]
        leaves = [x for x in (*given, *module.parameters()) if x.requires_grad]
        got, want = (_tuple(run(*given)) for run in (compiled, module))
        _equal(got, want, "traced: values")
        weights = _weighting(want, rng)
        slopes = [_gradients(total(outputs, weights), leaves) for outputs in (got, want)]
        _equal(*slopes, "traced: gradients")


def exported(module: torch.nn.Module, case: Case, another: Draw, rng: np.random.Generator) -> None:
    """torch.export with every size free but those of 1, at two draws of sizes."""
    module.load_state_dict(case.state)
    given = tuple(torch.as_tensor(x) for x in case.inputs)
    free, fixed = torch.export.Dim.AUTO, torch.export.Dim.STATIC
    shapes = tuple(
        {k: free if size > 1 else fixed for k, size in enumerate(x.shape)} for x in given
    )
    program = torch.export.export(module, given, dynamic_shapes=shapes).module()
    _equal(_tuple(program(*given)), _tuple(module(*given)), "exported: values")
    other = another()
    if other is None or [np.ndim(x) for x in other.inputs] != [x.dim() for x in given]:
        return
    given = tuple(torch.as_tensor(x) for x in other.inputs)
    want = _tuple(module(*given))
    try:
        got = _tuple(program(*given))
    except AssertionError as error:
        if "Guard failed" in str(error):  # torch took a size for special: 0, 1 or a border
            return
        raise
    _equal(got, want, "exported: values at other sizes")


def _tuple(made: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return made if isinstance(made, tuple) else (made,)


def _gradients(total: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not total.requires_grad:
        return [None] * len(leaves)
    return torch.autograd.grad(total, leaves, allow_unused=True)


# --- second derivatives --------------------------------------------------------------------------
def curved(module: torch.nn.Module, case: Case, _: Draw, rng: np.random.Generator) -> None:
    """A second directional derivative against difference quotients of first ones."""
    if case.stops:
        return
    values = case.values()
    along, other = (
        {name: direction(value, rng) for name, value in values.items() if smooth(value)}
        for _ in range(2)
    )
    weights = [torch.as_tensor(rng.standard_normal(np.shape(w))) for w in case.want]

    @sdpa_kernel(SDPBackend.MATH)  # torch's fused attention has no second derivative
    def first(step: float, create_graph: bool = False) -> tuple[Tensor, dict[str | int, Tensor]]:
        moved = {k: v + step * other[k] if k in other else v for k, v in values.items()}
        leaves = {k: v.clone().requires_grad_(k in along) for k, v in moved.items()}
        return slope(case.run(module, leaves), weights, leaves, along, create_graph), leaves

    want = difference_quotient(lambda step: float(first(step)[0]))
    if want is None or not math.isfinite(want):
        return
    got, leaves = first(0.0, create_graph=True)
    second = slope((got,), [torch.ones(())], leaves, other) if got.requires_grad else got * 0
    if not abs(float(second) - want) <= CURVATURE * max(1.0, abs(want)):
        raise Mismatch("curvature", f"{float(second):.9g}, by difference quotients {want:.9g}")


# --- kernels -------------------------------------------------------------------------------------
def built(module: torch.nn.Module, case: Case, _: Draw, rng: np.random.Generator) -> None:
    """The kernels compile for a GPU that is not here, in one of the precisions."""
    from tensorlang.backends.triton.check import check

    compiled: Any = type(module)
    precision = ["half", "float", "double"][int(rng.integers(3))]
    for report in check(compiled._compiled.source, "sm_90", precision):
        if report.error:
            raise Mismatch("kernel", f"{report.name} in {precision}: {report.error}")


CHECKS: Mapping[str, Check] = {
    "vmap": Check(0.1, vmap),
    "traced": Check(0.01, traced),
    "exported": Check(0.02, exported),
    "curved": Check(0.1, curved),
    "built": Check(0.01, built),
}


def asked(seed: int, times: float = 1.0) -> tuple[str, ...]:
    """The checks of one program; `times` as many programs are asked each."""
    rng = np.random.default_rng([seed, 2])
    shares = {name: check.share for name, check in CHECKS.items()} | {"single": 0.1}
    return tuple(name for name, share in shares.items() if rng.random() < times * share)
