"""What is read on a diagonal alone is formed there: s[i i] of s[i j] = sum_c q[i c] k[j c] is
sum_c q[i c] k[i c].
"""

from __future__ import annotations

from dataclasses import replace

from tensorlang.ir.nodes import App, At, Contract, Iota, Node, Pointwise, Read, Scalar
from tensorlang.ir.reads import rename_read, substitute
from tensorlang.rewrite.compose import is_whole
from tensorlang.rewrite.engine import Site


def diagonals(node: Node, site: Site) -> Node | None:
    """Form a value that only this node reads where its axes are equal, if it reads no other."""
    if not isinstance(node.op, Contract | Pointwise):
        return None
    for position, read in enumerate(node.reads):
        once = _formed(read, site)
        if once is not None:
            site.did("a value of which only a diagonal is read is formed there")
            reads = (*node.reads[:position], once, *node.reads[position + 1 :])
            return replace(node, reads=reads)
    return None


def _formed(read: Read, site: Site) -> Read | None:
    inner = site.node(read.node)
    if not is_whole(read) or read.fill is not None or site.uses(read.node) > 1:
        return None
    at = [s.index for s in read.subscripts if isinstance(s, At)]
    distinct = list(dict.fromkeys(at))
    if len(distinct) == len(at):
        return None
    match inner.op:
        case Contract() if inner.reads:
            pass
        case Pointwise(expr) if not _is_drawn(expr):
            pass
        case _:
            return None
    names = {axis: distinct.index(index) for axis, index in enumerate(at)}
    gone = len(at) - len(distinct)
    names |= {index: index - gone for index in inner.bound}
    sizes = [inner.sizes[at.index(index)] for index in distinct]
    made = replace(
        inner,
        op=_renamed(inner.op, names) if isinstance(inner.op, Pointwise) else inner.op,
        reads=tuple(rename_read(operand, names) for operand in inner.reads),
        sizes=(*sizes, *(inner.sizes[index] for index in inner.bound)),
        rank=len(distinct),
    )
    return Read(site.add(made), tuple(At(index) for index in distinct))


def _renamed(op: Pointwise, names: dict[int, int]) -> Pointwise:
    def move(leaf: Scalar) -> Scalar:
        return Iota(names[leaf.index]) if isinstance(leaf, Iota) else leaf

    return Pointwise(substitute(op.expr, move))


def _is_drawn(expr: Scalar) -> bool:
    """Whether each of its cells is a random draw."""
    if not isinstance(expr, App):
        return False
    return expr.function == "dropout" or any(_is_drawn(arg) for arg in expr.args)
