"""A K4 region as text: its kernels, their operators, and the function over the region's inputs.

Operators take x as [M, K] and factors as [from, to], views with any strides.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.triton.chain import chain_configs, chain_kernel, padded
from tensorlang.backends.triton.kernel_ir import Kernel
from tensorlang.backends.triton.region import (
    Printed,
    SizeText,
    backward_definition,
    definition,
    factor_text,
    fake_gradients,
    kernel_text,
    launch_text,
    operator,
    table_text,
    tuple_text,
    wrapper,
)
from tensorlang.plan.fuse_chain import Chain, chain_of
from tensorlang.plan.plan import Plan, Region, Step


def printed(region: Region, plan: Plan, name: str) -> Printed:
    """Kernels and text of one chain."""
    del plan
    (regime,) = region.regimes
    chain = chain_of([step for step in regime.steps if isinstance(step, Step)])
    assert chain is not None, region
    text = _Text(chain, name)
    made = (text.forward, text.backward)
    return Printed(name, made, text.code(), text.region, {k.name: text.table() for k in made})


class _Text:
    def __init__(self, chain: Chain, name: str) -> None:
        self.chain = chain
        self.name = name
        added, bias = chain.added is not None, chain.bias is not None
        ranks = chain.ranks
        self.forward = chain_kernel(f"{name}_forward", ranks, chain.scale, added, bias)
        self.backward = chain_kernel(f"{name}_backward", ranks[::-1], chain.scale, False, False)
        self.factors = [f"F{k}" for k in range(len(ranks) + 1)]
        self.kept = [f"T{k}" for k in range(len(ranks))]
        self.terms = [*(["C"] if added else []), *(["B"] if bias else [])]

    # --- kernels and operators -------------------------------------------------------------------
    def code(self) -> str:
        given = ["X", *self.factors, *self.terms]
        op = f"{self.name}_forward_op"
        back = f"{self.name}_backward_op"
        wanted = ["X", *self.factors]
        grads = [*wanted, *self.kept, "G"]
        fake, run = fake_gradients(wanted), self._run_backward()
        return "\n\n\n".join(
            [
                kernel_text(self.forward),
                f"{self.name.upper()} = {self.table()}",
                *operator(op, given, [], self._outputs(), self._run(), 1 + len(self.kept)),
                kernel_text(self.backward),
                *operator(back, grads, [], fake, run, len(wanted)),
            ]
        )

    def table(self) -> str:
        return table_text(chain_configs(max(map(padded, self.chain.ranks))))

    def _outputs(self) -> list[str]:
        last = self.factors[-1]
        made = [
            f"{t} = torch.empty((X.shape[0], {rank}), dtype=X.dtype, device=X.device)"
            for t, rank in zip(self.kept, self.chain.ranks, strict=True)
        ]
        shape = f"(X.shape[0], {last}.shape[1])"
        return [
            f"Y = torch.empty({shape}, dtype=X.dtype, device=X.device)",
            *made,
            f"return {', '.join(['Y', *self.kept])}",
        ]

    def _launch(self, kernel: Kernel, tensors: Sequence[str], sizes: str) -> list[str]:
        return [
            f"M, K, N = {sizes}",
            f"choice = _choice({self.name.upper()}, X.dtype, X.device)",
            launch_text(kernel, ["M", "K", "N"], "choice", tensors),
        ]

    def _run(self) -> list[str]:
        *made, result = self._outputs()
        tensors = ["X", *self.factors, *self.terms, "Y", *self.kept]
        sizes = f"*X.shape, {self.factors[-1]}.shape[1]"
        return [*made, *self._launch(self.forward, tensors, sizes), result]

    def _run_backward(self) -> list[str]:
        """H0, H1, … are gradients of the T's, last first; those of factors are plain products."""
        ranks = self.chain.ranks
        held = [f"H{k}" for k in range(len(ranks))]
        lines = ["DX = torch.empty(X.shape, dtype=X.dtype, device=X.device)"]
        lines += [
            f"{h} = torch.empty((X.shape[0], {rank}), dtype=X.dtype, device=X.device)"
            for h, rank in zip(held, ranks[::-1], strict=True)
        ]
        turned = [f"{f}.t()" for f in reversed(self.factors)]
        lines += self._launch(self.backward, ["G", *turned, "DX", *held], "*G.shape, X.shape[1]")
        lefts = ["X", *self.kept]
        rights = [*held[::-1], "G"]
        scale = "" if self.chain.scale == 1 else f" * {self.chain.scale!r}"
        lines += [
            f"D{f} = (({left}.t() @ {right}){scale}).contiguous()"
            for f, left, right in zip(self.factors, lefts, rights, strict=True)
        ]
        return [*lines, f"return {', '.join(f'D{x}' for x in ['X', *self.factors])}"]

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
        chain = self.chain
        at = dict(zip(region.inputs, inputs, strict=True))
        x = at[chain.x]
        factors = [at[f.slot] for f in chain.factors]
        added = None if chain.added is None else at[chain.added]
        bias = None if chain.bias is None else at[chain.bias]
        every = [x, *factors, *(t for t in (added, bias) if t is not None)]
        rows = [size(extent) for extent in chain.rows]
        first, last = size(chain.first), size(chain.last)
        count = " * ".join(map(factor_text, rows))
        views = [f"X = {x}.reshape({count}, {first}).to(dtype)"]
        views += [
            f"F{k} = {text}{'.t()' if factor.transposed else ''}.to(dtype)"
            for k, (text, factor) in enumerate(zip(factors, chain.factors, strict=True))
        ]
        terms = [f"C = {added}.reshape({count}, {last})"] if added else []
        terms += [f"B = {bias}"] if bias else []
        given = ", ".join(["X", *self.factors, *self.terms])
        kept = ", ".join(self.kept)
        shape = ", ".join([*rows, last])
        forward = [
            f"dtype = _low(_common({', '.join(every)}), {x})",
            *views,
            *terms,
            f"Y, {kept} = {self.name}_forward_op({given})",
            f"return Y.view({shape}), {kept}",
        ]
        slots = ", ".join(["X", *self.factors, *self.kept, "G"])
        found = ", ".join(["DX", *(f"D{f}" for f in self.factors)])
        backward = [
            "dtype = y.dtype",
            *views,
            f"G = g.reshape({count}, {last}).to(dtype)",
            f"{found} = {self.name}_backward_op({slots})",
        ]
        gives: dict[str, list[str]] = {x: [f"DX.view({x}.shape).to({x}.dtype)"]}
        for k, (text, factor) in enumerate(zip(factors, chain.factors, strict=True)):
            turned = ".t()" if factor.transposed else ""
            gives.setdefault(text, []).append(f"DF{k}{turned}.to({text}.dtype)")
        if added:
            gives.setdefault(added, []).append(f"g.view_as(g).to({added}.dtype)")
        if bias:
            gives.setdefault(bias, []).append(f"G.sum(0).to({bias}.dtype)")
        backward.append(
            f"return {tuple_text([' + '.join(gives.get(text, ['None'])) for text in inputs])}"
        )
        tensors = [*inputs, "y", *self.kept, "g"]
        return "\n\n\n".join(
            [
                definition(f"{name}_forward", inputs, sizes, forward, 1 + len(self.kept)),
                backward_definition(f"{name}_backward", tensors, sizes, backward),
                f"{name}_function = _differentiable(\n    {name}_forward, {name}_backward, "
                f"lambda *given: {torch_function}(*given), 1, {len(self.kept)}\n)",
                wrapper(
                    name, [*inputs, *sizes], [x, *inputs], region, torch_function,
                    f"{name}_function", None,
                ),
            ]
        )  # fmt: skip
