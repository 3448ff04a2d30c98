"""The emitted file: header, imports, functions it needs, constants, a class per unit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from tensorlang.backends.torch.classes import class_text, docstring
from tensorlang.backends.torch.file import DIGEST, File
from tensorlang.backends.torch.layout import statement
from tensorlang.backends.torch.names import Names, one_underscore
from tensorlang.backends.torch.printed import FUNCTIONS
from tensorlang.backends.torch.steps import Foreign
from tensorlang.options import Options
from tensorlang.plan.plan import Plan, Region, Slot, Unit
from tensorlang.size import Size


class KernelPrinter(Protocol):
    """Prints regions whose backend is not "torch"; asked once per region, in order."""

    def imports(self) -> list[str]:
        """Import lines of the file."""
        ...

    def call(
        self,
        region: Region,
        plan: Plan,
        unit: Unit,
        value: Callable[[Slot], str],
        size: Callable[[Size], str],
        torch_function: str,
        sizes: Sequence[str],
    ) -> list[str]:
        """Statements that bind value(slot) for every output.

        `torch_function` computes the same from the region's inputs and then these sizes, which are
        local variables here.
        """
        ...

    def module_code(self) -> str:
        """Text before the classes, asked after all regions."""
        ...


def emit(
    units: Sequence[Unit], header: str, options: Options, kernels: KernelPrinter | None = None
) -> str:
    """The text of a Python module: one nn.Module per unit, callees first. Deterministic."""
    scope = Names(("functools", "Callable", "device", "dtype", "form", *FUNCTIONS))
    classes = {unit.class_name: scope.fresh(one_underscore(unit.class_name)) for unit in units}
    file = File(tuple(classes.values()))
    foreign: Foreign | None = None if kernels is None else kernels.call
    texts = [class_text(file, unit, classes, options, foreign) for unit in units]
    parts = [_function(name) for name in _BEFORE if name in file.functions]
    if file.constants:
        parts.append("\n".join(line for text in file.constants for line in _constant(text)))
    if kernels is not None and (code := kernels.module_code().strip("\n")):
        parts.append("\n" + code)
    parts += [f"\n{text}" for text in texts]
    functions = [name for name in FUNCTIONS if name in file.functions and name not in _BEFORE]
    parts += ["\n" + FUNCTIONS[name].strip("\n") for name in functions]
    parts += [f"\n{text}" for text in file.texts]
    parts += _own(file)
    listed = ", ".join(f"{name!r}: {classes[name]}" for name in classes)
    parts.append("\n" + "\n".join(statement(f"LAYERS = {{{listed}}}", 0)).replace("'", '"'))
    body = "\n\n".join(parts)
    body = body.replace(DIGEST, hashlib.sha256(body.encode()).hexdigest()[: len(DIGEST)])
    head = "\n".join(docstring(header.rstrip() + "\n", 0))
    return f"{head}\n\n{_imports(file, kernels, body)}\n\n{body}\n"


_BEFORE = ("_from_bytes", "_hadamard", "_sparse")
"""Functions that constants call when the file is loaded."""


def _own(file: File) -> list[str]:
    """Functions of the file, and the operators that use them."""
    return [f"\n{text}" for text in file.own]


def _function(name: str) -> str:
    return "\n" + FUNCTIONS[name].strip("\n")


def _constant(text: str) -> list[str]:
    """A constant's statement; long base64 is one string literal a line already."""
    if "\n" not in text:
        return statement(text, 0)
    head, *lines, tail = text.split("\n")
    last, _, rest = tail.rpartition('", (')
    literal = [*lines, last + '",']
    return [head, *(line[4:] for line in literal), f"    ({rest.rstrip(')')}", ")"]


def _imports(file: File, kernels: KernelPrinter | None, body: str) -> str:
    plain = sorted(line for line in file.imports if line.startswith("import "))
    froms = sorted(line for line in file.imports if line.startswith("from "))
    lines = ["from __future__ import annotations", ""]
    if plain or froms:
        lines += [*plain, *froms, ""]
    lines += ["import torch", "from torch import Tensor, nn"]
    if re.search(r"\bF\.", body):
        lines.append("from torch.nn import functional as F")
    more = [] if kernels is None else [line for line in kernels.imports() if line not in lines]
    return "\n".join([*lines, *more])
