"""A part of a scalar expression that is a value already is read, not computed again."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.cost import applications
from tensorlang.ir.nodes import App, Arg, At, Node, NodeId, Pointwise, Read, Scalar
from tensorlang.rewrite.compose import part_node, scalar_indices
from tensorlang.rewrite.engine import Site

_MOST = 40  # parts that are looked up in one expression


def share_parts(node: Node, site: Site) -> Node | None:
    """f(a * b + c) where t = a * b + c is stored is f(t)."""
    if not isinstance(node.op, Pointwise) or applications(node.op.expr) < 2:
        return None
    reads = list(node.reads)
    left = [_MOST]
    expr = _shared(node.op.expr, node, reads, left, site, whole=True)
    if expr == node.op.expr:
        return None
    return replace(node, op=Pointwise(expr), reads=tuple(reads))


def _shared(
    expr: Scalar, node: Node, reads: list[Read], left: list[int], site: Site, whole: bool
) -> Scalar:
    if not isinstance(expr, App) or left[0] <= 0:
        return expr
    if not whole and scalar_indices(expr, node.reads):
        left[0] -= 1
        found = _stored(expr, node, site)
        if found is not None:
            reads.append(found)
            return Arg(len(reads) - 1)
    args = tuple(_shared(arg, node, reads, left, site, whole=False) for arg in expr.args)
    return App(expr.function, args, expr.dtype, expr.site)


def _stored(expr: App, node: Node, site: Site) -> Read | None:
    made, axes = part_node(node, expr, site)
    identity: NodeId | None = site.stored(made)
    return None if identity is None else Read(identity, tuple(At(index) for index in axes))
