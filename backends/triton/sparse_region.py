"""A K3 region as text: its two kernels, their operators, and the function over its inputs."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    config_text,
    definition,
    extent_text,
    kernel_text,
    launch_text,
    operator,
    shape_text,
    tuple_text,
)
from tensorlang.backends.triton.sparse import Sparse, kernels
from tensorlang.plan.form import Form
from tensorlang.plan.fuse_sparse import constants
from tensorlang.plan.multiply_out import form
from tensorlang.plan.plan import Plan, Region, Step
from tensorlang.plan.slots import typed_shapes


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one multilinear form."""
    (regime,) = region.regimes
    steps = [step for step in regime.steps if isinstance(step, Step)]
    shapes = typed_shapes(plan)
    found = form(steps, constants(plan.leaves), shapes)
    assert isinstance(found, Form), (found, region)
    made = kernels(name, found, [shapes[operand.slot][0] for operand in found.operands])
    text = _Text(made, name)
    every = (made.forward, made.backward, *(made.ordered.kernels if made.ordered else ()))
    table = f'{{"half": {text.choice()}}}'
    return Printed(name, every, text.code(every), text.region, {k.name: table for k in every})


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

    def code(self, made: Sequence[Kernel]) -> str:
        given = [*self.operands, *self.positions]
        forward, backward = f"{self.name}_forward_op", f"{self.name}_backward_op"
        parts = [*map(kernel_text, made), f"{self.name.upper()} = {self.choice()}"]
        parts += operator(forward, given, self.sizes, *self._forward(), 1)
        parts += operator(backward, [*given, "G"], self.sizes, *self._backward(), self.count)
        parts.append(f"{self.name} = _multilinear({forward}, {backward}, {self.count})")
        return "\n\n\n".join(parts)

    def choice(self) -> str:
        (config,) = self.made.forward.configs
        return config_text(config)

    def _forward(self) -> tuple[list[str], list[str]]:
        shape = shape_text(self.made.forward, "Y")
        fake = [f"return torch.empty({shape}, dtype=X1.dtype, device=X1.device)"]
        run = []
        if self.made.ordered is not None and 0 in self.made.ordered.sums:
            run += ["if torch.are_deterministic_algorithms_enabled():"]
            run += [f"    {line}" for line in [*self._sums(0), "return Y"]]
        run += [self._new("Y", 0, shape, "X1"), self._launch(self.made.forward)]
        rounded = ".to(X1.dtype)" if self.space.atomic(0) else ""
        return fake, [*run, f"return Y{rounded}"]

    def _sums(self, operand: int) -> list[str]:
        """Sums in order: of the form, or of one gradient."""
        assert self.made.ordered is not None
        kernel = self.made.ordered.sums[operand]
        out, like = (f"D{operand}", f"X{operand}") if operand else ("Y", "X1")
        landing = self.space.landing(operand)
        assert landing is not None, operand
        rows = extent_text(kernel.axis("n").extent)
        full = self.space.full(operand)
        return [
            f"P, S = _landings({self.space.position_tensor(landing)}, {rows})",
            f"{out} = torch.{'empty' if full else 'zeros'}({shape_text(kernel, out)}, "
            f"dtype={like}.dtype, device={like}.device)",
            self._launch(kernel),
        ]

    def _backward(self) -> tuple[list[str], list[str]]:
        kernel = self.made.backward
        fake, run, results = [], [], []
        for k, (name, x) in enumerate(zip(self.gradients, self.operands, strict=True), 1):
            fake.append(f"{name} = torch.empty({x}.shape, dtype={x}.dtype, device={x}.device)")
            run.append(self._new(name, k, shape_text(kernel, name), x))
            lost = len(self.space.lost(k))
            result = (
                f"{name}.sum({tuple_text([str(axis) for axis in range(lost)])})" if lost else name
            )
            if lost or self.space.atomic(k):
                result += f".to({x}.dtype)"
            results.append(result)
        made = ", ".join(self.gradients)
        run += [self._launch(kernel), f"return {', '.join(results)}"]
        if self.made.ordered is not None:
            run = [*self._backward_in_order(results), *run]
        return [*fake, f"return {made}"], run

    def _backward_in_order(self, results: Sequence[str]) -> list[str]:
        ordered = self.made.ordered
        assert ordered is not None
        lines = ["if torch.are_deterministic_algorithms_enabled():"]
        made = []
        for k, (name, x) in enumerate(zip(self.gradients, self.operands, strict=True), 1):
            if k in ordered.sums:
                lines += [f"    {line}" for line in self._sums(k)]
                made.append(name)
            else:
                assert ordered.rest is not None, name
                lines.append(f"    {self._new(name, k, shape_text(ordered.rest, name), x)}")
                made.append(results[k - 1])
        if ordered.rest is not None:
            lines.append(f"    {self._launch(ordered.rest)}")
        return [*lines, f"    return {', '.join(made)}"]

    def _new(self, name: str, operand: int, shape: str, like: str) -> str:
        """A tensor for a kernel to write: zeros where it adds or leaves cells out."""
        atomic = self.space.atomic(operand)
        kind = "empty" if self.space.full(operand) and not atomic else "zeros"
        exact = atomic or self.space.lost(operand)
        dtype = f"_accumulator({like}.dtype)" if exact else f"{like}.dtype"
        return f"{name} = torch.{kind}({shape}, dtype={dtype}, device={like}.device)"

    def _launch(self, kernel: Kernel) -> str:
        return launch_text(kernel, self.sizes, self.name.upper())

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
        by_torch = atomic and self.made.ordered is None
        ordered = " or torch.are_deterministic_algorithms_enabled()" if by_torch else ""
        body = [
            f'"""{region.backend}: {region.reason}."""',
            f"if not _kernels_run({operands[0]}){ordered}:",
            f"    return {torch_function}({', '.join([*inputs, *sizes])})",
            f"dtype = _common({', '.join(dict.fromkeys(operands))})",
            f"return {self.name}({given})",
        ]
        return definition(name, inputs, sizes, body, 1)
