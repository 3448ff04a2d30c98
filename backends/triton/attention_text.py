"""An attention region as text: kernels, their operators, and the function over the region's inputs.

Operators take queries [b…, i, c], keys [b…, j, c] and values [b…, j, e] as views with any strides,
so attention along any axis needs no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlang.backends.triton.attention_parts import Attention
from tensorlang.backends.triton.attention_reading import Reading, indices_of
from tensorlang.backends.triton.configs import AttentionConfigs, padded
from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    backward_definition,
    config_text,
    definition,
    kernel_text,
    launch_text,
    operator,
    tuple_text,
    wrapper,
)
from tensorlang.ir.nodes import Read
from tensorlang.plan.plan import Attention as Planned
from tensorlang.plan.plan import Region, Slot


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor of the operators: where it is read, its rows and what a row holds, several indices
    as one. Without a read it is 1, with the dtype and the rows of `like`."""

    name: str
    read: Read | None
    rows: tuple[int, ...]
    row: tuple[int, ...]
    like: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """What K1 and K2 differ in: `kinds` gives the row of `configs` for a kernel by the end of its
    name, `lengths` binds the numbers of keys."""

    configs: AttentionConfigs
    kinds: Callable[[str], str]
    lengths: str


class Text:
    """The text of one attention; `made` are forward, delta and the kernels of the backward."""

    def __init__(
        self,
        family: Family,
        a: Planned,
        attention: Attention,
        reading: Reading,
        operands: Sequence[Operand],
        made: Sequence[Kernel],
    ) -> None:
        self.family = family
        self.a = a
        self.attention = attention
        self.reading = reading
        self.operands = operands
        self.name = attention.name
        self.forward, *self.backward = made
        self.made = made
        self.masks = [mask.name for mask in attention.masks]
        self.sizes = list(attention.sizes)
        self.batch = [f"B{k}" for k in range(attention.batch)]
        self.given = [operand.name for operand in operands]
        graded = attention.graded
        self.graded = [*self.given, *([] if graded is None else [graded.name])]
        self.whole = [*a.batch, *a.query, *a.value]
        self.order = tuple(range(len(a.batch) + 2))
        if len(a.value) == 1:
            self.order = tuple(self.whole.index(index) for index in a.out_axes)

    def printed(self) -> Printed:
        tables = {kernel.name: self.table(kernel) for kernel in self.made}
        return Printed(self.name, tuple(self.made), self.code(), self.region, tables)

    # --- kernels and operators -------------------------------------------------------------------
    def code(self) -> str:
        parts = []
        for kernel in self.made:
            parts.append(kernel_text(kernel))
            parts.append(f"{kernel.name.upper()} = {self.table(kernel)}")
        op, given = f"{self.name}_forward_op", [*self.given, *self.masks]
        parts += operator(op, given, self.sizes, self._outputs(), self._run_forward(), 2)
        op, given, grads = f"{self.name}_backward_op", [*given, "O", "L", "G"], len(self.graded)
        parts += operator(op, given, self.sizes, self._gradients(), self._run_backward(), grads)
        return "\n\n\n".join(parts)

    def table(self, kernel: Kernel) -> str:
        """The configurations of a kernel by precision."""
        what = self.family.kinds(kernel.name.removeprefix(f"{self.name}_"))
        width = max(padded(self.attention.features), padded(self.attention.values))
        rows = []
        for key, config in self.family.configs.table(what, width).items():
            row = "None"
            if config is not None:
                row = config_text(config)
            rows.append(f'    "{key}": {row},')
        return "\n".join(["{", *rows, "}"])

    def _shapes(self) -> list[str]:
        unpack = ", ".join([*self.batch, "N", "_"])
        return [f"{unpack} = Q.shape", self.family.lengths]

    def _outputs(self) -> list[str]:
        """O lies in memory as the plan wants it; L is contiguous."""
        extents = [*self.batch, "N", str(self.attention.values)]
        memory = tuple_text([extents[k] for k in self.order])
        inverse = [self.order.index(k) for k in range(len(extents))]
        moved = "" if inverse == sorted(inverse) else f".permute({', '.join(map(str, inverse))})"
        lse = tuple_text([*self.batch, "N"])
        return [
            f"{', '.join([*self.batch, 'N', '_'])} = Q.shape",
            f"O = torch.empty({memory}, dtype=Q.dtype, device=Q.device){moved}",
            f"L = torch.empty({lse}, dtype=_accumulator(Q.dtype), device=Q.device)",
            "return O, L",
        ]

    def _launch(self, kernel: Kernel) -> list[str]:
        sizes = ["0" if size == "ZERO" else size for size in kernel.sizes]
        return [
            f"choice = _choice({kernel.name.upper()}, Q.dtype, Q.device)",
            launch_text(kernel, sizes, "choice"),
        ]

    def _run_forward(self) -> list[str]:
        given = ", ".join([*self.given, *self.masks, *self.sizes])
        return [
            *self._shapes(),
            f"O, L = {self.name}_forward_op_outputs({given})",
            *self._launch(self.forward),
            "return O, L",
        ]

    def _made(self) -> tuple[str, str]:
        grads = ", ".join(f"D{name}" for name in self.graded)
        return grads, f"{grads} = {', '.join(f'torch.empty_like({name})' for name in self.graded)}"

    def _gradients(self) -> list[str]:
        grads, made = self._made()
        return [made, f"return {grads}"]

    def _run_backward(self) -> list[str]:
        grads, made = self._made()
        launches = [line for kernel in self.backward for line in self._launch(kernel)]
        return [*self._shapes(), made, "D = torch.empty_like(L)", *launches, f"return {grads}"]

    # --- the region ------------------------------------------------------------------------------
    def region(
        self,
        name: str,
        region: Region,
        inputs: Sequence[str],
        sizes: Sequence[str],
        size: SizeText,
        torch_function: str,
    ) -> str:
        at = dict(zip(region.inputs, inputs, strict=True))
        read = [(o, o.read, at[o.read.node]) for o in self.operands if o.read is not None]
        query = read[0][2]
        common = f"_common({', '.join(text for _, _, text in read)})"
        masks = [at[slot] for slot, _ in self.reading.masks]
        extents = [size(value) for value in self.reading.sizes.values()]
        given = ", ".join([*self.given, *masks, *extents])
        forward = [
            f"dtype = _low({common}, {query})",
            *self._views(at, size),
            f"O, L = {self.name}_forward_op({given})",
            f"return {self._result(size)}, L",
        ]
        given = ", ".join([*self.given, *masks, "O", "L", "G", *extents])
        unread = {f"D{o.name}" for o in self.operands if o.read is None}
        grads = ", ".join("_" if d in unread else d for d in (f"D{n}" for n in self.graded))
        backward = [
            "dtype = y.dtype",
            *self._views(at, size),
            f"O, G = {self._made_of('y')}, {self._made_of('g')}.to(dtype)",
            f"{grads} = {self.name}_backward_op({given})",
        ]
        gives: dict[Slot, list[str]] = {}
        for operand, taken, text in read:
            back = _back(self.a, operand, taken, size)
            gives.setdefault(taken.node, []).append(f"{back}.to({text}.dtype)")
        for (slot, _), mask in self.reading.masks.items():
            if mask == self.attention.graded:
                gives.setdefault(slot, []).append(f"D{mask.name}.to({at[slot]}.dtype)")
        results = [" + ".join(gives.get(slot, ["None"])) for slot in region.inputs]
        backward.append(f"return {tuple_text(results)}")
        arguments = [*inputs, "y", "L", "g"]
        parts = [
            definition(f"{name}_forward", inputs, sizes, forward, 2),
            backward_definition(f"{name}_backward", arguments, sizes, backward),
            f"{name}_function = _differentiable(\n    {name}_forward, {name}_backward, "
            f"lambda *given: {torch_function}(*given), 1, 1\n)",
            wrapper(
                name, [*inputs, *sizes], [query, *inputs], region, torch_function,
                f"{name}_function", self._unserved(f"_low({common}, {query})", query),
            ),
        ]  # fmt: skip
        return "\n\n\n".join(parts)

    def _result(self, size: SizeText) -> str:
        """What the plan wants, from O."""
        value = self.a.value
        text = "O"
        if len(value) > 1:
            text = f"O.unflatten(-1, {tuple_text([size(self.a.sizes[i]) for i in value])})"
        return permuted(text, [self.whole.index(index) for index in self.a.out_axes])

    def _made_of(self, text: str) -> str:
        """O, or what is laid out alike, from what the plan has."""
        out = list(self.a.out_axes)
        text = permuted(text, [out.index(index) for index in self.whole])
        return text if len(self.a.value) == 1 else f"{text}.flatten(-{len(self.a.value)})"

    def _unserved(self, dtype: str, query: str) -> str | None:
        """The test for a dtype that some kernel has no configuration for, None if there is none."""
        tests = [
            f"_choice({kernel.name.upper()}, {dtype}, {query}.device) is None"
            for kernel in self.made
            if ": None," in self.table(kernel)
        ]
        return " or ".join(tests) or None

    def _views(self, at: dict[Slot, str], size: SizeText) -> list[str]:
        out = []
        for operand in self.operands:
            if operand.read is None:
                like, width = operand.like, self.attention.values
                ones = f"{like}.new_ones({width}).expand(*{like}.shape[:-1], {width})"
                out.append(f"{operand.name} = {ones}")
                continue
            text = _view(self.a, at[operand.read.node], operand, operand.read, size)
            out.append(f"{operand.name} = _innermost({text}.to(dtype))")
        return out


def _view(a: Planned, text: str, operand: Operand, read: Read, size: SizeText) -> str:
    """The tensor with the operand's axes in their order, those that it lacks expanded."""
    wanted = (*a.batch, *operand.rows, *operand.row)
    have = indices_of(read)
    present = [index for index in wanted if index in have]
    text = permuted(text, [have.index(index) for index in present])
    if len(present) < len(wanted):
        for place, index in enumerate(wanted):
            if index not in have:
                text = f"{text}.unsqueeze({place})"
        shape = [size(a.sizes[i]) if i not in have else "-1" for i in wanted]
        text = f"{text}.expand({', '.join(shape)})"
    return text if len(operand.row) == 1 else f"{text}.flatten(-{len(operand.row)})"


def _back(a: Planned, operand: Operand, read: Read, size: SizeText) -> str:
    """The gradient of a tensor from that of its view."""
    text = f"D{operand.name}"
    wanted = (*a.batch, *operand.rows, *operand.row)
    if len(operand.row) > 1:
        text = f"{text}.unflatten(-1, {tuple_text([size(a.sizes[i]) for i in operand.row])})"
    have = indices_of(read)
    lost = [str(place) for place, index in enumerate(wanted) if index not in have]
    if lost:
        text = f"{text}.sum({tuple_text(lost)})"
    present = [index for index in wanted if index in have]
    return permuted(text, [present.index(index) for index in have])


def permuted(text: str, order: Sequence[int]) -> str:
    if list(order) == sorted(order):
        return text
    return f"{text}.permute({', '.join(map(str, order))})"
