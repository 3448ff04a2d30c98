"""A K3 region as text: its two kernels, their operators, and the function over its inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.print import blocks, launch_grid, to_triton
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    definition,
    extent_text,
    operator,
    tuple_text,
    with_blocks,
)
from tensorlang.backends.triton.sparse import Sparse, kernels
from tensorlang.plan.fuse_sparse import constants
from tensorlang.plan.plan import Plan, Region, Step
from tensorlang.plan.slots import typed_shapes
from tensorlang.plan.sparse import Form, form


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one multilinear form."""
    (regime,) = region.regimes
    steps = [step for step in regime.steps if isinstance(step, Step)]
    shapes = typed_shapes(plan)
    found = form(steps, constants(plan.leaves), shapes)
    assert isinstance(found, Form), (found, region)
    made = kernels(name, found, [shapes[operand.slot][0] for operand in found.operands])
    text = _Text(made, name)
    both = (made.forward, made.backward)
    table = f'{{"half": {text.choice()}}}'
    return Printed(name, both, text.code(), text.region, {k.name: table for k in both})


class _Text:
    def __init__(self, made: Sparse, name: str) -> None:
        self.made = made
        self.space = made.space
        self.name = name
        self.sizes = list(made.space.sizes)
        self.count = len(made.form.operands) - 1
        self.operands = [f"X{k}" for k in range(1, self.count + 1)]
        self.positions = [made.space.position_tensor(picked) for picked in made.space.picks]
        self.gradients = [f"D{k}" for k in range(1, self.count + 1)]

    def code(self) -> str:
        given = [*self.operands, *self.positions]
        parts = []
        for kernel in (self.made.forward, self.made.backward):
            parts.append(to_triton(kernel).replace("@triton.jit", "@_jit"))
        parts.append(f"{self.name.upper()} = {self.choice()}")
        parts += self._operator("forward", given, ["Y"], self._forward())
        parts += self._operator("backward", [*given, "G"], self.gradients, self._backward())
        ops = f"{self.name}_forward_op, {self.name}_backward_op"
        parts.append(f"{self.name} = _multilinear({ops}, {self.count})")
        return "\n\n\n".join(parts)

    def choice(self) -> str:
        (config,) = self.made.forward.configs
        return repr((dict(config.blocks), config.warps, config.stages)).replace("'", '"')

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

    def _forward(self) -> tuple[list[str], list[str]]:
        shape = self._shape(self.made.forward, "Y")
        fake = [f"return torch.empty({shape}, dtype=X1.dtype, device=X1.device)"]
        run = [self._new("Y", 0, shape, "X1"), self._launch(self.made.forward)]
        rounded = ".to(X1.dtype)" if self.space.atomic(0) else ""
        return fake, [*run, f"return Y{rounded}"]

    def _backward(self) -> tuple[list[str], list[str]]:
        kernel = self.made.backward
        fake, run, results = [], [], []
        for k, (name, x) in enumerate(zip(self.gradients, self.operands, strict=True), 1):
            fake.append(f"{name} = torch.empty({x}.shape, dtype={x}.dtype, device={x}.device)")
            run.append(self._new(name, k, self._shape(kernel, name), x))
            lost = len(self.space.lost(k))
            result = (
                f"{name}.sum({tuple_text([str(axis) for axis in range(lost)])})" if lost else name
            )
            if lost or self.space.atomic(k):
                result += f".to({x}.dtype)"
            results.append(result)
        made = ", ".join(self.gradients)
        run += [self._launch(kernel), f"return {', '.join(results)}"]
        return [*fake, f"return {made}"], run

    def _new(self, name: str, operand: int, shape: str, like: str) -> str:
        """A tensor for a kernel to write: zeros where it adds or leaves cells out."""
        atomic = self.space.atomic(operand)
        kind = "empty" if self.space.full(operand) and not atomic else "zeros"
        exact = atomic or self.space.lost(operand)
        dtype = f"_accumulator({like}.dtype)" if exact else f"{like}.dtype"
        return f"{name} = torch.{kind}({shape}, dtype={dtype}, device={like}.device)"

    def _shape(self, kernel: Kernel, tensor: str) -> str:
        return tuple_text([extent_text(e) for e in kernel.tensor(tensor).extents])

    def _launch(self, kernel: Kernel) -> str:
        tensors = tuple_text([t.name for t in kernel.tensors])
        sizes = f"({', '.join(self.sizes)}{',' if len(self.sizes) == 1 else ''})"
        grid = with_blocks(launch_grid(kernel), blocks(kernel), self.name.upper())
        return f"_launch({kernel.name}, {grid}, {tensors}, {sizes}, {self.name.upper()})"

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
        operands = [at[operand.slot] for operand in self.made.form.operands[1:]]
        positions = [at[picked.slot] for picked in self.space.picks]
        extents = [size(value) for value in self.space.sizes.values()]
        given = ", ".join([*(f"{x}.to(dtype)" for x in operands), *positions, *extents])
        atomic = any(map(self.space.atomic, range(self.count + 1)))
        ordered = " or torch.are_deterministic_algorithms_enabled()" if atomic else ""
        body = [
            f'"""{region.backend}: {region.reason}."""',
            f"if not _kernels_run({operands[0]}){ordered}:",
            f"    return {torch_function}({', '.join([*inputs, *sizes])})",
            f"dtype = _common({', '.join(dict.fromkeys(operands))})",
            f"return {self.name}({given})",
        ]
        return definition(name, inputs, sizes, body, 1)
