"""What the spaces of kernels share: sizes that are arguments, and tensors that steps read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tensorlang.backends.triton.build import integer
from tensorlang.backends.triton.kernel_ir import DType, Expr, Ref
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import At, Group, Read
from tensorlang.plan.plan import Slot, Step
from tensorlang.size import Size

STORED = {Dtype.BOOL: DType.BOOL, Dtype.INT: DType.INT, Dtype.REAL: DType.COMPUTE}
HELD = {**STORED, Dtype.REAL: DType.ACCUMULATE}

Dims = tuple[tuple[int, ...], ...]
"""Per dimension of a tensor the axes of a space that index it, row-major."""


def size_argument(sizes: dict[str, Size], size: Size, name: str) -> Expr:
    """A size as an expression: a number, or an argument of that name, which is entered."""
    if isinstance(size, int):
        return integer(size)
    for known, value in sizes.items():
        if value == size:
            return Ref(known)
    if name in sizes:
        name = f"{name}_{len(sizes)}"
    sizes[name] = size
    return Ref(name)


def read_dims(read: Read, place: Sequence[int]) -> Dims:
    """Where a step reads a tensor; `place` gives the axes of the step's indices."""
    dims: list[tuple[int, ...]] = []
    for subscript in read.subscripts:
        match subscript:
            case At(index):
                dims.append((place[index],))
            case Group(indices):
                dims.append(tuple(place[index] for index in indices))
            case _:
                raise AssertionError(read)
    return tuple(dims)


def dtype_of(steps: Iterable[Step], outside: Mapping[Slot, Dtype], slot: Slot) -> Dtype:
    """The dtype of a slot that a step computes or that is read from outside."""
    for step in steps:
        if step.out == slot:
            return step.node.dtype
    return outside[slot]
