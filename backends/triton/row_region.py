"""A K5 region as text: its kernels, their operators, and the function over the region's inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    backward_definition,
    config_text,
    definition,
    extent_text,
    factor_text,
    fake_gradients,
    gathered,
    gradients_of,
    kernel_text,
    launch_text,
    operator,
    shape_text,
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
        op = f"{self.name}_forward_op"
        parts = [kernel_text(rows.forward)]
        if self.static:
            parts.append(f"{self.name.upper()} = {config_text(rows.forward.configs[0])}")
        parts += operator(op, names, self.sizes, *self._forward(), len(results))
        if rows.backward is not None:
            op = f"{self.name}_backward_op"
            given = [*names, *(f"G{r}" for r in results)]
            parts.append(kernel_text(rows.backward))
            parts += operator(op, given, self.sizes, *self._backward(), len(self.graded))
        return "\n\n\n".join(parts)

    # --- launches --------------------------------------------------------------------------------
    @property
    def static(self) -> bool:
        """Whether the length of a row is known now."""
        return len(self.rows.forward.configs) == 1

    def table(self, kernel: Kernel) -> str:
        """Configurations to check: by precision, the same for all."""
        config = kernel.configs[0] if self.static else kernel.configs[len(kernel.configs) // 2]
        return f'{{"half": {config_text(config)}}}'

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
            f"{r.name} = torch.empty({shape_text(rows.forward, r.name)}, dtype=dtype, "
            f"device={first}.device)"
            for r in rows.results
        ]
        make = [f"dtype = _common({', '.join(self.real)})", *made]
        run = [
            *make,
            f"choice = {self._chosen()}",
            launch_text(rows.forward, self.sizes, "choice"),
            f"return {', '.join(results)}",
        ]
        return [*make, f"return {', '.join(results)}"], run

    def _backward(self) -> tuple[list[str], list[str]]:
        rows = self.rows
        kernel = rows.backward
        assert kernel is not None
        run = [f"choice = {self._chosen()}"]
        sizes = list(self.sizes)
        if rows.persistent:
            total = self._extent("r")
            run += [
                f'row_blocks = -(-{factor_text(total)} // choice[0]["BR"])',
                f"P = torch.sym_max(1, torch.sym_min(row_blocks, {PROGRAMS}))",
                "SPAN = -(-row_blocks // P)",
            ]
            sizes += ["P", "SPAN"]
        for operand in self.graded:
            name = f"D{operand.name}"
            shape = shape_text(kernel, name)
            dtype = f"{operand.name}.dtype"
            if operand.gradient is not Gradient.DIRECT:
                dtype = f"_accumulator({dtype})"
            run.append(
                f"{name} = torch.empty({shape}, dtype={dtype}, device={operand.name}.device)"
            )
        run.append(launch_text(kernel, sizes, "choice"))
        run += [line for o in self.graded for line in self._gathered(o)]
        fake = fake_gradients([o.name for o in self.graded])
        return fake, [*run, fake[-1]]

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
            gives = gradients_of(region.inputs, [o.slot for o in self.graded])
            body = [
                f"{', '.join(made)} = {self.name}_backward_op({call})",
                f"return {gives}",
            ]
            parts.append(backward_definition(back, [*inputs, *grads], sizes, body))
        parts.append(
            f"{name}_function = _differentiable(\n    {name}_forward, {back}, "
            f"lambda *given: {torch_function}(*given), {len(rows.results)}, "
            "reads=False\n)"
        )
        limit = None
        if rows.space.whole and not self.static:
            lanes = [factor_text(size(rows.space.sizes[axis])) for axis in rows.space.lanes]
            limit = f"{' * '.join(lanes)} > {MOST_LANES}"
        parts.append(
            wrapper(name, arguments, inputs, region, torch_function, f"{name}_function", limit)
        )
        return "\n\n\n".join(parts)
