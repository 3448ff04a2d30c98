"""How a planned step is computed, in plain words: GEMM and its shape, attention, gather, …"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import assert_never

import sympy

from tensorlang.explanation.costs import Count, Scope
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    Call,
    Const,
    Contract,
    Gather,
    Input,
    Merge,
    Node,
    Param,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Scan,
    ScanOp,
    Scatter,
    Semiring,
    Softmax,
    Transform,
)
from tensorlang.ir.reads import read_indices
from tensorlang.plan.cost import made
from tensorlang.plan.plan import (
    AnyStep,
    Attention,
    AttentionStep,
    Plan,
    ProjectionsStep,
    Slot,
    Step,
)
from tensorlang.size import Size

_MOST_FUNCTIONS = 4
_MOST_OPERANDS = 4


def step_name(step: AnyStep) -> str:
    """What a step defines."""
    if isinstance(step, ProjectionsStep):
        return ", ".join(projection.name for projection in step.projections)
    return step.name


def slot_names(plan: Plan) -> dict[Slot, str]:
    """The names of all values of a plan."""
    names = {s: given.name for s, given in zip(plan.inputs, plan.program.inputs, strict=True)}
    names.update((slot, name) for name, slot in plan.params)
    names.update((slot, name) for name, slot, _ in plan.consts)
    for region in plan.regions:
        for regime in region.regimes:
            for step in regime.steps:
                if isinstance(step, ProjectionsStep):
                    names.update((p.out, p.name) for p in step.projections)
                else:
                    names.update((slot, step.name) for slot in made(step))
    return names


def how(step: AnyStep, scope: Scope, names: Mapping[Slot, str]) -> str:
    """Say how a step is computed, with its sizes in the scope."""
    return _Words(scope, names).step(step)


def count_text(count: Count) -> str:
    """A number with thousands separated, or a polynomial; the size of `...` is called batch."""
    if isinstance(count, int):
        return f"{count:,}"
    text = str(count).replace("**", "^").replace("...", "batch")
    return text.replace("*", "·")


class _Words:
    def __init__(self, scope: Scope, names: Mapping[Slot, str]) -> None:
        self.scope = scope
        self.names = names

    def step(self, step: AnyStep) -> str:
        match step:
            case AttentionStep():
                return self._attention(step.attention)
            case ProjectionsStep(projections):
                shapes = [self._gemm(p.node) for p in projections]
                widths = " + ".join(n for _, _, _, n in shapes)
                batch, m, k, _ = shapes[0]
                return f"one GEMM {batch}[{m}, {k}] × [{k}, {widths}]"
            case Step():
                return self._node(step.node)
        assert_never(step)

    def _node(self, node: Node) -> str:
        match node.op:
            case Contract():
                return self._contract(node) + self._notes(node)
            case Pointwise(expr):
                return self._pointwise(expr, node)
            case Reduce(op):
                return f"{op.value} of {self._name(node.reads[0])} over {self._over(node)} cells"
            case Softmax(axes, log):
                masked = ", masked" if len(node.reads) > 1 else ""
                over = self._volume(node.sizes[axis] for axis in axes)
                return f"{'log ' if log else ''}softmax over {over} cells{masked}"
            case Scan(op, axis):
                word = "sum" if op is ScanOp.CUMSUM else "product"
                along = self._volume((node.sizes[axis],))
                return f"running {word} of {self._name(node.reads[0])} along {along} cells"
            case Transform(op):
                read = ", ".join(self._name(read) for read in node.reads)
                return f"{op.value} of {read}, result {self._shape(node.shape)}"
            case Scatter(op, targets):
                landing = ", ".join(dict.fromkeys(self._landing(target) for target in targets))
                read = ", ".join(self._name(read) for read in node.reads)
                return f"scatter ({op.value}) of {read} into {self._shape(node.shape)}{landing}"
            case Merge():
                return f"view of {self._name(node.reads[0])} as {self._shape(node.shape)}"
            case Call():
                return self._call(node.op, node)
            case Input() | Param() | Const():
                return type(node.op).__name__.lower()
        assert_never(node.op)

    # --- contractions ---
    def _contract(self, node: Node) -> str:
        assert isinstance(node.op, Contract)
        scaled = "" if node.op.coefficient == 1 else f"{node.op.coefficient:.6g} times "
        semiring = node.op.semiring
        if semiring is not Semiring.SUM_PRODUCT:
            read = " and ".join(self._name(read) for read in node.reads)
            return f"{semiring.value} product of {read} over {self._over(node)} cells"
        if len(node.reads) == 1:
            read = self._name(node.reads[0])
            if not node.bound:
                return f"{scaled or 'copy of '}{read}"
            what = "mean" if self._is_mean(node, node.op.coefficient) else f"{scaled}sum"
            return f"{what} of {read} over {self._over(node)} cells"
        left, right = node.reads
        window = [
            self._volume((node.sizes[index],))
            for read in node.reads
            for subscript in read.subscripts
            if isinstance(subscript, Affine) and len(subscript.terms) > 1
            for index, _ in subscript.terms
            if index in node.bound
        ]
        if window:
            batch = f"{scaled}convolution of {self._name(left)} and {self._name(right)}"
            return f"{batch}, window {' × '.join(window)}"
        if not node.bound:
            return f"{scaled}product of {self._name(left)} and {self._name(right)}, broadcast"
        if left == right:
            what = "mean" if self._is_mean(node, node.op.coefficient) else f"{scaled}sum"
            return f"{what} of squares of {self._name(left)} over {self._over(node)} cells"
        batch, m, k, n = self._gemm(node)
        if "" in (m, n):
            rest = m or n
            if not rest:
                return f"{scaled}{batch}dot products of length {k}"
            return f"{scaled}{batch}GEMV [{rest}, {k}] × [{k}]"
        return f"{scaled}{batch}GEMM [{m}, {k}] × [{k}, {n}]"

    def _gemm(self, node: Node) -> tuple[str, str, str, str]:
        """Batch ("" or "count × "), m, k and n; m or n is "" where that side has no own index."""
        left, right = (set(read_indices(read)) for read in node.reads)
        out = range(node.rank)
        shared = [i for i in out if i in left and i in right]
        own_left = [i for i in out if i in left and i not in right]
        own_right = [i for i in out if i in right and i not in left]
        batch = f"{self._volume(node.sizes[i] for i in shared)} × " if shared else ""
        return (
            batch,
            self._volume(node.sizes[i] for i in own_left) if own_left else "",
            self._over(node),
            self._volume(node.sizes[i] for i in own_right) if own_right else "",
        )

    def _is_mean(self, node: Node, coefficient: complex) -> bool:
        sizes = [node.sizes[index] for index in node.bound]
        cells = math.prod(size for size in sizes if isinstance(size, int))
        return all(isinstance(size, int) for size in sizes) and coefficient * cells == 1 < cells

    def _attention(self, a: Attention) -> str:
        def over(indices: Iterable[int]) -> str:
            return self._volume(a.sizes[index] for index in indices)

        keys = " × ".join(over((index,)) for index in a.key)
        batch = f"{over(a.batch)} × " if a.batch else ""
        parts = [f"attention {batch}{over(a.query)} queries over {keys} keys"]
        parts.append(f"features {over(a.feature)}, values {over(a.value)}")
        if a.mask is not None:
            parts.append(f"mask {self._name(a.mask)}")
        if a.bias is not None:
            parts.append(f"bias {self._name(a.bias)}")
        return "; ".join(parts)

    # --- the others ---
    def _pointwise(self, expr: Scalar, node: Node) -> str:
        found = list(dict.fromkeys(_functions(expr)))
        operands = list(dict.fromkeys(self._name(read) for read in node.reads))
        more = ", …" if len(operands) > _MOST_OPERANDS else ""
        reads = ", ".join(operands[:_MOST_OPERANDS]) + more
        if not found:
            if isinstance(expr, Arg):
                notes = self._notes(node).removeprefix("; ")
                return notes or f"copy of {reads}"
            return f"filled, {self._shape(node.shape)}"
        more = ", …" if len(found) > _MOST_FUNCTIONS else ""
        named = ", ".join(found[:_MOST_FUNCTIONS]) + more
        of = f" of {reads}" if reads else " of positions"
        return f"pointwise {named}{of}{self._notes(node)}"

    def _call(self, op: Call, node: Node) -> str:
        (sub,) = (sub for sub in self.scope.program.subs if sub.name == op.sub)
        if op.output:
            return f"output {op.output + 1} of the same call"
        stages = "" if sub.count is None else f", {sub.count} stages"
        along = f", axes {op.signature.replace('_', ' ')}" if op.signature else ""
        return f"sub-layer {op.sub}: {sub.layer}{along}{stages}"

    def _notes(self, node: Node) -> str:
        """What is read elsewhere than at the node's own indices."""
        found: dict[str, None] = {}
        for read in node.reads:
            for subscript in read.subscripts:
                if isinstance(subscript, Gather):
                    found[f"{self._name(read)} gathered at {self._name(subscript.read)}"] = None
                elif isinstance(subscript, Affine) and len(subscript.terms) == 1:
                    (_, step), offset = subscript.terms[0], subscript.offset
                    word = "shifted" if step == 1 else f"with stride {step}"
                    found[f"{self._name(read)} {word if offset or step != 1 else 'read'}"] = None
                elif isinstance(subscript, Affine) and not subscript.terms:
                    found[f"{self._name(read)} at a fixed position"] = None
        return "".join(f"; {note}" for note in found)

    def _landing(self, target: Iterable[object]) -> str:
        at = [self._name(s.read) for s in target if isinstance(s, Gather)]
        return f" at {', '.join(at)}" if at else ""

    # --- sizes ---
    def _name(self, read: Read) -> str:
        return self.names.get(read.node, f"value {read.node}")

    def _over(self, node: Node) -> str:
        return self._volume(node.sizes[index] for index in node.bound)

    def _shape(self, sizes: Iterable[Size]) -> str:
        return f"[{', '.join(self._volume((size,)) for size in sizes)}]"

    def _volume(self, sizes: Iterable[Size]) -> str:
        """A product of sizes: the number, then the symbols."""
        counts = [self.scope.size(size) for size in sizes]
        number = math.prod(count for count in counts if isinstance(count, int))
        others = [_factor(count) for count in counts if not isinstance(count, int)]
        return "·".join([str(number), *others] if number != 1 or not others else others)


def _factor(size: sympy.Expr) -> str:
    text = count_text(size)
    return text if size.is_Symbol or size.is_Pow else f"({text})"


def _functions(expr: Scalar) -> Iterable[str]:
    if isinstance(expr, App):
        yield expr.function
        for arg in expr.args:
            yield from _functions(arg)
