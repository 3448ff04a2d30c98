"""One program, every target, against the reference: values, and a directional derivative."""

from __future__ import annotations

import copy
import functools
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tensorlang as tl
from tensorlang.module import program_of
from tensorlang.rewrite.pipeline import names as rewrite_names
from tensorlang.verification import direction, relative_error, smooth
from tests.fuzz.cases import Case, Mismatch, Values, broken, difference_quotient, draw_case, slope
from tests.fuzz.citizens import CHECKS

VALUES = 1e-9
SLOPES = 1e-5
SINGLE = 1e-5
Variant = Mapping[str, Any]


def variants(seed: int) -> tuple[Variant, ...]:
    """Both targets, all rewrites off, some of them off."""
    names = list(rewrite_names())
    generator = np.random.default_rng([seed, 1])
    some = tuple(name for name in names if generator.random() < 0.4)
    last: dict[str, Any] = {"without": some, "index_checks": bool(generator.random() < 0.7)}
    if generator.random() < 0.2:
        last["memory"] = 10**5
    if generator.random() < 0.2:
        last["profile"] = "h100"
    return ({}, {"target": "triton"}, {"without": tuple(names)}, last)


def compare(
    text: str, seed: int, chosen: Sequence[Variant] | None = None, checks: Sequence[str] = ()
) -> int:
    """Raise Mismatch unless every variant agrees with the reference on two draws of sizes.

    Further checks, those that `citizens` names and "single" (float32), are made of the first draw,
    of the first two variants.
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
            case = draw_case(text, program, generator)
            if case is None:
                continue
            _compare_values(case, modules, generator)
            if not compared:
                if "single" in checks:
                    _compare_single(case, modules, generator)
                for variant, module in modules[:2]:
                    _check(case, variant, module, checks, seed)
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
        raise broken("compiling", variant, error) from error
    return module.double().eval()


def _compare_values(
    case: Case, modules: Sequence[tuple[Variant, torch.nn.Module]], generator: np.random.Generator
) -> None:
    values = case.values()
    shapes = [tuple(x.shape) for x in case.inputs]
    along = {k: direction(v, generator) for k, v in values.items() if smooth(v)}
    leaves = {k: v.clone().requires_grad_(k in along) for k, v in values.items()}
    weights = [torch.as_tensor(generator.standard_normal(np.shape(w))) for w in case.want]
    wanted: float | None = None
    if case.stops:  # variants are compared with each other
        wanted = float(slope(case.run(modules[-1][1], leaves), weights, leaves, along))
    else:
        wanted = _reference_slope(case, values, along, weights)
    for variant, module in modules:
        where = f"{variant or 'torch'} on {shapes}"
        try:
            got = case.run(module, leaves)
        except Exception as error:  # as above
            raise broken("running", variant, error) from error
        for name, g, w in zip(case.program.outputs, got, case.want, strict=True):
            error = relative_error(g.detach().resolve_conj().numpy(), np.asarray(w))
            if not error <= VALUES and not _sensitive(case, values, along):
                raise Mismatch("values", f"{where}: {name} is off by {error:.1e}")
        if wanted is None:
            continue
        try:
            mine = float(slope(got, weights, leaves, along))
        except Exception as error:  # as above
            raise broken("running backward", variant, error) from error
        if not abs(mine - wanted) <= SLOPES * max(1.0, abs(wanted)):
            raise Mismatch("slope", f"{where}: slope {mine:.9g}, reference {wanted:.9g}")


def _check(
    case: Case, variant: Variant, module: torch.nn.Module, checks: Sequence[str], seed: int
) -> None:
    for name in checks:
        if name == "single":  # of all variants together
            continue
        generator = np.random.default_rng([seed, 3])
        another = functools.partial(draw_case, case.text, case.program, generator)
        try:
            CHECKS[name].run(module, case, another, generator)
        except Mismatch as found:
            where = f"{variant or 'torch'} on {[tuple(x.shape) for x in case.inputs]}"
            raise Mismatch(found.kind, f"{where}: {found}") from None
        except Exception as error:  # as above
            raise broken(name, variant, error) from error


def _compare_single(
    case: Case, modules: Sequence[tuple[Variant, torch.nn.Module]], generator: np.random.Generator
) -> None:
    """In float32: results of that dtype, three times as far off as those of the last variant."""
    values = case.values()
    along = {k: direction(v, generator) for k, v in values.items() if smooth(v)}
    kinds = {torch.float64: torch.float32, torch.complex128: torch.complex64}
    rounded = {k: v.to(kinds.get(v.dtype, v.dtype)) for k, v in values.items()}
    errors = []
    for variant, module in modules:
        try:
            got = case.run(copy.deepcopy(module).float(), rounded)
        except Exception as error:  # as above
            raise broken("running in float32", variant, error) from error
        for name, y, w in zip(case.program.outputs, got, case.want, strict=True):
            full = torch.as_tensor(w).dtype
            if y.dtype is not kinds.get(full, full):
                raise Mismatch("float32: dtype", f"{variant or 'torch'}: {name} is {y.dtype}")
        arrays = (y.detach().resolve_conj().numpy() for y in got)
        found = (relative_error(y, np.asarray(w)) for y, w in zip(arrays, case.want, strict=True))
        errors.append(max(found, default=0.0))
    for (variant, _), error in zip(modules, errors, strict=True):
        allowed = 3 * max(errors[-1], SINGLE)
        if not error <= allowed and not _sensitive(case, values, along, 1e-6, allowed / 10):
            where = f"{variant or 'torch'} on {[tuple(x.shape) for x in case.inputs]}"
            raise Mismatch("float32", f"{where}: off by {error:.1e}, allowed {allowed:.1e}")


def _sensitive(
    case: Case, values: Values, along: Values, most: float = 1e-12, allowed: float = VALUES
) -> bool:
    """Whether roundings of the inputs move the reference: a jump or a pole lies near."""
    for step in (most / 100, -most / 100, most, -most):
        moved = {k: v + step * along[k] if k in along else v for k, v in values.items()}
        try:
            outs = case.reference(moved)
        except (IndexError, np.linalg.LinAlgError):
            return True
        for y, w in zip(outs, case.want, strict=True):
            if not relative_error(np.asarray(y), np.asarray(w)) <= allowed:
                return True
    return False


def _reference_slope(
    case: Case, values: Values, along: Values, weights: Sequence[torch.Tensor]
) -> float | None:
    """By central differences; None where they do not converge."""
    if not along or not all(np.isfinite(np.asarray(w, complex)).all() for w in case.want):
        return None

    def at(step: float) -> float:
        moved = {k: v + step * along[k] if k in along else v for k, v in values.items()}
        outs = case.reference(moved)
        return float(sum((y * w.numpy()).real.sum() for y, w in zip(outs, weights, strict=True)))

    try:
        return difference_quotient(at)
    except (IndexError, np.linalg.LinAlgError):
        return None
