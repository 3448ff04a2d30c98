"""One program, every target, against the reference: values, and a directional derivative."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

import tensorlang as tl
from tensorlang.check.program import Program
from tensorlang.draw import draw_inputs, draw_params, draw_sizes
from tensorlang.module import program_of
from tensorlang.reference import evaluate
from tensorlang.rewrite.pipeline import names as rewrite_names
from tensorlang.verification import direction, relative_error, smooth

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"target": "triton"},
    {"without": tuple(rewrite_names())},
)
VALUES = 1e-8
SLOPES = 2e-4


@dataclass(frozen=True)
class Mismatch(Exception):
    """What went wrong with a program."""

    what: str

    def __str__(self) -> str:
        return self.what


def compare(text: str, seed: int, gradients: bool = True) -> None:
    """Raise Mismatch unless every variant agrees with the reference on two draws of sizes."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "program.tl"
        path.write_text(text)
        modules = [_load(path, variant) for variant in VARIANTS]
        program = program_of(modules[0])
        generator = np.random.default_rng(seed)
        for _ in range(2):
            _compare_at(program, modules, generator, gradients)


def _load(path: Path, variant: Mapping[str, Any]) -> torch.nn.Module:
    try:
        module: torch.nn.Module = tl.load(path, **variant).L()
    except tl.SpecError as error:
        raise Mismatch(f"the checker refuses it:\n{error}") from None
    except (
        Exception
    ) as error:  # any other is a bug of the compiler, to be reported with the program
        raise Mismatch(f"{variant}: compiling fails: {type(error).__name__}: {error}") from error
    return module.double().eval()


def _compare_at(
    program: Program,
    modules: Sequence[torch.nn.Module],
    generator: np.random.Generator,
    gradients: bool,
) -> None:
    sizes = draw_sizes(program, generator, 5)
    params = draw_params(program, generator)
    inputs = draw_inputs(program, sizes, generator)
    try:
        want = evaluate(program, inputs, params)
    except (IndexError, np.linalg.LinAlgError):
        return  # the drawn integers or matrices do not suit
    state = {key: torch.as_tensor(value) for key, value in params.items()}
    leaves = [torch.as_tensor(array) for array in inputs]
    for module, variant in zip(modules, VARIANTS, strict=True):
        where = f"{variant or 'torch'} at {sizes}"
        try:
            got = _tuple(functional_call(module, state, tuple(leaves)))
        except Exception as error:  # as above
            raise Mismatch(f"{where}: running fails: {type(error).__name__}: {error}") from error
        for name, g, w in zip(program.outputs, got, want, strict=True):
            if not np.isfinite(np.asarray(w, complex)).all():
                continue
            error = relative_error(g.detach().resolve_conj().resolve_neg().numpy(), w)
            if not error <= VALUES:
                raise Mismatch(f"{where}: {name} is off by {error:.1e}")
    if gradients and all(np.isfinite(np.asarray(w, complex)).all() for w in want):
        _compare_slopes(program, modules, state, leaves, generator, sizes)


def _compare_slopes(
    program: Program,
    modules: Sequence[torch.nn.Module],
    state: Mapping[str, Tensor],
    inputs: Sequence[Tensor],
    generator: np.random.Generator,
    sizes: Mapping[str, int],
) -> None:
    values = {**state, **{k: x for k, x in enumerate(inputs)}}
    along = {k: direction(v, generator) for k, v in values.items() if smooth(v)}
    at = {k: v.clone().requires_grad_(k in along) for k, v in values.items()}
    outs = [
        _tuple(
            functional_call(m, {k: at[k] for k in state}, tuple(at[k] for k in range(len(inputs))))
        )
        for m in modules
    ]
    weights = [torch.as_tensor(generator.standard_normal(y.shape)) for y in outs[0]]

    def total(ys: Sequence[Any]) -> Any:
        return sum((y * w).real.sum() for y, w in zip(ys, weights, strict=True))

    def reference(step: float) -> float:
        moved = {
            k: (v + step * along[k] if k in along else v).detach().numpy()
            for k, v in values.items()
        }
        ys = evaluate(program, [moved[k] for k in range(len(inputs))], {k: moved[k] for k in state})
        return float(total([torch.as_tensor(np.asarray(y)) for y in ys]))

    slopes = [(reference(h) - reference(-h)) / (2 * h) for h in (1e-5, 3e-6)]
    scale = max(1.0, abs(slopes[0]))
    if not abs(slopes[0] - slopes[1]) <= 1e-5 * scale:
        return  # a kink or a jump lies near
    for module, variant, ys in zip(modules, VARIANTS, outs, strict=True):
        del module
        loss = total(ys)
        if not (isinstance(loss, Tensor) and loss.requires_grad):
            continue
        keys = list(along)
        try:
            grads = torch.autograd.grad(loss, [at[k] for k in keys], allow_unused=True)
        except Exception as error:  # as above
            raise Mismatch(
                f"{variant or 'torch'}: running backward fails: {type(error).__name__}: {error}"
            ) from error
        slope = sum(
            float((g.conj() * along[k]).real.sum())
            for k, g in zip(keys, grads, strict=True)
            if g is not None
        )
        if not abs(slope - slopes[0]) <= SLOPES * scale:
            raise Mismatch(
                f"{variant or 'torch'} at {dict(sizes)}: slope {slope:.8g}, reference {slopes[0]:.8g}"
            )


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
