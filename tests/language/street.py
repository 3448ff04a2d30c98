"""A short source through the whole street: reference, torch target, an independent expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import tensorlang as tl
from tensorlang.check.check import check_spec
from tensorlang.check.spec import spec_of_text
from tensorlang.module import LoadedSpec
from tensorlang.options import Options

Want = Callable[..., Any]


def source(text: str, hypers: str = "") -> str:
    """A file with one layer L from its statements, apart by `;`; whole files as they are."""
    if text.lstrip().startswith(("layer", "use", "def", "#")):
        return text
    lines = "".join(f"    {statement.strip()}\n" for statement in text.split(";"))
    return f"layer L({hypers}):\n{lines}"


def spec(text: str, hypers: str = "", files: dict[str, str] | None = None, **options: Any) -> Any:
    return LoadedSpec(spec_of_text(source(text, hypers), files=files or {}), Options(**options))


def layer(text: str, hypers: str = "", **bind: Any) -> Any:
    """The last layer of a file, in float64."""
    loaded = spec(text, hypers)
    torch.manual_seed(0)
    made: nn.Module = getattr(loaded, list(loaded)[-1])(**bind)
    return made.double()


def codes(
    text: str, hypers: str = "", files: dict[str, str] | None = None, **bind: Any
) -> list[str]:
    """Codes of all diagnostics; with hyperparameters the last layer is bound too."""
    try:
        checked = spec_of_text(source(text, hypers), files=files or {})
        found = check_spec(checked)
        if bind and not [d for d in found if d.code.startswith("E")]:
            getattr(LoadedSpec(checked, Options()), list(checked.layers)[-1])(**bind)
    except tl.SpecError as error:
        return [d.code for d in error.diagnostics]
    return [d.code for d in found]


def warm(*sizes: int, seed: int = 0) -> Tensor:
    """Random float64 values."""
    return torch.randn(sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def agree(
    text: str,
    inputs: Sequence[Any] = (),
    want: Want | None = None,
    *,
    hypers: str = "",
    slopes: bool = True,
    made: Any = None,
    **bind: Any,
) -> tuple[Any, ...]:
    """Compare the torch target with the reference and `want`, and its gradients with `want`'s.

    `want` gets the inputs, and the params as one dict where there are any. Without it gradients
    are compared with differences of the reference. Returns the target's outputs.
    """
    module = layer(text, hypers, **bind) if made is None else made
    given = [torch.as_tensor(x) for x in inputs]
    exact = several(tl.reference(module)(*given))
    leaves = [x.clone().requires_grad_() if _moves(x) else x for x in given]
    got = several(module(*leaves))
    assert len(got) == len(exact)
    for ours, theirs in zip(got, exact, strict=True):
        assert isinstance(ours, Tensor)
        assert tuple(ours.shape) == theirs.shape
        assert str(ours.dtype).removeprefix("torch.") == str(theirs.dtype), (ours.dtype, theirs)
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-11)
    params = dict(module.named_parameters())
    if want is not None:
        _compare(module, leaves, got, want, params, slopes)
    elif slopes:
        _differences(module, given, leaves, got)
    return got


def _moves(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


def _compare(
    module: Any,
    leaves: list[Tensor],
    got: tuple[Tensor, ...],
    want: Want,
    params: dict[str, Tensor],
    slopes: bool,
) -> None:
    frozen = {k: v for k, v in module.state_dict().items() if k not in params}
    theirs = several(want(*leaves, *([{**params, **frozen}] if params or frozen else [])))
    theirs = tuple(torch.as_tensor(y) for y in theirs)
    for a, b in zip(got, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, equal_nan=True)
    if not slopes:
        return
    free = [x for x in (*leaves, *params.values()) if x.requires_grad]
    ours, expected = (_slopes(ys, free) for ys in (got, theirs))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def _slopes(outputs: Sequence[Tensor], free: list[Tensor]) -> list[Tensor]:
    """Gradients of a random linear function of all outputs."""
    parts = [y for y in outputs if y.requires_grad]
    if not parts:
        return [torch.zeros_like(x) for x in free]
    seeds = [torch.randn(y.shape, dtype=y.dtype, generator=_seeded(k)) for k, y in enumerate(parts)]
    found = torch.autograd.grad(parts, free, seeds, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(free, found, strict=True)]


def _seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def _differences(
    module: Any, given: list[Tensor], leaves: list[Tensor], got: tuple[Tensor, ...]
) -> None:
    """The slope in one random direction of all real inputs, by differences of the reference."""
    moving = [k for k, x in enumerate(given) if x.is_floating_point()]
    outputs = [k for k, y in enumerate(got) if y.requires_grad and y.is_floating_point()]
    if not moving or not outputs:
        return
    seeds = [torch.randn(got[k].shape, dtype=got[k].dtype, generator=_seeded(k)) for k in outputs]
    free = [leaves[k] for k in moving]
    found = torch.autograd.grad(
        [got[k] for k in outputs], free, seeds, allow_unused=True, retain_graph=True
    )
    ways = [
        torch.randn(x.shape, dtype=x.dtype, generator=_seeded(9 + k)) for k, x in enumerate(free)
    ]
    slope = sum(float((g * w).sum()) for g, w in zip(found, ways, strict=True) if g is not None)

    def at(step: float) -> float:
        moved = list(given)
        for k, way in zip(moving, ways, strict=True):
            moved[k] = given[k] + step * way
        values = several(tl.reference(module)(*moved))
        return sum(
            float((values[k] * s.numpy()).sum()) for k, s in zip(outputs, seeds, strict=True)
        )

    step = 1e-5
    numeric = (at(step) - at(-step)) / (2 * step)
    assert abs(slope - numeric) <= 1e-6 * max(1.0, abs(numeric)), (slope, numeric)
