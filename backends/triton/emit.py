"""The Triton target: the module of the torch target, its fused regions computed by kernels."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from tensorlang.backends import torch as torch_target
from tensorlang.backends.triton import (
    attention_region,
    chain_region,
    map_reduce_region,
    row_region,
    sparse_region,
    third_region,
)
from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.printed import HEAD, IMPORTS, LAUNCH
from tensorlang.backends.triton.printed_forms import MULTILINEAR
from tensorlang.backends.triton.region import Printed
from tensorlang.backends.triton.text import to_text
from tensorlang.backends.triton.tuned import Launch, launches, tuned
from tensorlang.backends.triton.validate import validate
from tensorlang.options import Options
from tensorlang.plan.plan import Plan, Region, Slot, Unit
from tensorlang.size import Size
from tensorlang.tune_file import Entry, read


def emit(units: Sequence[Unit], header: str, options: Options) -> str:
    """The text of a Python module: the torch target's, fused regions computed by kernels."""
    entries = () if options.tune is None else read(options.tune)
    printer = _Kernels(header, entries)
    text = torch_target.emit(units, header, options, printer)
    if options.tune is not None and not printer.used:
        warnings.warn(f"no kernel here is one of {options.tune}: tune again", stacklevel=2)
    return text


def tunable(units: Sequence[Unit], options: Options) -> tuple[Launch, ...]:
    """The launch constants of the module that `emit` makes, by the names that they have in it."""
    printer = _Kernels("")
    torch_target.emit(units, "", options, printer)
    return tuple(launch for printed in printer.made.values() for launch in launches(printed))


def kernels(units: Sequence[Unit], options: Options) -> str:
    """The kernel IR of all fused regions, as text."""
    printer = _Kernels("")
    texts = []
    for unit in units:
        for signature, plan in unit.plans.items():
            for region in plan.regions:
                if region.backend != "torch":
                    where = f"{unit.class_name}{f' as {signature}' if signature else ''}"
                    texts.append(f"# {where}: {region.backend}: {region.reason}")
                    texts += [to_text(kernel) for kernel in printer.kernels(region, plan)]
    return "\n\n".join(texts) + "\n" if texts else "# no fused region\n"


class _Family(Protocol):
    def __call__(self, region: Region, plan: Plan, name: str) -> Printed: ...


FAMILIES: dict[str, tuple[str, _Family]] = {
    "K1": ("attention", attention_region.printed),
    "K2": ("pairs", third_region.printed),
    "K3": ("form", sparse_region.printed),
    "K4": ("chain", chain_region.printed),
    "K5 map-reduce": ("map_reduce", map_reduce_region.printed),
    "K5": ("rows", row_region.printed),
}
"""By backend of a region: the word that its kernels are named by, and what prints them."""


class _Kernels:
    """The KernelPrinter of backends/torch/emit.py. Equal regions share their kernels."""

    def __init__(self, header: str, entries: Sequence[Entry] = ()) -> None:
        self.header = header
        self.entries = entries
        self.used: list[Entry] = []
        self.made: dict[str, Printed] = {}
        self.calls: list[str] = []

    def imports(self) -> list[str]:
        return list(IMPORTS) if self.calls else []

    def kernels(self, region: Region, plan: Plan) -> tuple[Kernel, ...]:
        return self._printed(region, plan).kernels

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
        printed = self._printed(region, plan)
        name = f"_region_{len(self.calls)}"
        inputs = [f"x{k}" for k in range(len(region.inputs))]
        renamed = {s: f"{s}_size" if _is_taken(s) else s for s in sizes}

        def here(value: Size) -> str:
            return re.sub(r"[^\W\d]\w*", lambda m: renamed.get(m[0], m[0]), size(value))

        own = list(renamed.values())
        self.calls.append(printed.region(name, region, inputs, own, here, torch_function))
        targets = ", ".join(value(slot) for slot in region.outputs)
        arguments = ", ".join([*(value(slot) for slot in region.inputs), *sizes])
        return [f"{targets} = {name}({arguments})"]

    def _printed(self, region: Region, plan: Plan) -> Printed:
        word, family = FAMILIES[region.backend]
        key = family(region, plan, "_").code
        number = sum(1 for p in self.made.values() if p.name.startswith(f"_{word}_"))
        name = self.made[key].name if key in self.made else f"_{word}_{number}"
        printed = family(region, plan, name)
        if key not in self.made:
            for kernel in printed.kernels:
                validate(kernel)
            if self.entries:
                printed, used = tuned(printed, self.entries)
                self.used += used
            self.made[key] = printed
        return printed

    def module_code(self) -> str:
        if not self.calls:
            return ""
        bodies = "\n\n\n".join([*(p.code for p in self.made.values()), *self.calls])
        digest = hashlib.sha256((self.header + bodies).encode()).hexdigest()[:16]
        table = "\n".join(["KERNELS = {", *_table(self.made.values()), "}"])
        namespace = f'_NAMESPACE = "tensorlang_{digest}"'
        multilinear = any(p.name.startswith("_form_") for p in self.made.values())
        launch = f"{LAUNCH}\n\n{MULTILINEAR}" if multilinear else LAUNCH
        return f"{HEAD}\n{namespace}\n\n\n{launch}\n\n{bodies}\n\n\n{table}\n"


def _is_taken(name: str) -> bool:
    """Whether the functions of a region use a name themselves."""
    return re.fullmatch(r"[xygd]\d*|[A-Z]+\d?|D[QKV]\d?|dtype|torch|given", name) is not None


def _table(printed: Iterable[Printed]) -> Iterator[str]:
    """What a checker needs to compile each kernel: its tensors, in order, and configurations."""
    for each in printed:
        for kernel in each.kernels:
            kinds = " ".join(f"{t.name}:{t.dtype.value}" for t in kernel.tensors)
            yield f'    "{kernel.name}": ({kernel.name}, "{kinds}", {each.tables[kernel.name]}),'
