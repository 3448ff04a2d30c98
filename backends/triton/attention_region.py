"""A K1 region as text: its kernels, their operators, and the function over the region's inputs.

Operators take queries [b…, i, c], keys [b…, j, c] and values [b…, j, e] as views with any strides,
so attention along any axis needs no copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorlang.backends.triton.attention import kernels
from tensorlang.backends.triton.attention_parts import Attention, Mask
from tensorlang.backends.triton.build import call, integer
from tensorlang.backends.triton.configs import ATTENTION, padded
from tensorlang.backends.triton.kernel_ir import (
    Cast,
    Const,
    DType,
    Expr,
    Iota,
    Kernel,
    Load,
    Ref,
)
from tensorlang.backends.triton.print import blocks, launch_grid, to_triton
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    definition,
    operator,
    tuple_text,
    with_blocks,
    wrapper,
)
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Lit, Pointwise, Read, Scalar, SizeOf
from tensorlang.ir.nodes import Iota as Position
from tensorlang.plan.plan import Attention as Planned
from tensorlang.plan.plan import AttentionStep, Plan, Region, Slot, Step
from tensorlang.plan.slots import dtypes
from tensorlang.size import Size


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one attention."""
    (regime,) = region.regimes
    (step,) = (s for s in regime.steps if isinstance(s, AttentionStep))
    conditions = {s.out: s for s in regime.steps if isinstance(s, Step)}
    read = _Reading(step.attention, dtypes(plan))
    condition = read.condition(conditions)
    a = step.attention
    widths = [a.sizes[a.feature[0]], a.sizes[a.value[0]]]
    assert all(isinstance(width, int) for width in widths), a
    attention = Attention(
        name,
        len(a.batch),
        int(widths[0]),
        int(widths[1]),
        a.scale,
        condition,
        tuple(read.masks.values()),
        tuple(read.sizes),
    )
    made = kernels(attention)
    text = _Text(a, attention, read, made)
    return Printed(name, made, text.code(), text.region, {k.name: text.table(k) for k in made})


class _Reading:
    """Turns the mask of a planned attention into a condition over kernel positions."""

    def __init__(self, a: Planned, kinds: Mapping[Slot, Dtype]) -> None:
        self.a = a
        self.kinds = kinds
        self.names = {index: f"b{k}" for k, index in enumerate(a.batch)}
        self.names |= {a.query[0]: "i", a.key[0]: "j"}
        self.extents: dict[int, Expr] = {index: Ref(f"B{k}") for k, index in enumerate(a.batch)}
        self.extents |= {a.query[0]: Ref("N"), a.key[0]: Ref("M")}
        self.masks: dict[tuple[Slot, tuple[int, ...]], Mask] = {}
        self.sizes: dict[str, Size] = {}

    def condition(self, steps: Mapping[Slot, Step]) -> Expr | None:
        mask = self.a.mask
        if mask is None:
            return None
        indices = _indices(mask)
        if mask.node not in steps:
            return self.load(mask.node, indices)
        node = steps[mask.node].node
        assert isinstance(node.op, Pointwise), node
        at = dict(enumerate(indices))
        return self.scalar(node.op.expr, node.reads, at)

    def load(self, slot: Slot, indices: Sequence[int]) -> Expr:
        key = (slot, tuple(indices))
        kind = self.kinds[slot]
        if key not in self.masks:
            self.masks[key] = Mask(
                f"M{len(self.masks)}",
                DType.BOOL if kind is Dtype.BOOL else DType.INT,
                tuple(Iota(self.names[index]) for index in indices),
                tuple(self.extents[index] for index in indices),
            )
        mask = self.masks[key]
        return Cast(Load(mask.name, mask.index), mask.dtype)

    def scalar(self, expr: Scalar, reads: Sequence[Read], at: Mapping[int, int]) -> Expr:
        match expr:
            case Arg(position):
                read = reads[position]
                return self.load(read.node, [at[index] for index in _indices(read)])
            case Lit(value, dtype):
                assert not isinstance(value, complex), expr
                return Const(value, DType.BOOL if dtype is Dtype.BOOL else DType.INT)
            case Position(index):
                return Iota(self.names[at[index]])
            case SizeOf(size):
                return self.size(size)
            case App(function, args):
                return call(function, *(self.scalar(arg, reads, at) for arg in args))

    def size(self, size: Size) -> Expr:
        if isinstance(size, int):
            return integer(size)
        for name, known in self.sizes.items():
            if known == size:
                return Ref(name)
        name = f"Z{len(self.sizes)}"
        self.sizes[name] = size
        return Ref(name)


def _indices(read: Read) -> list[int]:
    indices = [s.index for s in read.subscripts if isinstance(s, At)]
    assert len(indices) == len(read.subscripts), read
    return indices


class _Text:
    def __init__(
        self, a: Planned, attention: Attention, read: _Reading, made: Sequence[Kernel]
    ) -> None:
        self.a = a
        self.attention = attention
        self.read = read
        self.name = attention.name
        self.forward, self.delta, self.keys, self.queries = made
        self.masks = [mask.name for mask in attention.masks]
        self.sizes = list(attention.sizes)
        self.batch = [f"B{k}" for k in range(attention.batch)]
        self.made_order = tuple([*a.batch, *a.query, *a.value].index(index) for index in a.out_axes)

    # --- kernels and operators -------------------------------------------------------------------
    def code(self) -> str:
        parts = []
        for kernel in (self.forward, self.delta, self.keys, self.queries):
            parts.append(to_triton(kernel).replace("@triton.jit", "@_jit"))
            parts.append(f"{kernel.name.upper()} = {self.table(kernel)}")
        given = ["Q", "K", "V", *self.masks]
        parts += self._operator("forward", given, self._outputs(), self._run_forward(), 2)
        given = ["Q", "K", "V", *self.masks, "O", "L", "G"]
        parts += self._operator("backward", given, self._gradients(), self._run_backward(), 3)
        return "\n\n\n".join(parts)

    def table(self, kernel: Kernel) -> str:
        """The configurations of a kernel by precision."""
        what = kernel.name.removeprefix(f"{self.name}_")
        width = max(padded(self.attention.features), padded(self.attention.values))
        rows = []
        for key, config in ATTENTION.table(what, width).items():
            row = "None"
            if config is not None:
                row = f"({_blocks(config.blocks)}, {config.warps}, {config.stages})"
            rows.append(f'    "{key}": {row},')
        return "\n".join(["{", *rows, "}"])

    def _operator(
        self, what: str, tensors: list[str], fake: list[str], run: list[str], results: int
    ) -> list[str]:
        name = f"{self.name}_{what}_op"
        return [
            definition(f"{name}_outputs", tensors, self.sizes, fake, results),
            definition(f"{name}_run", tensors, self.sizes, run, results),
            operator(name, tensors, self.sizes, results),
        ]

    def _shapes(self) -> list[str]:
        unpack = ", ".join([*self.batch, "N", "_"])
        return [f"{unpack} = Q.shape", "M = K.shape[-2]"]

    def _outputs(self) -> list[str]:
        """O lies in memory as the plan wants it; L is contiguous."""
        extents = [*self.batch, "N", str(self.attention.values)]
        memory = tuple_text([extents[k] for k in self.made_order])
        inverse = [self.made_order.index(k) for k in range(len(extents))]
        moved = "" if inverse == sorted(inverse) else f".permute({', '.join(map(str, inverse))})"
        lse = tuple_text([*self.batch, "N"])
        return [
            f"{', '.join([*self.batch, 'N', '_'])} = Q.shape",
            f"O = torch.empty({memory}, dtype=Q.dtype, device=Q.device){moved}",
            f"L = torch.empty({lse}, dtype=_accumulator(Q.dtype), device=Q.device)",
            "return O, L",
        ]

    def _launch(self, kernel: Kernel) -> list[str]:
        tensors = tuple_text([t.name for t in kernel.tensors])
        grid = with_blocks(launch_grid(kernel), blocks(kernel), "choice")
        return [
            f"choice = _choice({kernel.name.upper()}, Q.dtype, Q.device)",
            f"_launch({kernel.name}, {grid}, {tensors}, {tuple_text(list(kernel.sizes))}, choice)",
        ]

    def _run_forward(self) -> list[str]:
        given = ", ".join(["Q", "K", "V", *self.masks, *self.sizes])
        return [
            *self._shapes(),
            f"O, L = {self.name}_forward_op_outputs({given})",
            *self._launch(self.forward),
            "return O, L",
        ]

    def _gradients(self) -> list[str]:
        return [
            "DQ, DK, DV = torch.empty_like(Q), torch.empty_like(K), torch.empty_like(V)",
            "return DQ, DK, DV",
        ]

    def _run_backward(self) -> list[str]:
        return [
            *self._shapes(),
            "DQ, DK, DV = torch.empty_like(Q), torch.empty_like(K), torch.empty_like(V)",
            "D = torch.empty_like(L)",
            *self._launch(self.delta),
            *self._launch(self.keys),
            *self._launch(self.queries),
            "return DQ, DK, DV",
        ]

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
        a = self.a
        at = dict(zip(region.inputs, inputs, strict=True))
        q, k, v = (at[read.node] for read in (a.q, a.k, a.v))
        masks = [at[slot] for slot, _ in self.read.masks]
        extents = [size(value) for value in self.read.sizes.values()]
        given = ", ".join(["Q", "K", "V", *masks, *extents])
        forward = [
            f"dtype = _low(_common({q}, {k}, {v}), {q})",
            *self._views(q, k, v, size),
            f"O, L = {self.name}_forward_op({given})",
            f"return {_permuted('O', self.made_order)}, L",
        ]
        inverse = [self.made_order.index(axis) for axis in range(len(self.made_order))]
        given = ", ".join(["Q", "K", "V", *masks, "O", "L", "G", *extents])
        backward = [
            "dtype = y.dtype",
            *self._views(q, k, v, size),
            f"O, G = {_permuted('y', inverse)}, {_permuted('g', inverse)}.to(dtype)",
            f"DQ, DK, DV = {self.name}_backward_op({given})",
        ]
        gives: dict[Slot, list[str]] = {}
        for letter, read, last in (
            ("DQ", a.q, (*a.query, *a.feature)),
            ("DK", a.k, (*a.key, *a.feature)),
            ("DV", a.v, (*a.key, *a.value)),
        ):
            text = f"{self._back(letter, read, (*a.batch, *last))}.to({at[read.node]}.dtype)"
            gives.setdefault(read.node, []).append(text)
        results = [" + ".join(gives.get(slot, ["None"])) for slot in region.inputs]
        backward.append(f"return {tuple_text(results)}")
        arguments = [*inputs, "y", "L", "g"]
        typed = ", ".join([*(f"{t}: Tensor" for t in arguments), *(f"{s}: int" for s in sizes)])
        head = f"def {name}_backward({typed}) -> tuple[Tensor | None, ...]:"
        parts = [
            definition(f"{name}_forward", inputs, sizes, forward, 2),
            "\n".join([head, *(f"    {line}" for line in backward)]),
            f"{name}_function = _differentiable(\n    {name}_forward, {name}_backward, "
            f"lambda *given: {torch_function}(*given), 1, 1\n)",
            wrapper(
                name, [*inputs, *sizes], [q, *inputs], region, torch_function,
                f"{name}_function", self._unserved(q, k, v),
            ),
        ]  # fmt: skip
        return "\n\n\n".join(parts)

    def _unserved(self, q: str, k: str, v: str) -> str | None:
        """The test for a dtype that some kernel has no configuration for, None if there is none."""
        dtype = f"_low(_common({q}, {k}, {v}), {q})"
        tests = [
            f"_choice({kernel.name.upper()}, {dtype}, {q}.device) is None"
            for kernel in (self.forward, self.keys, self.queries)
            if ": None," in self.table(kernel)
        ]
        return " or ".join(tests) or None

    def _views(self, q: str, k: str, v: str, size: SizeText) -> list[str]:
        a = self.a
        return [
            f"{name} = _innermost({self._view(text, read, (*a.batch, *last), size)}.to(dtype))"
            for name, text, read, last in (
                ("Q", q, a.q, (*a.query, *a.feature)),
                ("K", k, a.k, (*a.key, *a.feature)),
                ("V", v, a.v, (*a.key, *a.value)),
            )
        ]

    def _view(self, text: str, read: Read, wanted: Sequence[int], size: SizeText) -> str:
        """The tensor with these axes in this order, those that it lacks expanded."""
        have = _indices(read)
        present = [index for index in wanted if index in have]
        text = _permuted(text, [have.index(index) for index in present])
        if len(present) == len(wanted):
            return text
        for place, index in enumerate(wanted):
            if index not in have:
                text = f"{text}.unsqueeze({place})"
        shape = [size(self.a.sizes[i]) if i not in have else "-1" for i in wanted]
        return f"{text}.expand({', '.join(shape)})"

    def _back(self, text: str, read: Read, wanted: Sequence[int]) -> str:
        """The gradient of a tensor from that of its view."""
        have = _indices(read)
        lost = [str(place) for place, index in enumerate(wanted) if index not in have]
        if lost:
            text = f"{text}.sum({tuple_text(lost)})"
        present = [index for index in wanted if index in have]
        return _permuted(text, [present.index(index) for index in have])


def _permuted(text: str, order: Sequence[int]) -> str:
    if list(order) == sorted(order):
        return text
    return f"{text}.permute({', '.join(map(str, order))})"


def _blocks(named: Sequence[tuple[str, int]]) -> str:
    return "{" + ", ".join(f'"{name}": {block}' for name, block in named) + "}"
