"""What a printed kernel takes, in order: tensors, strides, sizes, the constants MODE (0: dots in
the storage dtype; 1: all in float32, as the interpreter needs; 2: all in float64), WIDE (64-bit
offsets inside tiles too) and PREC (precision of dots), and its blocks.
"""

from __future__ import annotations

from tensorlang.backends.triton.kernel_ir import Kernel

FLAGS = ("MODE", "WIDE", "PREC")


def blocks(kernel: Kernel) -> list[str]:
    """Names of the blocks that a configuration gives."""
    return list(dict.fromkeys(a.block for a in kernel.axes if isinstance(a.block, str)))


def stride(tensor: str, dimension: int) -> str:
    return f"{tensor}_s{dimension}"


def parameters(kernel: Kernel) -> list[str]:
    """The lines of its parameters."""
    constants = [f"{name}: tl.constexpr" for name in (*FLAGS, *blocks(kernel))]
    rows = [
        ", ".join(t.name for t in kernel.tensors),
        *(
            ", ".join(stride(t.name, k) for k in range(len(t.extents)))
            for t in kernel.tensors
            if t.extents
        ),
        ", ".join(kernel.sizes),
        ", ".join(constants),
    ]
    return [f"    {row}," for row in rows if row]
