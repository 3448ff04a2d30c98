"""Steps that read no tensor are Python numbers: written where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tensorlang.ir.nodes import (
    App,
    Arg,
    Contract,
    Iota,
    Lit,
    Node,
    Pointwise,
    Scalar,
    Semiring,
    SizeOf,
)
from tensorlang.ir.reads import read_operands, substitute
from tensorlang.plan.cost import used
from tensorlang.plan.plan import AnyStep, Slot, Step


def numbers(steps: Sequence[AnyStep], kept: Sequence[Slot]) -> dict[Slot, Scalar]:
    """Scalar steps of sizes and literals whose readers are all pointwise or plain products, none of
    which gathers by them."""
    out: dict[Slot, Scalar] = {}
    for step in steps:
        if not isinstance(step, Step) or not isinstance(step.node.op, Pointwise):
            continue
        if step.node.rank == 0 and not step.node.reads and step.out not in kept:
            out[step.out] = step.node.op.expr
    for step in steps:
        if isinstance(step, Step) and _is_pointwise(step.node):
            plain = {read.node for read in step.node.reads if not read.subscripts}
            plain -= {slot for read in step.node.reads for slot in [*read_operands(read)][1:]}
        else:
            plain = set()
        for slot in used(step):
            if slot in out and slot not in plain:
                del out[slot]
    return out


def _is_pointwise(node: Node) -> bool:
    """Pointwise, or a product that sums nothing."""
    if isinstance(node.op, Contract):
        return node.op.semiring is Semiring.SUM_PRODUCT and not node.bound
    return isinstance(node.op, Pointwise)


def with_numbers(node: Node, known: Mapping[Slot, Scalar]) -> Node:
    """The node with reads of numbers replaced by their expressions."""
    if not any(read.node in known and not read.subscripts for read in node.reads):
        return node
    if isinstance(node.op, Contract):
        factors = [Arg(k) for k in range(len(node.reads))]
        scale = [Lit(node.op.coefficient, node.dtype)] if node.op.coefficient != 1 else []
        node = replace(node, op=Pointwise(App("mul", (*scale, *factors), node.dtype)))
    assert isinstance(node.op, Pointwise), node
    reads = [read for read in node.reads if read.node not in known]
    places = {k: reads.index(read) for k, read in enumerate(node.reads) if read in reads}

    def leaf(scalar: Arg | Lit | Iota | SizeOf) -> Scalar:
        if not isinstance(scalar, Arg):
            return scalar
        read = node.reads[scalar.position]
        return known[read.node] if read.node in known else Arg(places[scalar.position])

    return replace(node, op=Pointwise(substitute(node.op.expr, leaf)), reads=tuple(reads))


def reciprocal(scalar: Scalar) -> Scalar | None:
    """y of 1 / y."""
    match scalar:
        case App("div", (Lit(1), below)):
            return below
    return None


def quotient(app: App) -> App:
    """a * (1 / b) as a / b."""
    below = [y for arg in app.args if (y := reciprocal(arg)) is not None]
    above = [arg for arg in app.args if reciprocal(arg) is None] or [Lit(1.0, app.dtype)]
    top = above[0] if len(above) == 1 else App("mul", tuple(above), app.dtype)
    bottom = below[0] if len(below) == 1 else App("mul", tuple(below), app.dtype)
    return App("div", (top, bottom), app.dtype)
