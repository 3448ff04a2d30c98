"""Which steps around sparse constants can be multiplied out, and which indices they unroll."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tensorlang.check.program import Boundary, ScatterOp
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Contract,
    Gather,
    Group,
    Lit,
    Pointwise,
    Scalar,
    Scatter,
    Semiring,
)
from tensorlang.ir.reads import read_indices, subscript_indices
from tensorlang.plan.plan import Slot, Step

WIDEST = 512
"""The largest axis whose cells are unrolled."""


def linear(step: Step) -> bool:
    """Whether a step is linear in each of its real reads, and of a kind that can be multiplied
    out."""
    node = step.node
    if node.dtype is not Dtype.REAL or any(read.fill is not None for read in node.reads):
        return False
    match node.op:
        case Contract(coefficient, Semiring.SUM_PRODUCT):
            return not isinstance(coefficient, complex)
        case Pointwise(expr):
            return _is_linear(expr)
    return False


def _is_linear(expr: Scalar) -> bool:
    match expr:
        case Arg():
            return True
        case Lit(value):
            return not isinstance(value, complex)
        case App("add" | "sub" | "neg" | "mul", args):
            return all(_is_linear(arg) for arg in args)
    return False


def scatters(step: Step) -> bool:
    """Whether a step adds one value to cells that an integer tensor names."""
    node = step.node
    match node.op:
        case Scatter(op, (target,)) if op is ScatterOp.SUM and node.dtype is Dtype.REAL:
            (read,) = node.reads
            plain = all(isinstance(s, At) for s in read.subscripts)
            if read.fill is not None or not plain:
                return False
            return all(
                s == At(axis) or (isinstance(s, Gather) and s.boundary is Boundary.CHECKED)
                for axis, s in enumerate(target)
            )
    return False


@dataclass(slots=True)
class Marks:
    """Indices of steps and dims of slots that are components: they meet constants or fixed
    positions, directly or through values between."""

    indices: set[tuple[Slot, int]]
    dims: set[tuple[Slot, int]]


def marks(steps: Sequence[Step], constants: Iterable[Slot]) -> Marks:
    known = frozenset(constants)
    out = Marks(set(), set())
    links: list[tuple[tuple[Slot, int], tuple[Slot, int]]] = []
    for step in steps:
        if not isinstance(step.node.op, Scatter):
            links += [((step.out, axis), (step.out, axis)) for axis in range(step.node.rank)]
        else:
            links += [
                ((step.out, s.index), (step.out, axis))
                for axis, s in enumerate(step.node.op.targets[0])
                if isinstance(s, At)
            ]
        for read in step.node.reads:
            for axis, subscript in enumerate(read.subscripts):
                if read.node in known or isinstance(subscript, Affine | Group):
                    mine = subscript_indices(subscript)
                    out.indices.update((step.out, index) for index in mine)
                    out.dims.add((read.node, axis))
                elif isinstance(subscript, At):
                    links.append(((step.out, subscript.index), (read.node, axis)))
    changed = True
    while changed:
        changed = False
        for index, dim in links:
            if (index in out.indices) != (dim in out.dims):
                out.indices.add(index)
                out.dims.add(dim)
                changed = True
    return out


def stuck(step: Step, found: Marks) -> bool:
    """Whether a step cannot be multiplied out: it sums over a free index, or unrolls a long one."""
    node = step.node
    mine = [index for index in range(len(node.sizes)) if (step.out, index) in found.indices]
    if any(not isinstance(size := node.sizes[i], int) or size > WIDEST for i in mine):
        return True
    if not isinstance(node.op, Scatter) and not set(node.bound) <= set(mine):
        return True
    for read in node.reads:
        for axis, subscript in enumerate(read.subscripts):
            if isinstance(subscript, Gather):
                inner = subscript.read
                if subscript.boundary is not Boundary.CHECKED or (read.node, axis) in found.dims:
                    return True
                if not all(isinstance(s, At) for s in inner.subscripts) or inner.fill is not None:
                    return True
                if set(mine) & set(read_indices(inner)):
                    return True
            if isinstance(subscript, Affine):
                terms, offset = subscript.terms, subscript.offset
                if len(terms) > 1 or any(c != 1 for _, c in terms) or not isinstance(offset, int):
                    return True
                if subscript.boundary is not Boundary.INSIDE:
                    return True
    return False
