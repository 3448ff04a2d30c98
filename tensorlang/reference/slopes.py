"""What a tangent of an argument of a pointwise function adds to the tangent of its value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorlang import registry
from tensorlang.library.row import Function
from tensorlang.reference.arrays import Arrays
from tensorlang.reference.dual import array, scaled
from tensorlang.syntax import ast
from tensorlang.syntax.derivative import parse_derivative

_CONSTANTS = {"pi": math.pi, "inf": math.inf, "true": True, "false": False}
_COMPARISONS: dict[ast.Comparison, Any] = {
    ast.Comparison.LT: np.less,
    ast.Comparison.LE: np.less_equal,
    ast.Comparison.GT: np.greater,
    ast.Comparison.GE: np.greater_equal,
    ast.Comparison.EQ: np.equal,
    ast.Comparison.NE: np.not_equal,
}


def pushed(arrays: Arrays, function: Function, args: list[Any], f: Any, at: int, t: Any) -> Any:
    """By the tangent t of argument number `at`; None where that is nothing. f is the value."""
    name = function.name
    match name:
        case "add" | "dropout":
            return t
        case "mul":
            rest = [arg for k, arg in enumerate(args) if k != at]
            return scaled(call(arrays, "mul", *rest) if len(rest) > 1 else rest[0], t)
        case "where":
            chosen = array(args[0])
            return arrays.select(chosen if at == 1 else ~chosen, t, np.zeros((), t.dtype))
        case "real" | "imag" | "conj" | "to_real" | "to_complex":
            return call(arrays, name, t)
        case "complex":
            zero = np.zeros(())
            return call(arrays, name, *((t, zero) if at == 0 else (zero, t)))
        case "abs" | "sign" if args[0].dtype.kind == "c":
            return _of_modulus(arrays, name, args[0], t)
    text = function.derivative[at]
    if text is None:
        return None
    names = dict(zip("xyz", args, strict=False)) | {"f": f}
    return scaled(_evaluated(arrays, parse_derivative(text), names), t)


def call(arrays: Arrays, name: str, *args: Any) -> Any:
    """A function of the library."""
    return arrays.apply(
        registry.functions()[name], [np.asarray(a) if _plain(a) else a for a in args]
    )


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | complex | np.generic)


def _of_modulus(arrays: Arrays, name: str, z: Any, t: Any) -> Any:
    """|z|' = Re(conj(s) t) with s = z / |z|; s' = (t - s |z|') / |z|; both are 0 at 0."""
    size = call(arrays, "abs", z)
    some = array(size) > 0
    safe = arrays.select(some, size, np.ones(()))
    direction = arrays.select(some, call(arrays, "div", z, safe), np.zeros((), np.complex128))
    grows = call(arrays, "real", call(arrays, "mul", call(arrays, "conj", direction), t))
    if name == "abs":
        return grows
    turned = call(arrays, "add", t, call(arrays, "neg", call(arrays, "mul", direction, grows)))
    return arrays.select(some, call(arrays, "div", turned, safe), np.zeros((), np.complex128))


def _evaluated(arrays: Arrays, expr: ast.Expr, names: Mapping[str, Any]) -> Any:
    """A derivative as the library writes it, over the arguments and the value."""

    def value(part: ast.Expr) -> Any:
        return _evaluated(arrays, part, names)

    match expr:
        case ast.Number(number):
            return np.asarray(number)
        case ast.Name(name):
            return names[name] if name in names else np.asarray(_CONSTANTS[name])
        case ast.Sum(terms):
            signed = [
                call(arrays, "neg", value(term.expr)) if term.negative else value(term.expr)
                for term in terms
            ]
            return call(arrays, "add", *signed)
        case ast.Product(factors):
            out = value(factors[0].expr)
            assert not factors[0].divides, expr
            for factor in factors[1:]:
                out = call(arrays, "div" if factor.divides else "mul", out, value(factor.expr))
            return out
        case ast.IntDivide(left, right, modulo):
            return call(arrays, "mod" if modulo else "floordiv", value(left), value(right))
        case ast.Power(base, exponent):
            return call(arrays, "pow", value(base), value(exponent))
        case ast.Negate(body):
            return call(arrays, "neg", value(body))
        case ast.Compare((left, right), (operator,)):
            return _COMPARISONS[operator](array(value(left)), array(value(right)))
        case ast.IfElse(then, condition, otherwise):
            return call(arrays, "where", value(condition), value(then), value(otherwise))
        case ast.Call(name, args=args) if args is not None:
            return call(arrays, name, *(value(arg.expr) for arg in args))
        case _:
            raise AssertionError(f"a derivative cannot say {expr}")
