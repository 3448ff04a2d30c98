"""The derivative texts of the library's rows as scalars over the arguments and the value.

What is not complex differentiable (real, imag, conj, the modulus) has its two rules here; so has
dropout, whose mask is a tensor that the value and its derivatives share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tensorlang import registry
from tensorlang.differentiate.cells import Cells, number
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Lit, Scalar
from tensorlang.syntax import ast
from tensorlang.syntax.derivative import parse_derivative

_COMPARISONS = {
    ast.Comparison.LT: "lt",
    ast.Comparison.LE: "le",
    ast.Comparison.GT: "gt",
    ast.Comparison.GE: "ge",
    ast.Comparison.EQ: "eq",
    ast.Comparison.NE: "ne",
}
_CONSTANTS: Mapping[str, Lit] = {
    "pi": Lit(math.pi, Dtype.REAL),
    "inf": Lit(math.inf, Dtype.REAL),
    "true": Lit(True, Dtype.BOOL),
    "false": Lit(False, Dtype.BOOL),
}


def pulled(cells: Cells, app: App, place: int, cotangent: Scalar) -> Scalar | None:
    """The cotangent of an argument from that of the value; None where it is zero."""
    arg = app.args[place]
    kind = cells.dtype(arg)
    if kind < Dtype.REAL:
        return None
    match app.function:
        case "add":
            return cotangent
        case "real":
            return cells.cast(cotangent, kind)
        case "imag":
            return cells.apply("complex", number(0, Dtype.REAL), cotangent)
        case "conj":
            return cells.apply("conj", cotangent)
        case "complex":
            return cells.apply("imag" if place else "real", cotangent)
        case "to_complex" if kind is Dtype.REAL:
            return cells.apply("real", cotangent)
        case "abs" if kind is Dtype.COMPLEX:
            return cells.apply("mul", cotangent, _direction(cells, app))
        case _:
            slope = _slope(cells, app, place)
            if slope is None:
                return None
            return cells.apply("mul", cotangent, cells.apply("conj", cells.cast(slope, kind)))


def pushed(cells: Cells, app: App, place: int, tangent: Scalar) -> Scalar | None:
    """What a tangent of an argument adds to that of the value; None where it is nothing."""
    match app.function:
        case "add":
            return tangent
        case "real" | "imag" | "conj" | "to_complex":
            return cells.apply(app.function, tangent)
        case "complex":
            zero = number(0, Dtype.REAL)
            return cells.apply("complex", *((zero, tangent) if place else (tangent, zero)))
        case "abs" if cells.dtype(app.args[place]) is Dtype.COMPLEX:
            along = cells.apply("mul", cells.apply("conj", _direction(cells, app)), tangent)
            return cells.apply("real", along)
        case _:
            slope = _slope(cells, app, place)
            return None if slope is None else cells.apply("mul", tangent, slope)


def _direction(cells: Cells, app: App) -> Scalar:
    """z / |z|, 0 at 0."""
    (arg,) = app.args
    some = cells.apply("gt", app, number(0, Dtype.REAL))
    safe = cells.apply("where", some, app, number(1, Dtype.REAL))
    return cells.apply("where", some, cells.apply("div", arg, safe), number(0, Dtype.COMPLEX))


def _slope(cells: Cells, app: App, place: int) -> Scalar | None:
    """The partial derivative by an argument."""
    match app.function:
        case "mul":
            rest = [arg for k, arg in enumerate(app.args) if k != place]
            return rest[0] if len(rest) == 1 else cells.apply("mul", *rest)
        case "where":
            raise AssertionError("a choice has guards, no slope")
    texts = registry.functions()[app.function].derivative
    text = texts[place] if place < len(texts) else None
    if text is None:
        return None
    names = dict(zip("xyz", app.args, strict=False)) | {"f": app}
    return _Text(cells, names).scalar(parse_derivative(text), ())


class _Text:
    """A derivative text over given arguments.

    Where one of its branches is not taken, arguments of functions that can fail are 0.5 in it: they
    must have a finite slope there too.
    """

    def __init__(self, cells: Cells, names: Mapping[str, Scalar]) -> None:
        self.cells, self.names = cells, names

    def scalar(self, expr: ast.Expr, guards: tuple[Scalar, ...]) -> Scalar:
        match expr:
            case ast.Number(value):
                return Lit(value, Dtype.INT if isinstance(value, int) else Dtype.REAL)
            case ast.Name(name):
                return self.names[name] if name in self.names else _CONSTANTS[name]
            case ast.Sum(terms):
                return self._call("add", [self._signed(term, guards) for term in terms], guards)
            case ast.Product(factors):
                return self._product(factors, guards)
            case ast.IntDivide(left, right, modulo):
                args = [self.scalar(left, guards), self.scalar(right, guards)]
                return self._call("mod" if modulo else "floordiv", args, guards)
            case ast.Power(base, exponent):
                args = [self.scalar(base, guards), self.scalar(exponent, guards)]
                return self._call("pow", args, guards)
            case ast.Negate(inner):
                return self.cells.apply("neg", self.scalar(inner, guards))
            case ast.Compare((left, right), (operator,)):
                args = [self.scalar(left, guards), self.scalar(right, guards)]
                return self._compared(_COMPARISONS[operator], args)
            case ast.IfElse(then, condition, otherwise):
                return self._choice(then, condition, otherwise, guards)
            case ast.Call(name, args=args) if args is not None:
                return self._call(name, [self.scalar(arg.expr, guards) for arg in args], guards)
            case _:
                raise AssertionError(f"a derivative cannot say {expr}")

    def _signed(self, term: ast.Term, guards: tuple[Scalar, ...]) -> Scalar:
        value = self.scalar(term.expr, guards)
        return self.cells.apply("neg", value) if term.negative else value

    def _product(self, factors: tuple[ast.Factor, ...], guards: tuple[Scalar, ...]) -> Scalar:
        out: Scalar = number(1, Dtype.INT)
        for factor in factors:
            value = self.scalar(factor.expr, guards)
            out = self._call("div" if factor.divides else "mul", [out, value], guards)
        return out

    def _choice(
        self,
        then: ast.Expr,
        condition: ast.Expr,
        otherwise: ast.Expr,
        guards: tuple[Scalar, ...],
    ) -> Scalar:
        chosen = self.scalar(condition, guards)
        if isinstance(chosen, Lit):
            return self.scalar(then if chosen.value else otherwise, guards)
        return self.cells.apply(
            "where",
            chosen,
            self.scalar(then, (*guards, chosen)),
            self.scalar(otherwise, (*guards, self.cells.apply("not", chosen))),
        )

    def _compared(self, function: str, args: list[Scalar]) -> Scalar:
        """A comparison; a complex number can only be 0 or not."""
        if Dtype.COMPLEX in map(self.cells.dtype, args):
            assert isinstance(args[1], Lit) and args[1].value == 0, (function, args)
            args = [self.cells.apply("abs", args[0]), number(0, Dtype.REAL)]
        return self.cells.apply(function, *args)

    def _call(self, function: str, args: list[Scalar], guards: tuple[Scalar, ...]) -> Scalar:
        if guards and registry.functions()[function].partial:
            divides = function in ("div", "floordiv", "mod")
            args = [
                arg if divides and k == 0 else self._guarded(arg, guards)
                for k, arg in enumerate(args)
            ]
        return self.cells.apply(function, *args)

    def _guarded(self, arg: Scalar, guards: tuple[Scalar, ...]) -> Scalar:
        kind = self.cells.dtype(arg)
        if isinstance(arg, Lit) or kind < Dtype.REAL:
            return arg
        needed = guards[0] if len(guards) == 1 else self.cells.apply("and", *guards)
        return self.cells.apply("where", needed, arg, number(0.5, kind))
