"""Compare every target of a spec with the reference evaluator: values and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from tensorlang.draw import draw_inputs, draw_params, draw_sizes
from tensorlang.driver import chosen_layers, layer_binds
from tensorlang.module import load, program_of
from tensorlang.reference import evaluate

TARGETS = ("torch", "triton")
VALUE_TOLERANCE = 1e-9
GRADIENT_TOLERANCE = 1e-5  # of central differences of the reference


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison: the largest error relative to the largest value of the reference."""

    layer: str
    target: str
    what: str
    error: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.error <= self.allowed


@dataclass(frozen=True, slots=True)
class Report:
    """All comparisons of one spec; `ok` if each is within what it is allowed."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "findings": [{**asdict(f), "ok": f.ok} for f in self.findings]}

    def __str__(self) -> str:
        return "\n".join(
            f"{f.layer} {f.target} {f.what}: error {f.error:.1e}, allowed {f.allowed:.0e}"
            f"{'' if f.ok else '  WRONG'}"
            for f in self.findings
        )


def verify(
    path: str | Path,
    bind: Mapping[str, Any] | None = None,
    layers: Iterable[str] | None = None,
    targets: Sequence[str] = TARGETS,
    seed: int = 0,
) -> Report:
    """Run every layer of a spec in float64 on three draws of small sizes, by every target.

    Values are compared with the reference evaluator, directional derivatives with its central
    differences. Raises SpecError if the spec is wrong.
    """
    findings: list[Finding] = []
    for target in targets:
        spec = load(path, target=target)
        binds = layer_binds(spec.__spec__, chosen_layers(spec.__spec__, layers), bind or {})
        for layer, hypers in binds.items():
            module = getattr(spec, layer)(**hypers).double().eval()
            findings += _compare(module, layer, target, np.random.default_rng(seed))
    return Report(tuple(findings))


def _compare(
    module: torch.nn.Module, layer: str, target: str, generator: np.random.Generator
) -> list[Finding]:
    program = program_of(module)
    value = gradient = 0.0
    for _ in range(3):
        params = draw_params(program, generator)
        state = {key: torch.as_tensor(array) for key, array in params.items()}
        inputs = draw_inputs(program, draw_sizes(program, generator), generator)
        leaves = [torch.as_tensor(array) for array in inputs]
        want = evaluate(program, inputs, params)
        got = _tuple(functional_call(module, state, tuple(leaves)))
        value = max(
            value,
            *(
                relative_error(g.detach().resolve_conj().resolve_neg().numpy(), w)
                for g, w in zip(got, want, strict=True)
            ),
        )
        gradient = max(gradient, _slope_error(module, state, leaves, generator))
    return [
        Finding(layer, target, "values", value, VALUE_TOLERANCE),
        Finding(layer, target, "gradients", gradient, GRADIENT_TOLERANCE),
    ]


def _slope_error(
    module: torch.nn.Module,
    state: Mapping[str, Tensor],
    inputs: Sequence[Tensor],
    generator: np.random.Generator,
) -> float:
    """Derivative of a random weighting of the outputs along a random direction, both ways."""
    program = program_of(module)
    names = [*state, *range(len(inputs))]
    values = dict(zip(names, [*state.values(), *inputs], strict=True))
    leaves = {k: v.clone().requires_grad_() for k, v in values.items() if smooth(v)}
    along = {k: direction(v, generator) for k, v in leaves.items()}
    at = {**values, **leaves}
    got = _tuple(
        functional_call(module, {k: at[k] for k in state}, tuple(at[k] for k in range(len(inputs))))
    )
    weights = [torch.as_tensor(generator.standard_normal(y.shape)) for y in got]
    total = sum(((y * w).real.sum() for y, w in zip(got, weights, strict=True)), torch.zeros(()))
    if not leaves or not total.requires_grad:
        return 0.0
    slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    slope = sum(
        float((g.conj() * along[k]).real.sum())
        for k, g in zip(leaves, slopes, strict=True)
        if g is not None
    )

    def reference_at(step: float) -> float:
        moved = {
            k: (v + step * along[k] if k in along else v).detach().numpy()
            for k, v in values.items()
        }
        out = evaluate(
            program, [moved[k] for k in range(len(inputs))], {k: moved[k] for k in state}
        )
        return float(sum((y * w.numpy()).real.sum() for y, w in zip(out, weights, strict=True)))

    step = 1e-5
    expected = (reference_at(step) - reference_at(-step)) / (2 * step)
    return abs(slope - expected) / max(1.0, abs(expected))


def direction(value: Tensor, generator: np.random.Generator) -> Tensor:
    """A random tensor of the shape and kind of `value`."""
    drawn = torch.as_tensor(generator.standard_normal((2, *value.shape)))
    return torch.complex(drawn[0], drawn[1]) if value.is_complex() else drawn[0]


def smooth(value: Tensor) -> bool:
    """Whether one can differentiate by it."""
    return value.is_floating_point() or value.is_complex()


def relative_error(got: Any, want: Any) -> float:
    """Largest difference relative to the largest value of `want` (at least 1); equal NaNs agree."""
    if want.size == 0:
        return 0.0 if got.shape == want.shape else np.inf
    if got.shape != want.shape:
        return np.inf
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    difference = np.where(
        same, 0, np.abs(np.subtract(got, want, dtype=np.result_type(got, want, float)))
    )
    finite = (
        np.abs(want[np.isfinite(want)]) if want.dtype.kind in "fc" else np.abs(want.astype(float))
    )
    scale = max(1.0, float(finite.max(initial=0.0)))
    return float(difference.max() / scale)


def _tuple(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
