"""Run a layer of a spec on arrays from files or on random ones: the `run` command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tensorlang.check.program import Input, Program
from tensorlang.draw import draw_inputs, draw_sizes
from tensorlang.dtype import Dtype
from tensorlang.explanation import bind_shapes
from tensorlang.module import given_params, load, program_of
from tensorlang.reference import layer_function
from tensorlang.requests import BadRequest, shapes

Array = npt.NDArray[Any]


def run_layer(
    path: str,
    layer: str | None,
    bind: Mapping[str, Any],
    given: Sequence[str],
    *,
    target: str = "torch",
    seed: int = 0,
    reference: bool = False,
) -> dict[str, Array]:
    """Outputs by name. Each of `given` is INPUT=SHAPE or INPUT=FILE.npy; the rest is drawn.

    Parameters have their initial values under `seed`; those that are `~ given` are read from
    files too, PARAM=FILE.npy, those of sub-layers by their path, SUB.PARAM=FILE.npy. Raises
    BadRequest for names that don't exist.
    """
    spec = load(path, target=target)
    names = list(spec)
    if layer is None and len(names) != 1:
        raise BadRequest(f"choose one with --layer: {', '.join(names)}")
    chosen = layer or names[0]
    if chosen not in names:
        raise BadRequest(f"{path} has no layer {chosen}; it has {', '.join(names)}")
    nested = [value for value in bind.values() if isinstance(value, dict)]
    own = {k: v for k, v in bind.items() if not isinstance(v, dict)} | bind.get(chosen, {})
    if nested and chosen not in bind:
        raise BadRequest(f"--bind names a layer other than {chosen}")
    torch.manual_seed(seed)
    made = getattr(spec, chosen)
    values, given = _values(given_params(made), given)
    inside = [text for text in given if "." in text.partition("=")[0]]
    module = made(**own, **values)
    _supply(module, inside)
    _refuse_unset(module)
    program = program_of(module)
    given = [text for text in given if text not in inside]
    inputs = _inputs(program, given, np.random.default_rng(seed))
    results = layer_function(module)(*inputs) if reference else _run(module, inputs)
    results = results if isinstance(results, tuple) else (results,)
    return dict(zip(program.outputs, results, strict=True))


def _run(module: torch.nn.Module, inputs: Sequence[Array]) -> tuple[Array, ...]:
    real = next((p.dtype for p in module.parameters()), torch.get_default_dtype())
    tensors = []
    for array in inputs:
        tensor = torch.as_tensor(array)
        if tensor.is_floating_point():
            tensor = tensor.to(real.to_real())
        elif tensor.is_complex():
            tensor = tensor.to(real.to_complex())
        tensors.append(tensor)
    with torch.no_grad():
        made = module.eval()(*tensors)
    return tuple(
        y.resolve_conj().resolve_neg().numpy()
        for y in (made if isinstance(made, tuple) else (made,))
    )


def _values(params: Iterable[str], given: Sequence[str]) -> tuple[dict[str, Array], list[str]]:
    """Values of params `~ given`, and what is said of inputs."""
    asked = [text.partition("=") for text in given]
    values = {name: _read(path) for name, _, path in asked if name in params}
    return values, ["".join(parts) for parts in asked if parts[0] not in params]


def _supply(module: torch.nn.Module, given: Sequence[str]) -> None:
    """Values of params of sub-layers, each PATH=FILE.npy."""
    params = dict(module.named_parameters())
    for path, _, file in (text.partition("=") for text in given):
        if path not in params:
            inside = [name for name in params if "." in name]
            raise BadRequest(f"there is no param {path}; there are {', '.join(inside) or 'none'}")
        value = torch.as_tensor(_read(file))
        if value.shape != params[path].shape:
            found, wanted = tuple(value.shape), tuple(params[path].shape)
            raise BadRequest(f"{path} has shape {wanted}, the file has {found}")
        module.load_state_dict({path: value}, strict=False)


def _refuse_unset(module: torch.nn.Module) -> None:
    for path, layer in module.named_modules():
        for name in getattr(layer, "_unset", ()):
            whole = f"{path}.{name}" if path else name.partition(".")[0]
            raise BadRequest(f"param {whole} is ~ given: supply it as {whole}=FILE.npy")


def _inputs(
    program: Program, given: Sequence[str], generator: np.random.Generator
) -> tuple[Array, ...]:
    names = [tensor.name for tensor in program.inputs]
    arrays: dict[str, Array] = {}
    asked: dict[str, tuple[int, ...]] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in names:
            raise BadRequest(f"{program.layer} has no input {name}; it has {', '.join(names)}")
        if value.endswith(".npy"):
            arrays[name] = _of_kind(program.inputs[names.index(name)], _read(value))
            asked[name] = arrays[name].shape
        else:
            asked.update(shapes([text]))
    if asked and len(asked) < len(names):
        missing = [name for name in names if name not in asked]
        raise BadRequest(
            f"give {', '.join(missing)} too, or no input at all (sizes are drawn then)"
        )
    sizes = bind_shapes(program, asked) if asked else draw_sizes(program, generator)
    drawn = dict(zip(names, draw_inputs(program, sizes, generator), strict=True))
    return tuple(
        arrays[name] if name in arrays else drawn[name].reshape(asked.get(name, drawn[name].shape))
        for name in names
    )


_KINDS = {Dtype.REAL: "biuf", Dtype.COMPLEX: "biufc", Dtype.INT: "iu", Dtype.BOOL: "b"}


def _of_kind(given: Input, array: Array) -> Array:
    """The array as numbers of the input's kind. Raises BadRequest where that loses something."""
    if array.dtype.kind not in _KINDS[given.dtype]:
        raise BadRequest(f"{given.name} is {given.dtype.name.lower()}, the file has {array.dtype}")
    return array.astype(float) if given.dtype is Dtype.REAL else array


def _read(path: str) -> Array:
    if not Path(path).is_file():
        raise BadRequest(f"there is no file {path}")
    try:
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise BadRequest(f"{path} is no .npy file of numbers") from None
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "biufc":
        raise BadRequest(f"{path} is no .npy file of numbers")
    return loaded
