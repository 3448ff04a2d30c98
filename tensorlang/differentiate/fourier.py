"""The adjoints of the Fourier transforms are the inverse ones, unscaled or scaled the other way.

Modes that are cut off come back as zeros and the other way round. Of a half axis each mode but the
first and the middle one stands for two: rfft's cotangent counts them half, irfft's twice.
"""

from __future__ import annotations

from dataclasses import replace

from tensorlang.check.program import TransformOp
from tensorlang.differentiate.cells import number
from tensorlang.differentiate.making import Maker
from tensorlang.differentiate.reads import Product
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Iota, Lit, Node, Read, SizeOf, Transform
from tensorlang.ir.reads import rename_read
from tensorlang.size import Size

_INVERSE = {
    TransformOp.FFT: TransformOp.IFFT,
    TransformOp.IFFT: TransformOp.FFT,
    TransformOp.RFFT: TransformOp.IRFFT,
    TransformOp.IRFFT: TransformOp.RFFT,
}
_OTHER_SCALE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def pull(maker: Maker, node: Node, op: Transform, given: Read) -> Product:
    sizes = list(node.sizes)
    for source, target in zip(op.source, op.target, strict=True):
        sizes[source], sizes[target] = sizes[target], sizes[source]
    if op.op is TransformOp.RFFT:
        given = _weighted(maker, given, op.target[-1], node.sizes[op.source[-1]], 0.5)
    turned = rename_read(given, dict(zip(op.target, op.source, strict=True)))
    back = replace(op, op=_INVERSE[op.op], norm=_OTHER_SCALE[op.norm])
    dtype = Dtype.REAL if op.op is TransformOp.RFFT else Dtype.COMPLEX
    made = maker.whole(maker.add(back, (turned,), sizes, node.rank, dtype))
    if op.op is TransformOp.IRFFT:
        made = _weighted(maker, made, op.target[-1], node.sizes[op.target[-1]], 2.0)
    field = rename_read(made, dict(zip(op.target, op.source, strict=True)))
    return Product((field,), node.sizes, node.rank, dtype)


def _weighted(maker: Maker, modes: Read, axis: int, size: Size, weight: float) -> Read:
    """Modes of a half axis times a weight, but for the one that is alone at its frequency."""
    sizes = dict(enumerate(maker.graph.node(modes.node).shape))
    cells = maker.cells()
    twice = cells.apply("mul", number(2, Dtype.INT), Iota(axis))
    whole = Lit(size, Dtype.INT) if isinstance(size, int) else SizeOf(size)
    alone = cells.apply(
        "or",
        cells.apply("eq", Iota(axis), number(0, Dtype.INT)),
        cells.apply("eq", twice, whole),
    )
    one = number(1, Dtype.COMPLEX)
    weights = cells.apply("where", alone, one, number(weight, Dtype.COMPLEX))
    factors = (modes, maker.computed(weights, cells, (axis,), sizes))
    return maker.contracted(factors, 1, tuple(sizes), sizes, Dtype.COMPLEX)
