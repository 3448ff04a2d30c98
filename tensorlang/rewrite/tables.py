"""Angles, decays and other functions of positions alone are values of their own, made once."""

from __future__ import annotations

from dataclasses import replace

from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, Iota, Node, Pointwise, Read, Scalar
from tensorlang.ir.reads import applied, leaves
from tensorlang.rewrite.compose import part
from tensorlang.rewrite.engine import Site

_COSTLY = frozenset(
    ("sin", "cos", "tan", "exp", "log", "pow", "sqrt", "rsqrt", "tanh", "sigmoid", "erf")
)


def tables(node: Node, site: Site) -> Node | None:
    """X[b, n, c] * cos(n * w^c) reads a table over n and c."""
    if not isinstance(node.op, Pointwise) or not node.reads:
        return None
    reads = list(node.reads)
    expr = _read(node.op.expr, node, reads, site)
    if expr == node.op.expr:
        return None
    site.did(f"{{}}: {len(reads) - len(node.reads)} functions of positions in tables")
    return replace(node, op=Pointwise(expr), reads=tuple(reads))


def _read(expr: Scalar, node: Node, reads: list[Read], site: Site) -> Scalar:
    if not isinstance(expr, App):
        return expr
    if _is_table(expr, node):
        found = part(node, expr, site)
        if found not in reads:
            reads.append(found)
        return Arg(reads.index(found))
    args = tuple(_read(arg, node, reads, site) for arg in expr.args)
    return App(expr.function, args, expr.dtype, expr.site)


def _is_table(expr: App, node: Node) -> bool:
    if expr.dtype is not Dtype.REAL or expr.function not in _COSTLY:
        return False
    found = list(leaves(expr))
    if any(isinstance(leaf, Arg) for leaf in found) or "dropout" in applied(expr):
        return False
    axes = {leaf.index for leaf in found if isinstance(leaf, Iota)}
    return bool(axes)
