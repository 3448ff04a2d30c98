"""A K5 map-reduce region as text: its kernels, their operators, and the function of the region."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.map_reduce import MapReduce, configurations, kernels
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    backward_definition,
    definition,
    extent_text,
    fake_gradients,
    gathered,
    gradients_of,
    kernel_text,
    launch_text,
    operator,
    shape_text,
    table_text,
    wrapper,
)
from tensorlang.dtype import Dtype
from tensorlang.plan.map_reduce import MapSpace, map_space
from tensorlang.plan.plan import Plan, Region, Step
from tensorlang.plan.slots import dtypes

LONGEST_LANE = 32


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one group of maps and reductions."""
    (regime,) = region.regimes
    steps = [step for step in regime.steps if isinstance(step, Step)]
    where = map_space(steps, frozenset(region.outputs))
    assert isinstance(where, MapSpace), (where, region)
    made = kernels(name, steps, where, dtypes(plan))
    text = _Text(made, name)
    every = (made.forward, *made.backward)
    return Printed(name, every, text.code(), text.region, {k.name: text.table() for k in every})


class _Text:
    def __init__(self, made: MapReduce, name: str) -> None:
        self.made = made
        self.name = name
        self.sizes = [size for size, _ in made.sizes]
        self.real = [o.name for o in made.operands if o.dtype is Dtype.REAL]
        self.graded = [o for o in made.operands if o.grads is not None]
        self.results = [r.name for r in made.results]
        self.logs = [r.logs for r in made.results if r.logs is not None]

    # --- kernels and operators -------------------------------------------------------------------
    def code(self) -> str:
        made = self.made
        names = [o.name for o in made.operands]
        outputs = [*self.results, *self.logs]
        op = f"{self.name}_forward_op"
        parts = [kernel_text(made.forward), f"{self.name.upper()} = {self.table()}"]
        parts += operator(op, names, self.sizes, self._outputs(), self._run_forward(), len(outputs))
        if made.backward:
            op = f"{self.name}_backward_op"
            given = [*names, *self.logs, *(f"G{r}" for r in self.results)]
            parts += map(kernel_text, made.backward)
            fake = fake_gradients([o.name for o in self.graded])
            run, count = self._run_backward(), len(self.graded)
            parts += operator(op, given, self.sizes, fake, run, count)
        return "\n\n\n".join(parts)

    def table(self) -> str:
        """The configurations by precision, the same for all kernels of the group."""
        return table_text(configurations(self.made.axes.space))

    def _outputs(self) -> list[str]:
        first = self.real[0]
        shapes = {t.name: shape_text(self.made.forward, t.name) for t in self.made.forward.tensors}
        made = [
            f"{name} = torch.empty({shapes[name]}, dtype={dtype}, device={first}.device)"
            for name, dtype in (
                *((r, "dtype") for r in self.results),
                *((log, "_accumulator(dtype)") for log in self.logs),
            )
        ]
        results = ", ".join([*self.results, *self.logs])
        return [f"dtype = _common({', '.join(self.real)})", *made, f"return {results}"]

    def _run_forward(self) -> list[str]:
        *made, result = self._outputs()
        return [
            *made,
            *self._choose("dtype"),
            launch_text(self.made.forward, self.sizes, "choice"),
            result,
        ]

    def _choose(self, dtype: str) -> list[str]:
        chosen = f"_choice({self.name.upper()}, {dtype}, {self.real[0]}.device)"
        lane = self.made.axes.space.lane
        if lane is not None:
            chosen = f"_fitted({chosen}, {extent_text(self.made.axes.extent(lane))})"
        return [f"choice = {chosen}"]

    def _run_backward(self) -> list[str]:
        run = self._choose(f"_common({', '.join(self.real)})")
        after: list[str] = []
        for kernel in self.made.backward:
            for operand in self.graded:
                name, x = f"D{operand.name}", operand.name
                if name not in [t.name for t in kernel.tensors]:
                    continue
                dtype = f"{x}.dtype" if operand.direct else f"_accumulator({x}.dtype)"
                shape = shape_text(kernel, name)
                run.append(f"{name} = torch.empty({shape}, dtype={dtype}, device={x}.device)")
                if not operand.direct:
                    assert operand.grads is not None
                    after.append(gathered(name, x, operand.grads, operand.axes))
            run.append(launch_text(kernel, self.sizes, "choice"))
        return [*run, *after, f"return {', '.join(f'D{o.name}' for o in self.graded)}"]

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
        made = self.made
        at = dict(zip(region.inputs, inputs, strict=True))
        operands = [at[o.slot] for o in made.operands]
        extents = [size(value) for _, value in made.sizes]
        order = [[r.slot for r in made.results].index(slot) for slot in region.outputs]
        outputs = [f"y{k}" for k in range(len(order))]
        logs = [log.lower() for log in self.logs]
        every = ", ".join([*(f"y{order.index(k)}" for k in range(len(order))), *logs])
        call = f"{self.name}_forward_op({', '.join([*operands, *extents])})"
        body = [f"return {call}"]
        if order != sorted(order):
            body = [f"{every} = {call}", f"return {', '.join([*outputs, *logs])}"]
        results = len(outputs) + len(logs)
        parts = [definition(f"{name}_forward", inputs, sizes, body, results)]
        back = "None"
        if made.backward and self.graded:
            back = f"{name}_backward"
            grads = [f"g{order.index(k)}" for k in range(len(order))]
            given = ", ".join([*operands, *logs, *grads, *extents])
            gives = gradients_of(region.inputs, [o.slot for o in self.graded])
            seen = [*outputs, *logs] if logs else []
            tensors = [*inputs, *seen, *(f"g{k}" for k in range(len(order)))]
            found = ", ".join(f"d{k}" for k in range(len(self.graded)))
            body = [
                f"{found} = {self.name}_backward_op({given})",
                f"return {gives}",
            ]
            parts.append(backward_definition(back, tensors, sizes, body))
        reads = f"{len(outputs)}, {len(logs)}" if logs else f"{len(outputs)}, reads=False"
        parts.append(
            f"{name}_function = _differentiable(\n    {name}_forward, {back}, "
            f"lambda *given: {torch_function}(*given), {reads}\n)"
        )
        lane = made.axes.space.lane
        limit = None if lane is None else f"{size(made.axes.space.sizes[lane])} > {LONGEST_LANE}"
        arguments = [*inputs, *sizes]
        parts.append(
            wrapper(name, arguments, inputs, region, torch_function, f"{name}_function", limit)
        )
        return "\n\n\n".join(parts)
