"""Reverse-mode derivatives of straight-line kernel values, from the derivatives of library rows.

`adjoints` walks the Lets backwards. An adjoint may lack axes of its value (it is the same along
them); where an argument lacks axes that the function has, its adjoint is summed over them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tensorlang import registry
from tensorlang.backends.triton.build import real
from tensorlang.backends.triton.kernel_ir import (
    Cast,
    Const,
    Dot,
    DType,
    Expr,
    Iota,
    Let,
    Load,
    Map,
    Reduce,
    Reduction,
    Ref,
)
from tensorlang.backends.triton.ssa import Values
from tensorlang.backends.triton.tails import tail
from tensorlang.syntax import ast
from tensorlang.syntax.derivative import parse_derivative

_REAL = (DType.ACCUMULATE, DType.COMPUTE)
STOPS = ("stopgrad", "sign", "floor", "ceil", "to_int")


def adjoints(values: Values, seeds: Mapping[str, Expr]) -> dict[str, Expr]:
    """Adjoints of named values and of the Loads below them, by the name of the Let.

    `seeds` are the adjoints of results. New values are appended to `values`.
    """
    parts: dict[str, list[Expr]] = {name: [seed] for name, seed in seeds.items()}
    total: dict[str, Expr] = {}
    for let in reversed(list(values.lets)):
        if let.name not in parts:
            continue
        adjoint = values.map("add", *parts.pop(let.name))
        total[let.name] = adjoint
        for argument, contribution in _pulled_back(values, let, adjoint):
            if isinstance(argument, Ref) and values.type(argument).dtype in _REAL:
                fitted = _reduced(values, contribution, let.value, argument)
                if not (isinstance(fitted, Const) and fitted.value == 0):
                    parts.setdefault(argument.name, []).append(fitted)
    return total


def _pulled_back(values: Values, let: Let, adjoint: Expr) -> list[tuple[Expr, Expr]]:
    """Pairs of argument and contribution to its adjoint, before summing over axes."""
    f = Ref(let.name)
    match let.value:
        case Map("add", args):
            return [(arg, adjoint) for arg in args]
        case Map("sub", (a, b)):
            return [(a, adjoint), (b, values.map("neg", adjoint))]
        case Map("neg", (a,)):
            return [(a, values.map("neg", adjoint))]
        case Map("mul", args):
            others = [(*args[:k], *args[k + 1 :]) for k in range(len(args))]
            return [
                (arg, values.map("mul", adjoint, *rest))
                for arg, rest in zip(args, others, strict=True)
            ]
        case Map("where", (condition, a, b)):
            return [
                (a, values.map("where", condition, adjoint, real(0))),
                (b, values.map("where", condition, real(0), adjoint)),
            ]
        case Map(op, args):
            if op in STOPS:
                return []
            out: list[tuple[Expr, Expr]] = []
            for k, arg in enumerate(args):
                if isinstance(arg, Ref) and values.type(arg).dtype is DType.ACCUMULATE:
                    slope = _slope(values, op, k, args, f)
                    if slope is not None:
                        out.append((arg, values.map("mul", adjoint, slope)))
            return out
        case Reduce(Reduction.SUM, a):
            return [(a, adjoint)]
        case Reduce(Reduction.MAX | Reduction.MIN, a, axis):  # a tie shares
            best = values.map("where", values.map("eq", a, f), real(1), real(0))
            share = values.map("div", adjoint, values.sum(best, axis))
            return [(a, values.map("mul", best, share))]
        case Dot(a, b, _, None):
            of = {x: y for x in values.type(f).axes for y in (a, b) if x in values.type(y).axes}
            return [(b if of[x] is a else a, _product(values, adjoint, of[x], x)) for x in of]
        case Cast(a, DType.COMPUTE):
            return [(a, adjoint)]
        case Cast() | Const() | Iota() | Ref() | Load():
            return []
    raise AssertionError(let)


def _product(values: Values, adjoint: Expr, other: Expr, axis: str) -> Expr:
    """The sum over an axis of the adjoint of a Dot times one of its operands."""
    inside = tail(values.kernel, axis)
    if inside is not None:  # nothing past the end, and no number times what is none
        masked = values.let(inside, "in")
        adjoint = values.map("where", masked, adjoint, real(0))
        other = _zeroed(values, other, masked)
    return values.let(values.dot(adjoint, other, axis))


def _zeroed(values: Values, operand: Expr, condition: Expr) -> Expr:
    """An operand of a Dot that is 0 where a condition fails; a Load is so already."""
    made = {let.name: let.value for let in values.lets}
    cast = made.get(operand.name) if isinstance(operand, Ref) else None
    assert isinstance(cast, Cast), operand
    source = made.get(cast.a.name) if isinstance(cast.a, Ref) else cast.a
    if isinstance(source, Cast) and isinstance(source.a, Load):
        return operand
    return values.map("where", condition, cast.a, real(0))


def _reduced(values: Values, contribution: Expr, function: Expr, argument: Expr) -> Expr:
    """Sum a contribution over the axes that the function has and the argument lacks."""
    if isinstance(function, Reduce | Dot):
        return contribution
    have = values.type(argument).axes
    for axis in values.type(function).axes:
        if axis not in have:
            contribution = values.sum(contribution, axis)
    return contribution


def _slope(values: Values, op: str, position: int, args: tuple[Expr, ...], f: Expr) -> Expr | None:
    """The partial derivative of a library function by an argument."""
    if op in ("exp2", "log2"):
        return _by_base_two(values, op, args[0], f)
    row = registry.functions()[op]
    if position >= len(row.derivative) or row.derivative[position] is None:
        return None
    names: dict[str, Expr] = dict(zip("xyz", args, strict=False))
    names |= {"f": f, "pi": real(math.pi)}
    return _expression(values, parse_derivative(str(row.derivative[position])), names)


def _by_base_two(values: Values, op: str, x: Expr, f: Expr) -> Expr:
    if op == "exp2":
        return values.map("mul", f, real(math.log(2)))
    return values.map("div", real(1 / math.log(2)), x)


def _expression(values: Values, expr: ast.Expr, names: Mapping[str, Expr]) -> Expr:
    def of(inner: ast.Expr) -> Expr:
        return _expression(values, inner, names)

    match expr:
        case ast.Number(value=value):
            return real(value)
        case ast.Name(id=name):
            return names[name]
        case ast.Sum(terms=terms):
            signed = [values.map("neg", of(t.expr)) if t.negative else of(t.expr) for t in terms]
            return values.map("add", *signed)
        case ast.Product(factors=factors):
            out = of(factors[0].expr)
            for factor in factors[1:]:
                out = values.map("div" if factor.divides else "mul", out, of(factor.expr))
            return out
        case ast.Negate(expr=inner):
            return values.map("neg", of(inner))
        case ast.Power(base=base, exponent=ast.Number(value=exponent)):
            return values.power(of(base), float(exponent))
        case ast.IfElse(then=then, condition=condition, otherwise=otherwise):
            return values.map("where", of(condition), of(then), of(otherwise))
        case ast.Compare(operands=operands, operators=operators):
            tests = [
                values.map(_COMPARISON[operator], of(a), of(b))
                for a, b, operator in zip(operands, operands[1:], operators, strict=False)
            ]
            return tests[0] if len(tests) == 1 else values.map("and", *tests)
        case ast.Call(name=name, args=args):
            return values.map(name, *(of(argument.expr) for argument in args or ()))
    raise AssertionError(("no derivative is written like this", expr))


_COMPARISON = {
    ast.Comparison.LT: "lt",
    ast.Comparison.LE: "le",
    ast.Comparison.GT: "gt",
    ast.Comparison.GE: "ge",
    ast.Comparison.EQ: "eq",
    ast.Comparison.NE: "ne",
}
