"""Measures launch configurations of a layer's kernels on the GPU at hand, for a tune file.

Every kernel is timed inside calls of the layer, forward and backward; candidates take turns.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tensorlang.backends.triton.emit import tunable
from tensorlang.backends.triton.kernel_ir import Config
from tensorlang.backends.triton.tuned import Launch, choose
from tensorlang.check.program import Program
from tensorlang.draw import draw_inputs
from tensorlang.driver import Compiled
from tensorlang.measurement import points
from tensorlang.module import execute
from tensorlang.requests import BadRequest
from tensorlang.tune_file import ANY, Entry

ROUNDS = 9
Run = Callable[[Launch, str, Config], float | None]
"""Seconds of a launch's kernels in one call with a configuration; None where that cannot run."""


def refuse_without_gpu() -> None:
    """Raise BadRequest where there is nothing to measure on."""
    if not torch.cuda.is_available():
        raise BadRequest("tune measures kernels on a GPU, and torch finds none here")


def tune(
    compiled: Compiled, shapes: Mapping[str, Sequence[int]], dtype: str = "float32"
) -> list[Entry]:
    """Entries for all kernels of the one layer that was compiled, at these shapes of its inputs.

    Raises BadRequest where there is no GPU, or the layer has no kernels.
    """
    refuse_without_gpu()
    (layer,) = compiled.roots
    found = tunable(compiled.units, compiled.options)
    if not found:
        raise BadRequest(f"{layer} has no kernel whose configuration is fixed when it is compiled")
    program = compiled.stages[compiled.roots[layer], ""].program
    (sizes,) = points(compiled, layer, shapes, {})
    missing = [dim.name for dim in program.dynamic if dim.name not in sizes]
    if missing:
        raise BadRequest(f"seconds are of given sizes: {', '.join(missing)} is open; give shapes")
    emitted = execute(compiled, layer, {})
    real = getattr(torch, dtype)
    made: nn.Module = emitted.LAYERS[compiled.roots[layer]](device="cuda", dtype=real)
    made.load_state_dict(
        {key: 0.1 * torch.randn_like(value) for key, value in made.named_parameters()},
        strict=False,
    )
    call = _call(made, _inputs(program, sizes, real))
    precision = {"float32": "float", "float64": "double"}.get(dtype, "half")
    chip = emitted._chip(torch.device("cuda"))
    run = runner(emitted, call, chip, _mark)
    return entries(found, precision, chip, run, arch(), version("triton"))


def entries(
    found: Sequence[Launch], precision: str, chip: str, run: Run, arch: str, triton: str
) -> list[Entry]:
    """The fastest configuration of each constant, as `run` measures them."""
    out: dict[str, Entry] = {}
    for launch in found:
        key, _ = launch.row(precision, chip)

        def times(
            candidates: Sequence[Config], launch: Launch = launch, key: str = key
        ) -> list[float]:
            return medians(candidates, lambda config: run(launch, key, config))

        best = None if launch.digest in out else choose(launch, precision, chip, times)
        if best is not None:
            names = tuple(kernel.name for kernel in launch.kernels)
            out[launch.digest] = Entry(
                launch.digest, names, key, arch, triton, best.blocks, best.warps, best.stages
            )
    return list(out.values())


def medians(
    candidates: Sequence[Config], run: Callable[[Config], float | None], rounds: int = ROUNDS
) -> list[float]:
    """The median seconds of each, in turns; inf for those that cannot run."""
    seconds: dict[Config, list[float]] = {c: [] for c in candidates if run(c) is not None}
    for _ in range(rounds):
        for config, own in seconds.items():
            taken = run(config)
            own.append(math.inf if taken is None else taken)
    return [statistics.median(seconds.get(config, [math.inf])) for config in candidates]


def arch() -> str:
    """The chip as a tune file names it: sm_90, gfx942."""
    if torch.version.hip is not None:
        name: str = torch.cuda.get_device_properties(0).gcnArchName
        return name.split(":")[0]
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"


# --- calls ---------------------------------------------------------------------------------------
def runner(
    emitted: ModuleType, call: Callable[[], object], chip: str, mark: Callable[[], Any]
) -> Run:
    """Times launches inside calls. `mark` records an event, as those of torch.cuda."""
    from triton.errors import TritonError  # only where kernels run

    def run(launch: Launch, key: str, config: Config) -> float | None:
        row = (dict(config.blocks), config.warps, config.stages)
        with _with_row(emitted, launch.constant, key, chip, row):
            try:
                with _timed(emitted, {k.name for k in launch.kernels}, mark) as taken:
                    call()
            except (TritonError, RuntimeError):  # too large for this chip
                return None
        for _, end in taken:
            end.synchronize()
        milliseconds: float = sum(start.elapsed_time(end) for start, end in taken)
        return 1e-3 * milliseconds if taken else None

    return run


@contextmanager
def _with_row(
    emitted: ModuleType, constant: str, key: str, chip: str, row: object
) -> Iterator[None]:
    """The module with another configuration."""
    before = getattr(emitted, constant)
    changed = row if key == ANY else {**before, f"{key} {chip}": row}
    setattr(emitted, constant, changed)
    try:
        yield
    finally:
        setattr(emitted, constant, before)


def _mark() -> Any:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


@contextmanager
def _timed(
    emitted: ModuleType, names: set[str], mark: Callable[[], Any]
) -> Iterator[list[tuple[Any, Any]]]:
    """Events before and after each launch of these kernels."""
    taken: list[tuple[Any, Any]] = []
    launch = emitted._launch

    def timed(kernel: Any, *arguments: Any) -> None:
        if kernel.__name__ not in names:
            launch(kernel, *arguments)
            return
        start = mark()
        launch(kernel, *arguments)
        taken.append((start, mark()))

    emitted._launch = timed  # type: ignore[attr-defined]
    try:
        yield taken
    finally:
        emitted._launch = launch  # type: ignore[attr-defined]


def _inputs(program: Program, sizes: Mapping[str, int], real: torch.dtype) -> list[Tensor]:
    out = []
    for array in draw_inputs(program, sizes, np.random.default_rng(0)):
        tensor = torch.as_tensor(array, device="cuda")
        if tensor.is_floating_point():
            tensor = tensor.to(real).requires_grad_()
        elif tensor.is_complex():
            tensor = tensor.to(real.to_complex()).requires_grad_()
        out.append(tensor)
    return out


def _call(made: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], object]:
    """One forward and backward pass."""

    def call() -> None:
        results = made(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        graded = [y for y in results if y.requires_grad]
        if graded:
            torch.autograd.backward(graded, [torch.ones_like(y) for y in graded])

    return call
