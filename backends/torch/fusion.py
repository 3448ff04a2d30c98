"""Biases that torch adds inside a linear map: found before printing, so that no step is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tensorlang.backends.torch.contract import takes_bias
from tensorlang.backends.torch.convolution import feature_of
from tensorlang.backends.torch.operand import Value
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Node, Pointwise, Scalar
from tensorlang.ir.reads import leaves, read_indices
from tensorlang.plan.cost import used
from tensorlang.plan.plan import AnyStep, Slot, Step
from tensorlang.size import Size


@dataclass(frozen=True)
class Fusion:
    """`vectors`: the bias that a linear step adds; `nodes`: readers without it; `aliases`: readers
    of which nothing is left."""

    vectors: dict[Slot, str]
    nodes: dict[Slot, Node]
    aliases: dict[Slot, Slot] = field(default_factory=dict)
    names: dict[Slot, str] = field(default_factory=dict)

    def name(self, slot: Slot, name: str) -> str:
        return self.names.get(slot, name)

    def target(self, slot: Slot) -> Slot:
        """The slot that takes this one's value as its own."""
        return next((out for out, source in self.aliases.items() if source == slot), slot)


def biases(steps: Sequence[AnyStep], kept: Sequence[Slot], values: Mapping[Slot, Value]) -> Fusion:
    """Linear steps read once, by a sum with a vector over their last axis that is known by then."""
    shapes = {slot: value.shape for slot, value in values.items()}
    linear: dict[Slot, int] = {}
    for step in steps:
        if isinstance(step, Step):
            axis = None if step.out in kept else _bias_axis(step.node, shapes)
            if axis is not None:
                linear[step.out] = axis
            shapes[step.out] = step.node.shape
    count: dict[Slot, int] = {}
    for step in steps:
        for slot in used(step):
            count[slot] = count.get(slot, 0) + 1
    out = Fusion({}, {})
    for step in steps:
        if not isinstance(step, Step) or not isinstance(step.node.op, Pointwise):
            continue
        found = _bias(step.node, linear, count, values)
        if found is None:
            continue
        slot, vector, rest = found
        out.vectors[slot] = vector
        if isinstance(rest, Arg):
            out.aliases[step.out] = slot
            out.names[slot] = step.name
        else:
            out.nodes[step.out] = replace(step.node, op=Pointwise(rest))
    return out


def _bias_axis(node: Node, shapes: Mapping[Slot, Sequence[Size]]) -> int | None:
    """The axis along which torch adds a vector inside this contraction."""
    if not takes_bias(node):
        return None
    if not all(isinstance(s, At) for read in node.reads for s in read.subscripts):
        return feature_of(node, shapes.get)
    return node.rank - 1 if _is_linear(node) else None


def _is_linear(node: Node) -> bool:
    """Two simple reads that share only summed indices, one of them with only the last axis."""
    left, right = (read_indices(read) for read in node.reads)
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        return False
    shared = set(left) & set(right)
    if not shared or any(i < node.rank for i in shared) or set(node.bound) != shared:
        return False
    sides = [[i for i in side if i not in shared] for side in (left, right)]
    return any(side == [node.rank - 1] for side in sides) and all(sides)


def _bias(
    node: Node, linear: Mapping[Slot, int], count: Mapping[Slot, int], values: Mapping[Slot, Value]
) -> tuple[Slot, str, Scalar] | None:
    assert isinstance(node.op, Pointwise)
    for k, read in enumerate(node.reads):
        if read.node not in linear or count.get(read.node) != 1:
            continue
        if read.subscripts != tuple(At(axis) for axis in range(node.rank)):
            continue
        if sum(leaf == Arg(k) for leaf in leaves(node.op.expr)) != 1:
            continue
        for j, other in enumerate(node.reads):
            known = values.get(other.node)
            if other.subscripts != (At(linear[read.node]),) or known is None:
                continue
            if known.dtype is not Dtype.REAL:
                continue
            rest = _without(node.op.expr, k, j)
            if rest is not None:
                return read.node, known.text, rest
    return None


def _without(expr: Scalar, k: int, j: int) -> Scalar | None:
    """The expression with `Arg(k) + Arg(j)` replaced by Arg(k); None if there is no such sum."""
    if not isinstance(expr, App):
        return None
    if expr.function == "add" and Arg(k) in expr.args and Arg(j) in expr.args:
        args = list(expr.args)
        args.remove(Arg(j))
        return args[0] if len(args) == 1 else replace(expr, args=tuple(args))
    for place, arg in enumerate(expr.args):
        inner = _without(arg, k, j)
        if inner is not None:
            return replace(expr, args=(*expr.args[:place], inner, *expr.args[place + 1 :]))
    return None
