"""A graph as text, JSON and DOT. Indices get letters, invented for each node: a, b, c, …"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, assert_never

from tensorlang.check.program import Boundary
from tensorlang.ir import cost
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import (
    Affine,
    App,
    Arg,
    At,
    Call,
    Const,
    Contract,
    Gather,
    Group,
    Input,
    Iota,
    Lit,
    Merge,
    Node,
    NodeId,
    Param,
    Pointwise,
    Read,
    Reduce,
    Scalar,
    Scan,
    Scatter,
    Semiring,
    SizeOf,
    Softmax,
    Subscript,
    Transform,
)
from tensorlang.size import Size

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_INFIX = {
    "add": "+",
    "mul": "*",
    "div": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "^",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "and": "and",
    "or": "or",
}


def to_text(graph: Graph) -> str:
    """One line a node that the outputs need: what it is, its sizes, the lines it comes from."""
    names = node_names(graph)
    printer = NodePrinter(names.__getitem__)
    program = graph.program
    title = f"{program.layer} ({program.signature})" if program.signature else program.layer
    lines = [f"graph {title}"]
    for identity in graph.alive():
        node = graph.node(identity)
        left = f"{names[identity]}[{', '.join(letters(range(node.rank)))}]"
        spans = graph.provenance(identity).spans
        where = ", ".join(dict.fromkeys(f"line {span.line}" for span in spans))
        note = f"{node.dtype.name.lower()} [{shape_text(node.shape)}]"
        lines.append(f"  {left} = {printer.right(node)}  # {note}{where and '  ' + where}")
    lines.append(f"  return {', '.join(names[identity] for identity in graph.outputs)}")
    return "\n".join(lines) + "\n"


def node_names(graph: Graph) -> dict[NodeId, str]:
    """A name for every node that the outputs need: the source's first, else `%` and the id."""
    return {
        identity: next(iter(graph.provenance(identity).names), f"%{identity}")
        for identity in graph.alive()
    }


def letters(indices: Iterable[int]) -> list[str]:
    """Names of local indices."""
    return [_LETTERS[index % 26] + (str(index // 26) if index >= 26 else "") for index in indices]


def shape_text(shape: Sequence[Size]) -> str:
    return ", ".join(str(size) for size in shape)


class NodePrinter:
    """Prints what a node computes; `name_of` names the nodes (or slots) that it reads."""

    def __init__(self, name_of: Callable[[NodeId], str]) -> None:
        self.name_of = name_of

    def right(self, node: Node) -> str:
        """The right side of the node's equation."""
        reads = [self.read(read) for read in node.reads]
        match node.op:
            case Contract(coefficient, semiring):
                ring = "" if semiring is Semiring.SUM_PRODUCT else f"{semiring.value} "
                factor = "" if coefficient == 1 else f"{coefficient!r} * "
                sign = " * " if semiring is Semiring.SUM_PRODUCT else " ∘ "
                return f"{factor}{ring}{_over('sum', node.bound)}{sign.join(reads)}"
            case Pointwise(expr):
                return self.scalar(expr, reads, outermost=True)
            case Reduce(op):
                return f"{_over(op.value, node.bound)}{reads[0]}"
            case Softmax(axes, log):
                name = "log_softmax" if log else "softmax"
                mask = f" where {reads[1]}" if len(reads) > 1 else ""
                return f"{name}[{', '.join(letters(axes))}{mask}]({reads[0]})"
            case Scan(op, axis):
                return f"{op.value}[{letters((axis,))[0]}]({reads[0]})"
            case Transform(op, source, target):
                pair = f"{', '.join(letters(source))} -> {', '.join(letters(target))}"
                return f"{op.value}[{pair}]({', '.join(reads)})"
            case Scatter(op, targets):
                return "; ".join(
                    f"[{', '.join(self.subscript(s) for s in target)}] {op.value}= {read}"
                    for target, read in zip(targets, reads, strict=True)
                )
            case Merge(groups):
                merged = ", ".join(f"({' '.join(letters(group))})" for group in groups)
                return f"{reads[0]} as [{merged}]"
            case Call(sub, signature, output):
                form = f" as {signature}" if signature else ""
                return f"output {output} of {sub}({', '.join(reads)}){form}"
            case Input(position):
                return f"input {position}"
            case Param():
                return "param"
            case Const():
                return "const"
        assert_never(node.op)

    def read(self, read: Read) -> str:
        name = self.name_of(read.node)
        fill = "" if read.fill is None else f" else {read.fill!r}"
        return f"{name}[{', '.join(self.subscript(s) for s in read.subscripts)}{fill}]"

    def subscript(self, subscript: Subscript) -> str:
        match subscript:
            case At(index):
                return letters((index,))[0]
            case Group(indices):
                return f"({' '.join(letters(indices))})"
            case Affine(terms, offset, boundary):
                return _bounded(_affine(terms, offset), boundary)
            case Gather(read, boundary):
                return _bounded(self.read(read), boundary)
        assert_never(subscript)

    def scalar(self, expr: Scalar, reads: Sequence[str], outermost: bool = False) -> str:
        match expr:
            case Arg(position):
                return reads[position]
            case Lit(value):
                return repr(value)
            case Iota(index):
                return letters((index,))[0]
            case SizeOf(size):
                return f"|{size}|"
            case App("where", (condition, then, otherwise)):
                parts = [self.scalar(part, reads) for part in (then, condition, otherwise)]
                text = f"{parts[0]} if {parts[1]} else {parts[2]}"
                return text if outermost else f"({text})"
            case App("neg", (arg,)):
                return f"-{self.scalar(arg, reads)}"
            case App(function, args):
                infix = function in _INFIX
                inner = [self.scalar(arg, reads, outermost=not infix) for arg in args]
                if not infix:
                    return f"{function}({', '.join(inner)})"
                text = f" {_INFIX[function]} ".join(inner).replace("+ -", "- ")
                return text if outermost else f"({text})"
        assert_never(expr)


def _over(name: str, bound: Iterable[int]) -> str:
    indices = ", ".join(letters(bound))
    return f"{name}[{indices}] " if indices else ""


def _affine(terms: tuple[tuple[int, int], ...], offset: Size) -> str:
    parts = []
    for index, factor in terms:
        name = letters((index,))[0]
        parts.append({1: name, -1: f"-{name}"}.get(factor, f"{factor}*{name}"))
    if offset != 0 or not parts:
        parts.append(str(offset))
    return " + ".join(parts).replace("+ -", "- ")


def _bounded(text: str, boundary: Boundary) -> str:
    if boundary in (Boundary.INSIDE, Boundary.CHECKED, Boundary.ELSE):
        return text
    return f"{boundary.value}({text})"


# --- JSON and DOT --------------------------------------------------------------------------------
def to_json(graph: Graph) -> str:
    """The nodes that the outputs need, operands first, with names, sizes, costs and spans."""
    names = node_names(graph)
    printer = NodePrinter(names.__getitem__)
    nodes = []
    for identity in graph.alive():
        node = graph.node(identity)
        origin = graph.provenance(identity)
        nodes.append(
            {
                "id": identity,
                "name": names[identity],
                "names": list(origin.names),
                "kind": kind(node),
                "text": printer.right(node),
                "operands": list(graph.operands(identity)),
                "shape": [_plain(size) for size in node.shape],
                "bound": [_plain(node.sizes[index]) for index in node.bound],
                "dtype": node.dtype.name.lower(),
                "flops": cost.to_text(cost.flops(node)),
                "spans": [f"{s.source.path}:{s.line}:{s.column}" for s in origin.spans],
                "rules": list(origin.rules),
            }
        )
    program = graph.program
    whole: dict[str, Any] = {
        "layer": program.layer,
        "signature": program.signature,
        "outputs": list(graph.outputs),
        "nodes": nodes,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _plain(size: Size) -> int | str:
    return size if isinstance(size, int) else str(size)


def kind(node: Node) -> str:
    """The node's kind as a word: `contract`, `max`, `softmax`, …"""
    match node.op:
        case Reduce(op) | Scan(op) | Transform(op):
            return str(op.value)
        case _:
            return type(node.op).__name__.lower()


def to_dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    names = node_names(graph)
    printer = NodePrinter(names.__getitem__)
    lines = [f"digraph {_quoted(graph.program.layer)} {{", "  node [shape=box];"]
    for identity in graph.alive():
        node = graph.node(identity)
        label = f"{names[identity]} [{shape_text(node.shape)}]\n{printer.right(node)}"
        bold = ", style=bold" if identity in graph.outputs else ""
        lines.append(f"  n{identity} [label={_quoted(label)}{bold}];")
        lines.extend(f"  n{operand} -> n{identity};" for operand in graph.operands(identity))
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
