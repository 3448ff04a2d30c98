"""Dense values for params that are stored as factors: decomposed, and what that cost reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorlang.check.program import Axis, Factored
from tensorlang.library.factorisation import Axes, Mode, Unfit
from tensorlang.library.fitting import Decomposed, decompose, decompose_within
from tensorlang.registry import factorisations
from tensorlang.requests import BadRequest, BadShape


@dataclass(frozen=True, slots=True)
class Fit:
    """How well factors stand for a dense tensor. `error` is relative, in the Frobenius norm."""

    factorisation: str
    shape: tuple[int, ...]
    ranks: tuple[int, ...]
    parameters: int
    error: float

    @property
    def dense_parameters(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        ranks = f" ranks {list(self.ranks)}" if self.ranks else ""
        part = self.parameters / max(1, self.dense_parameters)
        shape = " x ".join(map(str, self.shape))
        count = f"{self.parameters} of {self.dense_parameters} parameters ({part:.1%})"
        return f"{shape} as {self.factorisation}{ranks}: {count}, relative error {self.error:.3g}"


def decomposed(factored: Factored, dense: Any) -> tuple[dict[str, npt.NDArray[Any]], Fit]:
    """Factors of a dense tensor by key, at the param's ranks.

    Raises ValueError (BadShape) where the tensor has not the param's shape.
    """
    found = _found(factored, dense, within=False)
    values = {
        f"{factored.name}.{factor.name}": value
        for factor, value in zip(found.form.factors, found.factors, strict=True)
    }
    return values, _fit(factored, dense, found)


def ranks_for(factored: Factored, dense: Any) -> tuple[int, ...]:
    """The ranks that the param's `tol` needs for this tensor."""
    return _found(factored, dense, within=True).ranks


def axes_of(axes: Sequence[Axis]) -> Axes:
    """Axes of a bound program as the factorisations' rows take them."""
    return tuple(
        tuple(Mode(index.name, int(index.dim.size)) for index in axis.indices) for axis in axes
    )


def _found(factored: Factored, dense: Any, within: bool) -> Decomposed:
    row = factorisations()[factored.factorisation]
    axes = axes_of(factored.axes)
    values = np.asarray(dense)
    shape = tuple(prod(mode.size for mode in axis) for axis in axes)
    if values.shape != shape:
        raise BadShape(f"param {factored.name} has shape {shape}, given {values.shape}")
    if not np.isfinite(values).all():
        raise BadRequest(f"param {factored.name}: the values given are not all finite")
    arguments = dict(factored.arguments)
    try:
        if within:
            assert factored.tol is not None, factored
            return decompose_within(row, axes, values, factored.tol, arguments)
        return decompose(row, axes, values, factored.ranks or None, arguments)
    except Unfit as unfit:
        raise BadRequest(f"param {factored.name}: {unfit}") from None


def _fit(factored: Factored, dense: Any, found: Decomposed) -> Fit:
    return Fit(
        factored.factorisation,
        tuple(np.shape(dense)),
        found.ranks,
        found.form.parameters,
        found.error,
    )
