"""Checks that run in Triton's interpreter, and the layers that they compare.

`python -m tests.interpreted_NAME [CHECK…]` with TRITON_INTERPRET=1 prints a JSON object: for every
check the traceback of its failure, or null.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from tests.example_cases import CASES, EXAMPLES, Case

Check: TypeAlias = Callable[[], None]


def into(checks: dict[str, Check]) -> Callable[[Check], Check]:
    """A decorator that enters checks under their names."""

    def enter(check: Check) -> Check:
        checks[check.__name__] = check
        return check

    return enter


def main(checks: Mapping[str, Check]) -> None:
    """Run those that the command line names, or all."""
    warnings.filterwarnings("error", message="the Triton kernels")
    chosen = sys.argv[1:] or list(checks)
    results: dict[str, str | None] = {}
    for name in chosen:
        try:
            torch.manual_seed(0)
            checks[name]()
            results[name] = None
        except Exception:
            results[name] = traceback.format_exc()
    print(json.dumps(results))


def in_a_process(module: str) -> Mapping[str, str | None]:
    """What every check of a module said: triton reads TRITON_INTERPRET when it is imported."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", module],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=EXAMPLES.parent,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: Mapping[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- building ------------------------------------------------------------------------------------
def case_of(layer: str, **hypers: object) -> Case:
    return next(c for c in CASES if c.layer == layer and hypers.items() <= c.hypers.items())


def module_of(case: Case, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    import tensorlang as tl

    module = getattr(tl.load(str(case.path), target="triton"), case.layer)(**case.hypers)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for param in module.parameters():
            param.copy_(torch.randn(param.shape, generator=generator, dtype=torch.float64) * 0.5)
    made: torch.nn.Module = module.to(dtype)
    return made


def layers_of(text: str, target: str = "triton") -> types.SimpleNamespace:
    """The layers of a spec given as text."""
    import tensorlang as tl

    folder = Path(tempfile.mkdtemp())
    (folder / "spec.tl").write_text(text)
    loaded = tl.load(str(folder / "spec.tl"), target=target)
    return types.SimpleNamespace(**{name: getattr(loaded, name) for name in loaded})


def names_of(module: torch.nn.Module) -> dict[str, Any]:
    """The namespace of the file that a module comes from."""
    for base in type(module).__mro__:
        names = vars(sys.modules[base.__module__])
        if "LAYERS" in names:
            return names
    raise AssertionError(type(module))


def kernel_count(module: torch.nn.Module) -> int:
    """How many kernels the file of a module holds."""
    return len(names_of(module).get("KERNELS", {}))


def as_tuple(x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def assert_agree(
    module: Callable[..., Tensor | tuple[Tensor, ...]],
    other: Callable[..., Tensor | tuple[Tensor, ...]],
    leaves: list[Tensor],
    rtol: float = 1e-9,
    atol: float = 1e-10,
) -> None:
    """Values and gradients of two functions of no arguments agree."""
    got, want = as_tuple(module()), as_tuple(other())
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g.to(w.dtype), w, rtol=rtol, atol=atol)
    weights = [torch.randn(w.shape, dtype=torch.float64) for w in want]
    grads = [
        torch.autograd.grad(
            sum((y * w.to(y.dtype)).sum() for y, w in zip(ys, weights, strict=True)),
            leaves,
            allow_unused=True,
        )
        for ys in (got, want)
    ]
    for g, w, leaf in zip(*grads, leaves, strict=True):
        zero = torch.zeros_like(leaf)
        torch.testing.assert_close(
            zero if g is None else g, zero if w is None else w, rtol=rtol, atol=atol
        )


def assert_precise(
    dtype: torch.dtype,
    exact: Iterable[Tensor],
    kernels: Iterable[Tensor],
    plain: Iterable[Tensor],
) -> None:
    """At most 3 times the error of plain torch in the same precision, plus a few roundings."""
    for want, got, peer in zip(exact, kernels, plain, strict=True):
        scale = float(want.abs().max()) + 1e-3
        error, other = (float((x.double() - want).abs().max()) / scale for x in (got, peer))
        assert error <= 3 * other + 16 * torch.finfo(dtype).eps, (dtype, error, other)
