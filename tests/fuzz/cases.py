"""A program on a draw of sizes and values: what the reference makes of it, and its slopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from tensorlang.check.program import Program
from tensorlang.draw import draw_inputs, draw_params, draw_sizes
from tensorlang.reference import evaluate
from tensorlang.size import evaluate as size_at
from tests.fuzz.programs import EMPTY

CONVERGED = 1e-6  # what two steps of a central difference may differ by
Values = Mapping[str | int, Tensor]


class Mismatch(Exception):
    """What went wrong with a program: `kind` stays the same while the program is shrunk."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


def broken(doing: str, variant: Mapping[str, Any], error: Exception) -> Mismatch:
    """An exception that no program should see."""
    kind = f"{doing} fails with {type(error).__name__}"
    return Mismatch(kind, f"{variant or 'torch'}: {str(error)[:2000]}")


@dataclass(frozen=True)
class Case:
    """A program, inputs and params, and its results by the reference."""

    text: str
    program: Program
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    want: tuple[Any, ...]

    @property
    def stops(self) -> bool:
        """Whether gradients are stopped: no difference quotient knows it."""
        return "stopgrad" in self.text

    @property
    def state(self) -> dict[str, Tensor]:
        return {key: torch.as_tensor(value) for key, value in self.params.items()}

    def values(self) -> dict[str | int, Tensor]:
        return {**self.state, **{k: torch.as_tensor(x) for k, x in enumerate(self.inputs)}}

    def reference(self, values: Values) -> tuple[Any, ...]:
        inputs = [values[k].numpy() for k in range(len(self.inputs))]
        return evaluate(self.program, inputs, {k: values[k].numpy() for k in self.params})

    def run(self, module: torch.nn.Module, at: Values) -> tuple[Tensor, ...]:
        inputs = tuple(at[k] for k in range(len(self.inputs)))
        out = functional_call(module, {k: at[k] for k in self.params}, inputs)
        return out if isinstance(out, tuple) else (out,)


# --- draws ---------------------------------------------------------------------------------------
def draw_case(text: str, program: Program, generator: np.random.Generator) -> Case | None:
    """Values for inputs and params; None where the drawn integers or matrices do not suit."""
    try:
        sizes = draw_sizes(program, generator, 5)
    except ValueError:
        return None
    if text.startswith(EMPTY):
        none = {name: 0 if generator.random() < 0.5 else size for name, size in sizes.items()}
        if all(size_at(dim.size, none) >= 1 for dim in program.dims):
            sizes = none
    params = draw_params(program, generator)
    inputs = _with_batch(program, draw_inputs(program, sizes, generator), generator)
    try:
        want = evaluate(program, inputs, params)
    except (IndexError, np.linalg.LinAlgError):
        return None
    except Exception as error:  # any other is a bug, to be reported with the program
        raise broken("evaluating the reference", {}, error) from error
    return Case(text, program, inputs, params, want)


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


# --- the directional derivative of a weighting of the outputs ------------------------------------
def total(outputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    parts = ((y * w).real.sum() for y, w in zip(outputs, weights, strict=True))
    return sum(parts, torch.zeros((), dtype=torch.float64))


def slope(
    outputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    leaves: Values,
    along: Values,
    create_graph: bool = False,
) -> Tensor:
    """The derivative along a direction, by autograd."""
    y = total(outputs, weights)
    out = torch.zeros((), dtype=torch.float64)
    if not y.requires_grad:
        return out
    names = list(along)
    grads = torch.autograd.grad(
        y, [leaves[k] for k in names], allow_unused=True, create_graph=create_graph
    )
    parts = (
        (g.conj() * along[k]).real.sum() for k, g in zip(names, grads, strict=True) if g is not None
    )
    return sum(parts, out)


def difference_quotient(at: Callable[[float], float]) -> float | None:
    """The derivative of `at` at 0 by central differences; None where they do not converge: a kink
    or a jump lies near."""
    wide, narrow = ((at(h) - at(-h)) / (2 * h) for h in (1e-4, 5e-5))
    fine = (at(1e-6) - at(-1e-6)) / 2e-6
    found = (4 * narrow - wide) / 3
    close = CONVERGED * max(1.0, abs(found))
    return found if abs(narrow - found) <= 100 * close and abs(fine - found) <= close else None
