"""Prints checked programs for tests, a line a statement; `d#1` is an index that was renamed."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.check.program import (
    AffineAt,
    Along,
    Apply,
    At,
    Axis,
    ComputedAt,
    Equation,
    Expr,
    Gradient,
    Group,
    Index,
    IndexValue,
    Literal,
    Program,
    Read,
    Reduce,
    Scatter,
    SizeValue,
    Statement,
    SubCall,
    Subscript,
    Transform,
)


def body_text(program: Program) -> str:
    """The statements of a program, a line each."""
    return "\n".join(_statement(statement) for statement in program.body)


def axes_text(axes: Sequence[Axis]) -> str:
    shown = [" ".join(map(_index, axis.indices)) for axis in axes]
    grouped = [f"({s})" if " " in s else s for s in shown]
    return f"[{', '.join(grouped)}]"


def _statement(statement: Statement) -> str:
    match statement:
        case Equation(name, axes, _, body):
            return f"{name}{axes_text(axes)} = {text(body)}"
        case Scatter(name, axes, _, op, parts):
            lines = [
                f"{name}{axes_text(axes)} at [{', '.join(map(_subscript, part.subscripts))}] "
                f"landing [{', '.join(map(_index, part.landing))}] {op.value} {text(part.body)}"
                for part in parts
            ]
            return "\n".join(lines)
        case Gradient(name, axes, _, value, by):
            return f"{name}{axes_text(axes)} = grad[{by}]({value})"
        case SubCall():
            made = ", ".join(o.name + axes_text(o.axes) for o in statement.outputs)
            form = f"<{statement.program.signature}>" if statement.program.signature else ""
            return f"{made} = {statement.sub}{form}({', '.join(statement.inputs)})"


def text(expr: Expr) -> str:
    match expr:
        case Literal(value):
            return str(value).lower() if isinstance(value, bool) else str(value)
        case IndexValue(index):
            return _index(index)
        case SizeValue(size):
            return f"|{size}|"
        case Apply(function, args):
            return f"{function}({', '.join(map(text, args))})"
        case Read(tensor, subscripts, _, otherwise):
            inner = ", ".join(map(_subscript, subscripts))
            outside = "" if otherwise is None else f" else {otherwise.value}"
            return f"{tensor}[{inner}{outside}]"
        case Reduce(op, indices, where, body) | Along(op, indices, where, body):
            condition = "" if where is None else f" where {text(where)}"
            return f"{op.value}[{', '.join(map(_index, indices))}{condition}]({text(body)})"
        case Transform(op, source, target, args):
            pairs = f"{', '.join(map(_index, source))} -> {', '.join(map(_index, target))}"
            return f"{op.value}[{pairs}]({', '.join(map(text, args))})"


def _subscript(subscript: Subscript) -> str:
    match subscript:
        case At(index):
            return _index(index)
        case Group(indices):
            return f"({' '.join(map(_index, indices))})"
        case AffineAt(affine, boundary):
            terms = [f"{k}*{_index(index)}" for index, k in affine.terms]
            return f"{boundary.value}({' + '.join([*terms, str(affine.offset)])})"
        case ComputedAt(value, boundary):
            return f"{boundary.value}({text(value)})"


def _index(index: Index) -> str:
    return index.name + (f"#{index.fresh}" if index.fresh else "")
