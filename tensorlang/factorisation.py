"""Existing weights as factors: an nn.Linear, nn.Conv or nn.Embedding as a factorised layer, a
whole state_dict or file tensor by tensor.
"""

from __future__ import annotations

import fnmatch
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import opt_einsum
import torch
from torch import nn

from tensorlang.check.spec import spec_of_text
from tensorlang.dense_values import Fit
from tensorlang.factorised_layers import layer_text
from tensorlang.library.factorisation import Axes, Form, Mode, Unfit
from tensorlang.library.fitting import Decomposed, decompose, decompose_within
from tensorlang.module import LoadedSpec
from tensorlang.options import Options
from tensorlang.registry import factorisations
from tensorlang.requests import BadRequest

NAMES = ("o", "i", "u", "v", "w")
"""Names of a weight's axes, as torch orders them: outputs, inputs, kernel."""


def factorise(
    layer: nn.Module,
    form: str,
    *,
    rank: Any = None,
    ranks: Any = None,
    tol: float | None = None,
    shape: tuple[Sequence[int], Sequence[int]] | None = None,
    target: str = "torch",
    **arguments: int,
) -> nn.Module:
    """A layer whose weight is stored as factors, fitted to the layer's own.

    Takes nn.Linear, nn.Conv1d, Conv2d, Conv3d and nn.Embedding. `form` is a factorisation of the
    language; `rank` (or `ranks`) is an integer, a list or a ratio of parameters, `tol` a relative
    error. `shape` splits the two axes of a Linear for the matrix forms of tt, tr and kron:
    ((8, 8), (4, 16)). The result has `.factorisations["weight"]`: ranks, parameters and error.
    Raises TypeError for what cannot be factorised, SpecError for ranks that the weight cannot have.
    """
    rank = ranks if rank is None else rank
    clause = _clause(form, rank, tol, arguments)
    text, values = layer_text(layer, clause, shape)
    spec = LoadedSpec(spec_of_text(text, "<factorise>.tl"), Options(target=target))
    weight = values["weight"]
    made: nn.Module = spec.Factorised(**values, device=weight.device, dtype=weight.dtype)
    return made.train(layer.training)


def _clause(form: str, rank: Any, tol: float | None, arguments: Mapping[str, int]) -> str:
    """`tucker(ranks = [8, 8])`."""
    row = _row(form)
    if rank is not None and row.rank is None:
        raise BadRequest(f"{form} has no ranks")
    parts = {} if rank is None else {str(row.rank): rank}
    parts |= {} if tol is None else {"tol": tol}
    shown = [f"{name} = {_shown(value)}" for name, value in {**parts, **arguments}.items()]
    return f"{form}({', '.join(shown)})" if shown else form


def _row(form: str) -> Any:
    if form not in factorisations():
        known = ", ".join(factorisations())
        raise BadRequest(f"there is no factorisation {form!r}; there are {known}")
    return factorisations()[form]


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, list | tuple | int | float):
        raise BadRequest(f"a rank is an integer, a list of integers or a ratio, not {value!r}")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


# --- tensors of a state_dict ---------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Row:
    """What became of one tensor: its fit, FLOPs of one use of the weight, or why it was left."""

    name: str
    shape: tuple[int, ...]
    fit: Fit | None = None
    flops: int = 0
    left: str = ""

    @property
    def parameters(self) -> int:
        return prod(self.shape) if self.fit is None else self.fit.parameters

    @property
    def dense_flops(self) -> int:
        return 2 * prod(self.shape)


Progress = Callable[[str, int, int], None]
"""Called with a tensor's name, how many are done, how many there are."""


def factorise_state(
    state: Mapping[str, torch.Tensor],
    form: str,
    *,
    rank: Any = None,
    tol: float | None = None,
    match: str = "*",
    least: int = 4096,
    progress: Progress | None = None,
    **arguments: int,
) -> tuple[dict[str, torch.Tensor], list[Row]]:
    """Factors in place of the tensors of a state_dict: `a.weight` becomes `a.weight.o`, ….

    Takes the floating tensors with 2 to 5 axes and at least `least` numbers whose name matches the
    pattern `match`; the others stay. A tensor that would not get smaller stays too. Keys are those
    of the layers that `factorise` makes.
    """
    out: dict[str, torch.Tensor] = {}
    rows: list[Row] = []
    _row(form)
    for done, (name, tensor) in enumerate(state.items()):
        if progress is not None:
            progress(name, done, len(state))
        row, factors = _tensor(name, tensor, form, rank, tol, match, least, arguments)
        out.update(factors)
        if row is not None:
            rows.append(row)
    if progress is not None:
        progress("", len(state), len(state))
    return out, rows


def _tensor(
    name: str,
    tensor: torch.Tensor,
    form: str,
    rank: Any,
    tol: float | None,
    match: str,
    least: int,
    arguments: Mapping[str, int],
) -> tuple[Row | None, dict[str, torch.Tensor]]:
    shape = tuple(tensor.shape)
    fits = tensor.is_floating_point() and 2 <= tensor.ndim <= 5 and tensor.numel() >= least
    if not fits or not fnmatch.fnmatchcase(name, match):
        return None, {name: tensor}
    axes = tuple((Mode(n, size),) for n, size in zip(NAMES, shape, strict=False))
    values = tensor.detach().to("cpu", torch.float64).numpy()
    if not np.isfinite(values).all():
        return Row(name, shape, left="not all finite"), {name: tensor}
    try:
        found = _fitted(form, axes, values, rank, tol, arguments)
    except Unfit as unfit:
        return Row(name, shape, left=str(unfit)), {name: tensor}
    if found.form.parameters >= tensor.numel():
        return Row(name, shape, left="it would not get smaller"), {name: tensor}
    factors = {
        f"{name}.{factor.name}": torch.as_tensor(value).to(tensor.dtype).contiguous()
        for factor, value in zip(found.form.factors, found.factors, strict=True)
    }
    fit = Fit(form, shape, found.ranks, found.form.parameters, found.error)
    return Row(name, shape, fit, flops(found.form)), factors


def _fitted(
    form: str,
    axes: Axes,
    values: npt.NDArray[Any],
    rank: Any,
    tol: float | None,
    arguments: Mapping[str, int],
) -> Decomposed:
    row = _row(form)
    known = [name for name, _ in row.arguments]
    for name in arguments:
        if name not in known:
            raise BadRequest(f"{form} has no argument {name}")
    given: dict[str, int] = {}
    for name, default in row.arguments:
        value = arguments.get(name, default)
        if value is None:
            raise BadRequest(f"{form} needs {name}")
        given[name] = value
    if tol is not None:
        return decompose_within(row, axes, values, tol, given)
    rank = row.default if rank is None else rank
    if rank is None and row.rank is not None:
        raise BadRequest(f"{form} needs a rank or tol")
    return decompose(row, axes, values, tuple(rank) if isinstance(rank, list) else rank, given)


def flops(form: Form) -> int:
    """FLOPs of one use of the weight (a row of a Linear, a pixel of a convolution).

    That of the input (all axes but the first) with the factors in the best order of pairs, or of
    the dense product where that is less: the weight is formed once for all uses.
    """
    names = [mode.name for axis in form.axes for mode in axis]
    dense = 2 * prod(mode.size for axis in form.axes for mode in axis)
    if form.equal:
        return round(dense * form.density)
    if not all(isinstance(read, str) for factor in form.factors for read in factor.reads):
        return dense
    labels = {name: opt_einsum.get_symbol(k) for k, name in enumerate(names)}
    for bond in form.bonds:
        labels[bond.name] = opt_einsum.get_symbol(len(labels))
    rows = [mode.name for mode in form.axes[0]]
    inputs = [name for name in names if name not in rows]
    sizes = {mode.name: mode.size for axis in form.axes for mode in axis}
    terms = ["".join(labels[name] for name in inputs)]
    shapes = [tuple(sizes[name] for name in inputs)]
    for factor in form.factors:
        terms.append("".join(labels[read] for read in factor.reads if isinstance(read, str)))
        shapes.append(factor.shape)
    equation = f"{','.join(terms)}->{''.join(labels[name] for name in rows)}"
    _, info = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="dp")
    return min(dense, int(info.opt_cost))


# --- files ---------------------------------------------------------------------------------------
def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors file, or of what torch.save wrote of a state_dict."""
    if Path(path).suffix == ".safetensors":
        library = _safetensors()
        try:
            loaded: dict[str, torch.Tensor] = library.torch.load_file(str(path))
        except library.SafetensorError as error:
            raise BadRequest(f"{path}: {error}") from None
        return loaded
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadRequest(f"{path}: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BadRequest(f"{path} holds no state_dict")
    return state


def write_state(state: Mapping[str, torch.Tensor], path: str | Path, rows: Sequence[Row]) -> None:
    """Write a state_dict in the format that the name says; how each was factorised goes along."""
    if Path(path).suffix != ".safetensors":
        torch.save(dict(state), path)
        return
    notes = {row.name: str(row.fit) for row in rows if row.fit is not None}
    _safetensors().torch.save_file({k: v.contiguous() for k, v in state.items()}, str(path), notes)


def _safetensors() -> Any:
    try:
        import safetensors.torch  # an optional extra
    except ImportError:
        raise BadRequest(".safetensors files need:  pip install safetensors") from None
    return safetensors


def table(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Cells for a table: tensor, shape, ranks, parameters, FLOPs of one use, error."""
    for row in rows:
        shape = "x".join(map(str, row.shape))
        if row.fit is None:
            yield row.name, shape, "", str(prod(row.shape)), "", str(row.dense_flops), "", row.left
            continue
        fit = row.fit
        yield (
            row.name,
            shape,
            " ".join(map(str, fit.ranks)),
            str(fit.parameters),
            f"{fit.parameters / fit.dense_parameters:.3f}",
            str(row.flops),
            f"{row.flops / row.dense_flops:.3f}",
            f"{fit.error:.2e}",
        )


def total(rows: Sequence[Row]) -> tuple[str, ...]:
    """The last line of the table: all its tensors together."""
    dense = sum(prod(row.shape) for row in rows)
    parameters = sum(row.parameters for row in rows)
    uses = sum(row.dense_flops if row.fit is None else row.flops for row in rows)
    flops_ratio = f"{uses / max(1, 2 * dense):.3f}"
    return (
        "total",
        "",
        "",
        str(parameters),
        f"{parameters / max(1, dense):.3f}",
        str(uses),
        flops_ratio,
        "",
    )


def to_dict(row: Row) -> dict[str, Any]:
    """The same facts for `--format json`."""
    return {
        "tensor": row.name,
        "shape": list(row.shape),
        "factorisation": None if row.fit is None else row.fit.factorisation,
        "ranks": None if row.fit is None else list(row.fit.ranks),
        "parameters": row.parameters,
        "dense_parameters": prod(row.shape),
        "flops": row.dense_flops if row.fit is None else row.flops,
        "dense_flops": row.dense_flops,
        "error": None if row.fit is None else row.fit.error,
        "left": row.left,
    }


HEAD = ("tensor", "shape", "ranks", "parameters", "ratio", "flops a use", "ratio", "error")
