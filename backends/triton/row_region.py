"""A K5 region as text: its kernels, their operators, and the function over the region's inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.print import blocks, launch_grid, to_triton
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    definition,
    extent_text,
    gathered,
    operator,
    tuple_text,
    with_blocks,
    wrapper,
)
from tensorlang.backends.triton.row_space import Gradient, Operand, spread
from tensorlang.backends.triton.rows import Rows, kernels
from tensorlang.dtype import Dtype
from tensorlang.plan.plan import Plan, Region, Step
from tensorlang.plan.rows import MOST_LANES, Space, space
from tensorlang.plan.slots import dtypes

PROGRAMS = 256


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one group of rows."""
    (regime,) = region.regimes
    steps = [step for step in regime.steps if isinstance(step, Step)]
    where = space(steps, frozenset(region.outputs))
    assert isinstance(where, Space), (where, region)
    rows = kernels(name, steps, where, region.outputs, dtypes(plan))
    text = _Text(rows, name)
    made = tuple(k for k in (rows.forward, rows.backward) if k is not None)
    tables = {kernel.name: text.table(kernel) for kernel in made}
    return Printed(name, made, text.code(), text.region, tables)


class _Text:
    def __init__(self, rows: Rows, name: str) -> None:
        self.rows = rows
        self.name = name
        self.sizes = [size for size, _ in rows.sizes]
        self.real = [o.name for o in rows.operands if o.dtype is Dtype.REAL]
        self.graded = [o for o in rows.operands if o.gradient is not None]

    def code(self) -> str:
        rows = self.rows
        names = [o.name for o in rows.operands]
        results = [r.name for r in rows.results]
        parts = [to_triton(rows.forward).replace("@triton.jit", "@_jit")]
        if self.static:
            parts.append(f"{self.name.upper()} = {self._choice(rows.forward)}")
        parts += self._operator("forward", names, results, self._forward())
        if rows.backward is not None:
            parts.append(to_triton(rows.backward).replace("@triton.jit", "@_jit"))
            grads = [f"G{r}" for r in results]
            made = [f"D{o.name}" for o in self.graded]
            parts += self._operator("backward", [*names, *grads], made, self._backward())
        return "\n\n\n".join(parts)

    # --- launches --------------------------------------------------------------------------------
    @property
    def static(self) -> bool:
        """Whether the length of a row is known now."""
        return len(self.rows.forward.configs) == 1

    def _choice(self, kernel: Kernel) -> str:
        (config,) = kernel.configs
        return repr((dict(config.blocks), config.warps, config.stages)).replace("'", '"')

    def table(self, kernel: Kernel) -> str:
        """Configurations to check: by precision, the same for all."""
        config = kernel.configs[0] if self.static else kernel.configs[len(kernel.configs) // 2]
        row = (dict(config.blocks), config.warps, config.stages)
        return "{" + f'"half": {row!r}'.replace("'", '"') + "}"

    def _operator(
        self,
        what: str,
        tensors: Sequence[str],
        results: Sequence[str],
        bodies: tuple[list[str], list[str]],
    ) -> list[str]:
        fake, run = bodies
        op = f"{self.name}_{what}_op"
        return [
            definition(f"{op}_outputs", tensors, self.sizes, fake, len(results)),
            definition(f"{op}_run", tensors, self.sizes, run, len(results)),
            operator(op, tensors, self.sizes, len(results)),
        ]

    def _chosen(self) -> str:
        if self.static:
            return self.name.upper()
        return f"_row_choice({self._extent('l')}, {bool(self.rows.space.rows)})"

    def _extent(self, axis: str) -> str:
        return extent_text(self.rows.forward.axis(axis).extent)

    def _forward(self) -> tuple[list[str], list[str]]:
        rows = self.rows
        results = [r.name for r in rows.results]
        first = self.real[0]
        made = [
            f"{r.name} = torch.empty({self._shape(rows.forward, r.name)}, dtype=dtype, "
            f"device={first}.device)"
            for r in rows.results
        ]
        make = [f"dtype = _common({', '.join(self.real)})", *made]
        tensors = tuple_text([t.name for t in rows.forward.tensors])
        sizes = f"({', '.join(self.sizes)}{',' if len(self.sizes) == 1 else ''})"
        grid = with_blocks(launch_grid(rows.forward), blocks(rows.forward), "choice")
        kernel = rows.forward.name
        run = [
            *make,
            f"choice = {self._chosen()}",
            f"_launch({kernel}, {grid}, {tensors}, {sizes}, choice)",
            f"return {', '.join(results)}",
        ]
        return [*make, f"return {', '.join(results)}"], run

    def _shape(self, kernel: Kernel, tensor: str) -> str:
        return tuple_text([extent_text(e) for e in kernel.tensor(tensor).extents] or [""]).replace(
            "(,)", "()"
        )

    def _backward(self) -> tuple[list[str], list[str]]:
        rows = self.rows
        kernel = rows.backward
        assert kernel is not None
        fake = [
            f"D{o.name} = torch.empty({o.name}.shape, dtype={o.name}.dtype, device={o.name}.device)"
            for o in self.graded
        ]
        run = [f"choice = {self._chosen()}"]
        sizes = list(self.sizes)
        if rows.persistent:
            total = self._extent("r")
            run += [
                f'row_blocks = -(-{_factor(total)} // choice[0]["BR"])',
                f"P = torch.sym_max(1, torch.sym_min(row_blocks, {PROGRAMS}))",
                "SPAN = -(-row_blocks // P)",
            ]
            sizes += ["P", "SPAN"]
        for operand in self.graded:
            name = f"D{operand.name}"
            shape = self._shape(kernel, name)
            dtype = f"{operand.name}.dtype"
            if operand.gradient is not Gradient.DIRECT:
                dtype = f"_accumulator({dtype})"
            run.append(
                f"{name} = torch.empty({shape}, dtype={dtype}, device={operand.name}.device)"
            )
        tensors = tuple_text([t.name for t in kernel.tensors])
        grid = with_blocks(launch_grid(kernel), blocks(kernel), "choice")
        given = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        run.append(f"_launch({kernel.name}, {grid}, {tensors}, {given}, choice)")
        run += [line for o in self.graded for line in self._gathered(o)]
        made = ", ".join(f"D{o.name}" for o in self.graded)
        return [*fake, f"return {made}"], [*run, f"return {made}"]

    def _gathered(self, operand: Operand) -> list[str]:
        """Sum what programs left apart; in the operand's own shape and dtype."""
        name, x = f"D{operand.name}", operand.name
        match operand.gradient:
            case Gradient.PARTIAL:
                return [gathered(name, x, (-1, *operand.axes), operand.axes)]
            case Gradient.SPREAD:
                return [gathered(name, x, spread(self.rows.space, operand), operand.axes)]
        return []

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
        rows = self.rows
        at = dict(zip(region.inputs, inputs, strict=True))
        operands = [at[o.slot] for o in rows.operands]
        extents = [size(value) for _, value in rows.sizes]
        given = ", ".join([*operands, *extents])
        arguments = [*inputs, *sizes]
        forward = definition(
            f"{name}_forward", inputs, sizes, [f"return {self.name}_forward_op({given})"],
            len(rows.results),
        )  # fmt: skip
        parts = [forward]
        back = "None"
        if rows.backward is not None and self.graded:
            back = f"{name}_backward"
            grads = [f"g{k}" for k in range(len(rows.results))]
            made = [f"d{k}" for k in range(len(self.graded))]
            call = ", ".join([*operands, *grads, *extents])
            by_slot: dict[int, list[str]] = {}
            for operand, d in zip(self.graded, made, strict=True):
                by_slot.setdefault(operand.slot, []).append(d)
            gives = [" + ".join(by_slot.get(slot, ["None"])) for slot in region.inputs]
            body = [
                f"{', '.join(made)} = {self.name}_backward_op({call})",
                f"return {tuple_text(gives)}",
            ]
            typed = ", ".join(
                [
                    *(f"{t}: Tensor" for t in (*inputs, *grads)),
                    *(f"{s}: int" for s in sizes),
                ]
            )
            lines = [f"def {back}({typed}) -> tuple[Tensor | None, ...]:"]
            parts.append("\n".join([*lines, *(f"    {line}" for line in body)]))
        parts.append(
            f"{name}_function = _differentiable(\n    {name}_forward, {back}, "
            f"lambda *given: {torch_function}(*given), {len(rows.results)}, "
            "reads=False\n)"
        )
        limit = None
        if rows.space.whole and not self.static:
            lanes = [_factor(size(rows.space.sizes[axis])) for axis in rows.space.lanes]
            limit = f"{' * '.join(lanes)} > {MOST_LANES}"
        parts.append(
            wrapper(name, arguments, inputs, region, torch_function, f"{name}_function", limit)
        )
        return "\n\n\n".join(parts)


def _factor(text: str) -> str:
    return text if text.isidentifier() or text.isdigit() else f"({text})"
