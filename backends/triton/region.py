"""What a family prints for one fused region, and the pieces of text that families share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlang.backends.triton.kernel_ir import Const, Expr, Kernel, Map, Ref
from tensorlang.plan.plan import Region
from tensorlang.size import Size

SizeText = Callable[[Size], str]
RegionText = Callable[[str, Region, Sequence[str], Sequence[str], SizeText, str], str]


@dataclass(frozen=True, slots=True)
class Printed:
    """`code` holds the kernels and their operators, the same for equal regions; `region` prints the
    function of one region over its inputs and sizes: (name, region, inputs, sizes, size text, name
    of the torch function). `tables` has the text of every kernel's configurations."""

    name: str
    kernels: tuple[Kernel, ...]
    code: str
    region: RegionText
    tables: dict[str, str]


def extent_text(expr: Expr) -> str:
    """An extent over run-time sizes as Python."""
    match expr:
        case Const(value):
            return str(value)
        case Ref(name):
            return name
        case Map("mul", (a, b)):
            return f"{extent_text(a)} * {extent_text(b)}"
    raise AssertionError(expr)


def with_blocks(grid: str, names: Sequence[str], choice: str) -> str:
    """A launch grid whose blocks come from a chosen configuration."""
    for name in names:
        grid = re.sub(rf"\b{name}\b", f'{choice}[0]["{name}"]', grid)
    return grid


def tuple_text(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def gathered(name: str, x: str, left: Sequence[int], axes: Sequence[int]) -> str:
    """The gradient of x in its own shape and dtype, from a tensor over the axes `left`: summed over
    those that x lacks."""
    lost = [str(k) for k, axis in enumerate(left) if axis not in axes]
    kept = [axis for axis in left if axis in axes]
    order = [kept.index(axis) for axis in axes]
    text = f"{name}.sum({tuple_text(lost)})" if lost else name
    if order != sorted(order):
        text += f".permute({', '.join(map(str, order))}).contiguous()"
    return f"{name} = {text}.reshape({x}.shape).to({x}.dtype)"


def wrapper(
    name: str,
    arguments: Sequence[str],
    inputs: Sequence[str],
    region: Region,
    torch_function: str,
    function: str,
    limit: str | None,
) -> str:
    """The function that a forward calls: kernels where they run, else torch."""
    results = len(region.outputs)
    kind = "Tensor" if results == 1 else "tuple[Tensor, ...]"
    typed = ", ".join(f"{a}: {'Tensor' if a in inputs else 'int'}" for a in arguments)
    given = ", ".join(arguments)
    test = f"not _kernels_run({inputs[0]})" + (f" or {limit}" if limit else "")
    pick = "[0]" if results == 1 else f"[:{results}]"
    return "\n".join(
        [
            f"def {name}({typed}) -> {kind}:",
            f'    """{region.backend}: {region.reason}."""',
            f"    if {test}:",
            f"        return _in_torch({torch_function}, {given})",
            f"    return {function}.apply({given}){pick}",
        ]
    )


def operator(name: str, tensors: Sequence[str], sizes: Sequence[str], results: int) -> str:
    """The registration of `{name}_run` with the fake `{name}_outputs`."""
    given = ", ".join([*(f"Tensor {t}" for t in tensors), *(f"SymInt {s}" for s in sizes)])
    made = "Tensor" if results == 1 else f"({', '.join(['Tensor'] * results)})"
    return (
        f'{name} = _operator(\n    "{name.lstrip("_")}", "({given}) -> {made}", '
        f"{name}_run, {name}_outputs\n)"
    )


def definition(
    name: str, tensors: Sequence[str], sizes: Sequence[str], body: Sequence[str], results: int
) -> str:
    """A function over tensors and then sizes."""
    typed = ", ".join([*(f"{t}: Tensor" for t in tensors), *(f"{s}: int" for s in sizes)])
    kind = "Tensor" if results == 1 else f"tuple[{', '.join(['Tensor'] * results)}]"
    return "\n".join([f"def {name}({typed}) -> {kind}:", *(f"    {line}" for line in body)])
