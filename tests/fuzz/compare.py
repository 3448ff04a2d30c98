"""One program, every target, against the reference: values, and a directional derivative."""

from __future__ import annotations

import os
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
from tensorlang.size import evaluate as size_at
from tensorlang.verification import direction, relative_error, smooth
from tests.fuzz.programs import EMPTY

VALUES = 1e-9
SLOPES = 1e-5
CONVERGED = 1e-6  # what two steps of a central difference may differ by
Variant = Mapping[str, Any]


class Mismatch(Exception):
    """What went wrong with a program: `kind` stays the same while the program is shrunk."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


@dataclass(frozen=True)
class Case:
    """A program on one draw of sizes and values, and what the reference makes of it."""

    program: Program
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    want: tuple[Any, ...]

    @property
    def state(self) -> dict[str, Tensor]:
        return {key: torch.as_tensor(value) for key, value in self.params.items()}

    def values(self) -> dict[str | int, Tensor]:
        return {**self.state, **{k: torch.as_tensor(x) for k, x in enumerate(self.inputs)}}

    def reference(self, values: Mapping[str | int, Tensor]) -> tuple[Any, ...]:
        inputs = [values[k].numpy() for k in range(len(self.inputs))]
        return evaluate(self.program, inputs, {k: values[k].numpy() for k in self.params})

    def run(self, module: torch.nn.Module, at: Mapping[str | int, Tensor]) -> tuple[Tensor, ...]:
        inputs = tuple(at[k] for k in range(len(self.inputs)))
        out = functional_call(module, {k: at[k] for k in self.params}, inputs)
        return out if isinstance(out, tuple) else (out,)


def variants(seed: int) -> tuple[Variant, ...]:
    """Both targets, all rewrites off, some of them off."""
    names = list(rewrite_names())
    generator = np.random.default_rng([seed, 1])
    some = tuple(name for name in names if generator.random() < 0.4)
    return ({}, {"target": "triton"}, {"without": tuple(names)}, {"without": some})


def compare(text: str, seed: int, chosen: Sequence[Variant] | None = None) -> int:
    """Raise Mismatch unless every variant agrees with the reference on two draws of sizes.

    Returns how many of the draws could be compared.
    """
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if os.environ.get("TRITON_INTERPRET"):
            warnings.filterwarnings("error", message="the Triton kernels")  # that they do not run
        path = Path(folder) / "program.tl"
        path.write_text(text)
        modules = [(v, _load(path, v)) for v in chosen or variants(seed)]
        program = program_of(modules[0][1])
        compared = 0
        for _ in range(2):
            case = _case(program, generator, text.startswith(EMPTY))
            if case is not None:
                _compare_values(text, case, modules, generator)
                compared += 1
    return compared


def _load(path: Path, variant: Variant) -> torch.nn.Module:
    try:
        module: torch.nn.Module = tl.load(path, **variant).L()
    except tl.SpecError as error:
        codes = sorted({d.code for d in error.diagnostics})
        raise Mismatch(f"refused {codes}", f"the checker refuses it:\n{error}") from None
    except (
        Exception
    ) as error:  # any other is a bug of the compiler, to be reported with the program
        raise _broken("compiling", variant, error) from error
    return module.double().eval()


def _broken(doing: str, variant: Variant, error: Exception) -> Mismatch:
    kind = f"{doing} fails with {type(error).__name__}"
    return Mismatch(kind, f"{variant or 'torch'}: {str(error)[:2000]}")


def _case(program: Program, generator: np.random.Generator, empty: bool) -> Case | None:
    """Values for inputs and params; None where the drawn integers or matrices do not suit."""
    try:
        sizes = draw_sizes(program, generator, 5)
    except ValueError:
        return None
    if empty:
        none = {name: 0 if generator.random() < 0.5 else size for name, size in sizes.items()}
        if all(size_at(dim.size, none) >= 1 for dim in program.dims):
            sizes = none
    params = draw_params(program, generator)
    inputs = _with_batch(program, draw_inputs(program, sizes, generator), generator)
    try:
        want = evaluate(program, inputs, params)
    except (IndexError, np.linalg.LinAlgError):
        return None
    except Exception as error:  # as above
        raise _broken("evaluating the reference", {}, error) from error
    return Case(program, inputs, params, want)


def _with_batch(
    program: Program, inputs: tuple[Any, ...], generator: np.random.Generator
) -> tuple[Any, ...]:
    """The one axis of `...` as none, one or two axes."""
    choice = int(generator.integers(3))
    out = []
    for given, array in zip(program.inputs, inputs, strict=True):
        place = next((k for k, a in enumerate(given.axes) if a.indices[0].ellipsis), None)
        if place is not None:
            size = array.shape[place]
            batch = ((size,), (1, size), () if size == 1 else (size, 1))[choice]
            array = array.reshape(*array.shape[:place], *batch, *array.shape[place + 1 :])
        out.append(array)
    return tuple(out)


def _compare_values(
    text: str,
    case: Case,
    modules: Sequence[tuple[Variant, torch.nn.Module]],
    generator: np.random.Generator,
) -> None:
    values = case.values()
    shapes = [tuple(x.shape) for x in case.inputs]
    along = {k: direction(v, generator) for k, v in values.items() if smooth(v)}
    leaves = {k: v.clone().requires_grad_(k in along) for k, v in values.items()}
    weights = [torch.as_tensor(generator.standard_normal(np.shape(w))) for w in case.want]
    slope = None
    if "stopgrad" in text:  # no difference quotient knows it: variants are compared with each other
        slope = _slope(case.run(modules[-1][1], leaves), weights, leaves, along)
    else:
        slope = _reference_slope(case, values, along, weights)
    for variant, module in modules:
        where = f"{variant or 'torch'} on {shapes}"
        try:
            got = case.run(module, leaves)
        except Exception as error:  # as above
            raise _broken("running", variant, error) from error
        for name, g, w in zip(case.program.outputs, got, case.want, strict=True):
            error = relative_error(g.detach().resolve_conj().numpy(), np.asarray(w))
            if not error <= VALUES and not _sensitive(case, values, along):
                raise Mismatch("values", f"{where}: {name} is off by {error:.1e}")
        if slope is None:
            continue
        try:
            mine = _slope(got, weights, leaves, along)
        except Exception as error:  # as above
            raise _broken("running backward", variant, error) from error
        if not abs(mine - slope) <= SLOPES * max(1.0, abs(slope)):
            raise Mismatch("slope", f"{where}: slope {mine:.9g}, reference {slope:.9g}")


def _sensitive(
    case: Case, values: Mapping[str | int, Tensor], along: Mapping[str | int, Tensor]
) -> bool:
    """Whether roundings of the inputs move the reference: a jump or a pole lies near."""
    for step in (1e-14, -1e-14, 1e-12, -1e-12):
        moved = {k: v + step * along[k] if k in along else v for k, v in values.items()}
        try:
            outs = case.reference(moved)
        except (IndexError, np.linalg.LinAlgError):
            return True
        for y, w in zip(outs, case.want, strict=True):
            if not relative_error(np.asarray(y), np.asarray(w)) <= VALUES:
                return True
    return False


# --- the directional derivative of a random weighting of the outputs ------------------------------
def _slope(
    outputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    leaves: Mapping[str | int, Tensor],
    along: Mapping[str | int, Tensor],
) -> float:
    total = sum(
        ((y * w).real.sum() for y, w in zip(outputs, weights, strict=True)),
        torch.zeros((), dtype=torch.float64),
    )
    if not total.requires_grad:
        return 0.0
    grads = torch.autograd.grad(total, [leaves[k] for k in along], allow_unused=True)
    return sum(
        float((g.conj() * d).real.sum())
        for g, d in zip(grads, along.values(), strict=True)
        if g is not None
    )


def _reference_slope(
    case: Case,
    values: Mapping[str | int, Tensor],
    along: Mapping[str | int, Tensor],
    weights: Sequence[Tensor],
) -> float | None:
    """By central differences; None where they do not converge: a kink or a jump lies near."""
    if not along or not all(np.isfinite(np.asarray(w, complex)).all() for w in case.want):
        return None

    def total(step: float) -> float:
        moved = {k: v + step * along[k] if k in along else v for k, v in values.items()}
        outs = case.reference(moved)
        return float(sum((y * w.numpy()).real.sum() for y, w in zip(outs, weights, strict=True)))

    try:
        wide, narrow = ((total(h) - total(-h)) / (2 * h) for h in (1e-4, 5e-5))
        fine = (total(1e-6) - total(-1e-6)) / 2e-6
    except (IndexError, np.linalg.LinAlgError):
        return None
    slope = (4 * narrow - wide) / 3
    close = CONVERGED * max(1.0, abs(slope))
    return slope if abs(narrow - slope) <= 100 * close and abs(fine - slope) <= close else None
