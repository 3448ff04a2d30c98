"""What a family prints for one fused region, and the pieces of text that families share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tensorlang.backends.triton.kernel_ir import Config, Const, Expr, Kernel, Map, Ref
from tensorlang.backends.triton.print import launch_grid, to_triton
from tensorlang.backends.triton.signature import blocks
from tensorlang.plan.plan import Region, Slot
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


def shape_text(kernel: Kernel, tensor: str) -> str:
    """The extents of a tensor as Python."""
    return tuple_text([extent_text(e) for e in kernel.tensor(tensor).extents])


def tuple_text(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def factor_text(text: str) -> str:
    """The text as a factor of a product."""
    return text if text.isidentifier() or text.isdigit() else f"({text})"


# --- kernels and their launches ------------------------------------------------------------------
def kernel_text(kernel: Kernel) -> str:
    """The kernel as a function of a module."""
    return to_triton(kernel).replace("@triton.jit", "@_jit")


def config_text(config: Config) -> str:
    """A configuration as the tuple (blocks, warps, stages)."""
    return repr((dict(config.blocks), config.warps, config.stages)).replace("'", '"')


def table_text(configs: Mapping[str, Config]) -> str:
    """Configurations by precision as a dict."""
    rows = [f'    "{key}": {config_text(config)},' for key, config in configs.items()]
    return "\n".join(["{", *rows, "}"])


def launch_text(
    kernel: Kernel, sizes: Sequence[str], choice: str, tensors: Sequence[str] = ()
) -> str:
    """The launch of a kernel with a chosen configuration, on its tensors as they are called or on
    others."""
    grid = launch_grid(kernel)
    for name in blocks(kernel):
        grid = re.sub(rf"\b{name}\b", f'{choice}[0]["{name}"]', grid)
    given = tuple_text(tensors or [t.name for t in kernel.tensors])
    return f"_launch({kernel.name}, {grid}, {given}, {tuple_text(sizes)}, {choice})"


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


def fake_gradients(names: Sequence[str]) -> list[str]:
    """Gradients without data, as their tensors are."""
    made = [f"D{x} = torch.empty({x}.shape, dtype={x}.dtype, device={x}.device)" for x in names]
    return [*made, f"return {', '.join(f'D{x}' for x in names)}"]


def gradients_of(slots: Sequence[Slot], graded: Sequence[Slot]) -> str:
    """The gradient of each slot as a tuple: the sum of those `d0, d1, …` that are its own."""
    found: dict[Slot, list[str]] = {}
    for k, slot in enumerate(graded):
        found.setdefault(slot, []).append(f"d{k}")
    return tuple_text([" + ".join(found.get(slot, ["None"])) for slot in slots])


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


def operator(
    name: str,
    tensors: Sequence[str],
    sizes: Sequence[str],
    fake: Sequence[str],
    run: Sequence[str],
    results: int,
) -> list[str]:
    """An operator over tensors and then sizes: what it makes without data, what it runs, and its
    registration."""
    return [
        definition(f"{name}_outputs", tensors, sizes, fake, results),
        definition(f"{name}_run", tensors, sizes, run, results),
        _registration(name, tensors, sizes, results),
    ]


def _registration(name: str, tensors: Sequence[str], sizes: Sequence[str], results: int) -> str:
    """`{name}_run` with the fake `{name}_outputs`."""
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
    kind = "Tensor" if results == 1 else f"tuple[{', '.join(['Tensor'] * results)}]"
    return _definition(name, tensors, sizes, body, kind)


def backward_definition(
    name: str, tensors: Sequence[str], sizes: Sequence[str], body: Sequence[str]
) -> str:
    """A function over tensors and then sizes that gives gradients."""
    return _definition(name, tensors, sizes, body, "tuple[Tensor | None, ...]")


def _definition(
    name: str, tensors: Sequence[str], sizes: Sequence[str], body: Sequence[str], kind: str
) -> str:
    typed = ", ".join([*(f"{t}: Tensor" for t in tensors), *(f"{s}: int" for s in sizes)])
    return "\n".join([f"def {name}({typed}) -> {kind}:", *(f"    {line}" for line in body)])
