"""Masks and biases of a planned attention as expressions over positions in a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorlang.backends.triton.attention_parts import Mask
from tensorlang.backends.triton.build import call, integer, real
from tensorlang.backends.triton.kernel_ir import Cast, Const, DType, Expr, Iota, Load, Ref
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, At, Lit, Pointwise, Read, Scalar, SizeOf
from tensorlang.ir.nodes import Iota as Position
from tensorlang.plan.plan import Slot, Step
from tensorlang.size import Size

_KINDS = {Dtype.BOOL: DType.BOOL, Dtype.INT: DType.INT, Dtype.REAL: DType.COMPUTE}


class Reading:
    """Collects the tensors and sizes that expressions of one attention mention.

    `axes` has the kernel's name and extent for every index of the attention; `steps` are those that
    are computed per cell.
    """

    def __init__(
        self,
        axes: Mapping[int, tuple[str, Expr]],
        kinds: Mapping[Slot, Dtype],
        steps: Mapping[Slot, Step],
    ) -> None:
        self.axes = axes
        self.kinds = kinds
        self.steps = steps
        self.masks: dict[tuple[Slot, tuple[int, ...]], Mask] = {}
        self.sizes: dict[str, Size] = {}

    def value(self, read: Read | None) -> Expr | None:
        """What a mask or a bias is per cell."""
        if read is None:
            return None
        indices = indices_of(read)
        if read.node not in self.steps:
            return self.load(read.node, indices)
        node = self.steps[read.node].node
        assert isinstance(node.op, Pointwise), node
        return self.scalar(node.op.expr, node.reads, dict(enumerate(indices)))

    def load(self, slot: Slot, indices: Sequence[int]) -> Expr:
        key = (slot, tuple(indices))
        kind = _KINDS[self.kinds[slot]]
        if key not in self.masks:
            names, extents = zip(*(self.axes[index] for index in indices), strict=True)
            index = tuple(Iota(name) for name in names)
            self.masks[key] = Mask(f"C{len(self.masks)}", kind, index, extents)
        mask = self.masks[key]
        return Cast(
            Load(mask.name, mask.index), DType.ACCUMULATE if kind is DType.COMPUTE else kind
        )

    def scalar(self, expr: Scalar, reads: Sequence[Read], at: Mapping[int, int]) -> Expr:
        match expr:
            case Arg(position):
                read = reads[position]
                return self.load(read.node, [at[index] for index in indices_of(read)])
            case Lit(value, dtype):
                assert not isinstance(value, complex), expr
                if dtype is Dtype.REAL:
                    return real(value)
                return Const(value, DType.BOOL if dtype is Dtype.BOOL else DType.INT)
            case Position(index):
                return Iota(self.axes[at[index]][0])
            case SizeOf(size):
                return self.size(size)
            case App("to_real", (arg,)):
                return Cast(self.scalar(arg, reads, at), DType.ACCUMULATE)
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


def indices_of(read: Read) -> list[int]:
    """The indices of a read that has nothing but indices."""
    indices = [s.index for s in read.subscripts if isinstance(s, At)]
    assert len(indices) == len(read.subscripts), read
    return indices
