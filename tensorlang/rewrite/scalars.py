"""Numbers and sizes that multiply a contraction go into it: they land on its smallest operand.

(sum_c q[n c] k[m c]) / sqrt(|c|) scales |n| * |m| cells; inside the product it scales q, or nothing
where a GEMM takes a factor.
"""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.nodes import App, Arg, At, Contract, Node, Pointwise, Scalar, Semiring
from tensorlang.rewrite.compose import part, product, scalar_dtype, scalar_indices
from tensorlang.rewrite.engine import Site


def sink_scalars(node: Node, site: Site) -> Node | None:
    """Factors without indices join the contraction that they scale, if nothing else reads it."""
    if not isinstance(node.op, Pointwise):
        return None
    number, factors = product(node.op.expr)
    if number == 1 and len(factors) < 2:
        return None
    cores: list[Arg] = []
    others: list[Scalar] = []
    for factor in factors:
        if scalar_indices(factor, node.reads):
            if not isinstance(factor, Arg):
                return None
            cores.append(factor)
        else:
            others.append(factor)
    if len(cores) != 1:
        return None
    read = node.reads[cores[0].position]
    inner = site.node(read.node)
    whole = read.subscripts == tuple(At(axis) for axis in range(node.rank))
    if not whole or inner.rank != node.rank or site.uses(read.node) > 1:
        return None
    if not isinstance(inner.op, Contract) or inner.op.semiring is not Semiring.SUM_PRODUCT:
        return None
    if inner.dtype is not node.dtype or isinstance(number, complex):
        return None
    if any(scalar_dtype(factor, node.reads, site) is not node.dtype for factor in others):
        return None
    op = replace(inner.op, coefficient=inner.op.coefficient * number)
    reads = inner.reads
    if others:
        factor = others[0] if len(others) == 1 else App("mul", tuple(others), node.dtype)
        reads = (*reads, part(node, factor, site))
    site.did("a factor without indices joins the product that it scales")
    return replace(inner, op=op, reads=reads)
